//! Commands in documents exist, and commands that exist are in the documents.

use std::collections::BTreeSet;

use super::{
    Problem,
    tree::{Tree, folder},
};

/// The command line has one file per command here, and a section for each in its document.
const COMMANDS: &str = "crates/larder-cli/src/commands/";
const REFERENCE: &str = "docs/cli.md";

/// Commands in the documents' shell blocks exist; the README's test command is what `.ci/run` runs; every
/// command of the command line has a section.
pub(super) fn documented(tree: &Tree) -> Vec<Problem> {
    let mut problems: Vec<Problem> = sections(tree);
    for (path, text) in tree.texts(".md") {
        for (number, command) in shell_lines(text) {
            let wrong = wrong(tree, &command);
            problems.extend(wrong.map(|what| Problem::new(path, number, format!("`{command}`: {what}"))));
        }
    }
    problems.extend(test_command(tree));
    problems
}

/// The README says how to run every test, and `.ci/run` does just that.
fn test_command(tree: &Tree) -> Option<Problem> {
    let tests: Vec<String> = shell_lines(tree.text("README.md")?)
        .into_iter()
        .map(|(_, command)| command)
        .filter(|command| command.starts_with("cargo test"))
        .collect();
    let [test] = &tests[..] else {
        return Some(Problem::new("README.md", 0, "does not have one command that runs every test"));
    };
    let run = tree.text(".ci/run").unwrap_or_default();
    let is_run = run.lines().any(|line| line.trim().trim_start_matches("step ") == test);
    (!is_run).then(|| Problem::new(".ci/run", 0, format!("does not run the README's `{test}`")))
}

/// The commands in shell blocks, without prompts, comments and environment.
fn shell_lines(text: &str) -> Vec<(usize, String)> {
    let (mut shell, mut fenced, mut lines) = (false, false, Vec::new());
    for (number, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fenced = !fenced;
            shell = fenced && matches!(language.trim(), "sh" | "bash" | "console");
        } else if shell {
            let line = line.split(" #").next().unwrap_or_default();
            let words: Vec<&str> =
                line.split_whitespace().skip_while(|word| *word == "$" || is_assignment(word)).collect();
            lines.push((number + 1, words.join(" ")));
        }
    }
    lines
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    })
}

/// What a command names that does not exist.
fn wrong(tree: &Tree, command: &str) -> Option<String> {
    let words: Vec<&str> = command.split(' ').collect();
    match words[..] {
        ["larder", ..] => unknown_command(tree, &words[1..]),
        ["cargo", "xtask", task, ..] => {
            let help = tree.text("xtask/src/main.rs").unwrap_or_default();
            (!help.contains(&format!("cargo xtask {task}"))).then(|| format!("no task `{task}`"))
        }
        ["cargo", ..] => {
            let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
            let package = value(&words[..end], &["-p", "--package"]);
            let named = |flag, what| Some((value(&words[..end], &[flag])?, what));
            let target = named("--example", "examples").or_else(|| named("--test", "tests"));
            let run = || unknown_command(tree, words.get(end + 1..)?);
            package
                .and_then(|package| unknown_package(tree, package))
                .or_else(|| target.and_then(|(name, folder)| unknown_target(tree, package, name, folder)))
                .or_else(|| package.filter(|package| *package == "larder-cli").and_then(|_| run()))
        }
        [program, ..] if program.contains('/') && !program.starts_with('/') => {
            let path = program.trim_start_matches("./");
            let known = tree.has(path) || path.starts_with("target/");
            (!known).then(|| format!("no file `{program}`"))
        }
        _ => None,
    }
}

fn value<'a>(words: &[&'a str], flags: &[&str]) -> Option<&'a str> {
    let at = words.iter().position(|word| flags.contains(word))?;
    words.get(at + 1).copied()
}

fn unknown_package(tree: &Tree, package: &str) -> Option<String> {
    let declares = format!("name = \"{package}\"");
    let known = tree.texts("Cargo.toml").any(|(_, manifest)| manifest.lines().any(|line| line == declares));
    (!known).then(|| format!("no package `{package}`"))
}

