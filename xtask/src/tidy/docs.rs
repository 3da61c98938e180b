//! Documents name only what exists.

use std::collections::BTreeSet;

use super::{
    Problem,
    tree::{Tree, folder},
};

/// Folders at the root: a path that starts with one of them, in backquotes, must exist.
const ROOTS: [&str; 5] = ["crates/", "docs/", "xtask/", "bench/", ".ci/"];

/// Links lead to files and headings that exist.
pub(super) fn links(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.texts(".md") {
        for (number, target) in link_targets(text) {
            if let Some(what) = broken(tree, path, text, target) {
                problems.push(Problem::new(path, number, what));
            }
        }
    }
    problems
}

fn broken(tree: &Tree, path: &str, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let text = if file.is_empty() {
        Some(text)
    } else {
        let found = Tree::resolve(folder(path), file).filter(|file| tree.has(file));
        let Some(file) = found else { return Some(format!("links to `{file}`, which does not exist")) };
        tree.text(&file)
    };
    let is_there = heading.is_empty() || text.is_some_and(|text| anchors(text).contains(heading));
    (!is_there).then(|| format!("links to the heading `#{heading}`, which does not exist"))
}

/// The targets of `[text](target)` outside of code, with their lines.
fn link_targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line;
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            targets.push((number, &rest[..end]));
        }
    }
    targets
}

/// The lines outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((number + 1, line))
    })
}

/// The headings as the anchors that renderers make of them.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            let kept = line.trim_start_matches('#').trim().chars();
            let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// Paths from the root, in backquotes in documents and comments, exist.
pub(super) fn paths(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let comments = |line: &str| line.trim_start().starts_with("//");
    let written =
        tree.texts(".md").map(|file| (file, false)).chain(tree.texts(".rs").map(|file| (file, true)));
    for ((path, text), only_comments) in written {
        for (number, line) in prose(text).filter(|(_, line)| !only_comments || comments(line)) {
            let quoted = line.split('`').skip(1).step_by(2);
            let missing = quoted.filter(|name| is_path(name) && !tree.has(name));
            problems.extend(
                missing
                    .map(|name| Problem::new(path, number, format!("names `{name}`, which does not exist"))),
            );
        }
    }
    problems
}

fn is_path(quoted: &str) -> bool {
    ROOTS.iter().any(|root| quoted.starts_with(root)) && !quoted.contains(['*', '{', '<', ' ', '…'])
}

/// Every document can be found from the README by following links.
pub(super) fn orphans(tree: &Tree) -> Vec<Problem> {
    let mut found = BTreeSet::from(["README.md".to_owned()]);
    let mut to_follow = vec!["README.md".to_owned()];
    while let Some(path) = to_follow.pop() {
        for (_, target) in link_targets(tree.text(&path).unwrap_or_default()) {
            let file = target.split('#').next().unwrap_or_default();
            let Some(file) = Tree::resolve(folder(&path), file) else { continue };
            if file.ends_with(".md") && tree.text(&file).is_some() && found.insert(file.clone()) {
                to_follow.push(file);
            }
        }
    }
    let lost = |path: &str| path.starts_with("docs/") && !found.contains(path);
    let documents = tree.texts(".md").filter(|(path, _)| lost(path));
    documents.map(|(path, _)| Problem::new(path, 0, "no link leads here from README.md")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(problems: &[Problem]) -> Vec<(&str, usize)> {
        problems.iter().map(|problem| (problem.path.as_str(), problem.line)).collect()
    }

    #[test]
    fn broken_links_are_found() {
        let readme = "# A b, c\n[x](docs/x.md) [y](docs/y.md)\n[h](#a-b-c) [i](#b) [w](https://x.y)\n\
                      ```\n[z](z.md)\n```\n[x](docs/x.md#there) [x](docs/x.md#gone)\n";
        let tree = Tree::of([("README.md", readme), ("docs/x.md", "## There\n[up](../README.md)\n")]);
        assert_eq!(lines(&links(&tree)), [("README.md", 2), ("README.md", 3), ("README.md", 7)]);
    }

    #[test]
    fn paths_that_do_not_exist_are_found() {
        let tree = Tree::of([
            ("docs/x.md", "`docs/x.md` `docs/y.md`\n`docs/*.md` `other/z`\n"),
            ("crates/a/src/lib.rs", "//! See `docs/z.md`.\nlet x = \"`docs/w.md`\";\n"),
        ]);
        assert_eq!(lines(&paths(&tree)), [("docs/x.md", 1), ("crates/a/src/lib.rs", 1)]);
    }

    #[test]
    fn lost_documents_are_found() {
        let tree = Tree::of([
            ("README.md", "[a](docs/a.md)\n"),
            ("docs/a.md", "[b](deep/b.md)\n"),
            ("docs/deep/b.md", ""),
            ("docs/lost.md", "[a](a.md)\n"),
        ]);
        assert_eq!(lines(&orphans(&tree)), [("docs/lost.md", 0)]);
    }
}