fn unknown_target(tree: &Tree, package: Option<&str>, name: &str, kind: &str) -> Option<String> {
    let of_package = |manifest: &str| {
        package.is_none_or(|package| manifest.lines().any(|line| line == format!("name = \"{package}\"")))
    };
    let mut folders =
        tree.texts("Cargo.toml").filter(|(_, text)| of_package(text)).map(|(path, _)| folder(path));
    let known = folders.any(|own| {
        let own = if own.is_empty() { String::new() } else { format!("{own}/") };
        tree.has(&format!("{own}{kind}/{name}.rs")) || tree.has(&format!("{own}{kind}/{name}/main.rs"))
    });
    (!known).then(|| format!("no `{name}` in {kind}"))
}

/// The first word that is no option is a command of the command line, if its sources are here.
fn unknown_command(tree: &Tree, words: &[&str]) -> Option<String> {
    let commands = commands(tree);
    let mut words = words.iter();
    let command = loop {
        match *words.next()? {
            "--store" => drop(words.next()),
            option if option.starts_with('-') => {}
            command => break command,
        }
    };
    let known = commands.is_empty() || commands.contains(command) || command == "help";
    (!known).then(|| format!("no command `{command}`"))
}

/// One file per command: `drop_log.rs` is `drop-log`.
fn commands(tree: &Tree) -> BTreeSet<String> {
    let names = tree.texts(".rs").filter_map(|(path, _)| path.strip_prefix(COMMANDS)?.strip_suffix(".rs"));
    names.filter(|name| !name.contains('/') && *name != "mod").map(|name| name.replace('_', "-")).collect()
}

/// Commands and the sections of their document, `## larder NAME`, name each other.
fn sections(tree: &Tree) -> Vec<Problem> {
    let commands = commands(tree);
    let reference = tree.text(REFERENCE).unwrap_or_default();
    let heading = |line: &str| {
        let title = line.strip_prefix('#')?.trim_start_matches('#').trim().replace('`', "");
        title.strip_prefix("larder ")?.split_whitespace().next().map(str::to_owned)
    };
    let sections: BTreeSet<String> = reference.lines().filter_map(heading).collect();
    let missing = commands
        .iter()
        .filter(|command| !sections.contains(*command))
        .map(|command| Problem::new(REFERENCE, 0, format!("has no section `## larder {command}`")));
    let stale = sections.iter().filter(|section| !commands.contains(*section)).map(|section| {
        Problem::new(REFERENCE, 0, format!("has a section `larder {section}`, but there is no such command"))
    });
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(readme: &str) -> Tree {
        Tree::of([
            ("README.md", readme),
            (".ci/run", "step cargo test --workspace\n"),
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/a/examples/e.rs", ""),
            ("crates/larder-cli/Cargo.toml", "[package]\nname = \"larder-cli\"\n"),
            ("crates/larder-cli/src/commands/read.rs", ""),
            ("docs/cli.md", "## `larder read`\n"),
            ("xtask/src/main.rs", "cargo xtask tidy"),
        ])
    }

    fn problems(readme: &str) -> usize {
        documented(&tree(readme)).len()
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let fine = "```sh\ncargo test --workspace\ncargo run -p a --example e\ncargo xtask tidy\n\
                    cargo run -p larder-cli -- --store memory: read --log x\nX=1 larder read # why\n```\n";
        assert_eq!(documented(&tree(fine)), []);
        for wrong in [
            "cargo run -p b",
            "cargo run -p a --example f",
            "cargo xtask fly",
            "larder write",
            "cargo run -p larder-cli --release -- --json write",
            "./gone.sh",
        ] {
            let readme = format!("```sh\ncargo test --workspace\n{wrong}\n```\n");
            assert_eq!(problems(&readme), 1, "{wrong}");
        }
    }

    #[test]
    fn another_test_command_is_found() {
        assert_eq!(problems("```sh\ncargo test\n```\n"), 1);
        assert_eq!(problems("nothing\n"), 1);
    }

    #[test]
    fn commands_without_a_section_are_found() {
        let tree = Tree::of([
            ("crates/larder-cli/src/commands/read.rs", ""),
            ("crates/larder-cli/src/commands/drop_log.rs", ""),
            ("docs/cli.md", "## larder write\nlarder read\n### `larder drop-log`\n"),
        ]);
        assert_eq!(sections(&tree).len(), 2);
    }
}
