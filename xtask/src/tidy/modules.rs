//! Every source file is part of a program.

use std::collections::BTreeSet;

use super::{
    Problem,
    code::code_only,
    tree::{Tree, folder},
};

/// Source files that no crate reaches are forgotten.
pub(super) fn unreachable(tree: &Tree) -> Vec<Problem> {
    let mut reached = BTreeSet::new();
    tree.texts(".rs").filter(|(path, _)| is_root(tree, path)).for_each(|(path, _)| {
        reach(tree, path, &mut reached);
    });
    tree.texts(".rs")
        .filter(|(path, _)| !reached.contains(*path))
        .map(|(path, _)| Problem::new(path, 0, "is no module of any crate"))
        .collect()
}

/// Whether cargo compiles the file as a crate of its own.
fn is_root(tree: &Tree, path: &str) -> bool {
    let is_package = |folder: &str| {
        let manifest = if folder.is_empty() { "Cargo.toml".into() } else { format!("{folder}/Cargo.toml") };
        tree.has(&manifest)
    };
    let (within, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (above, last) = within.rsplit_once('/').unwrap_or(("", within));
    match (last, name) {
        (_, "build.rs") if is_package(within) => true,
        ("src", "lib.rs" | "main.rs") | ("tests" | "examples" | "benches", _) => is_package(above),
        ("bin", _) => above.strip_suffix("src").is_some_and(|above| is_package(above.trim_end_matches('/'))),
        // A folder of `tests`, `examples` or `bin` with a main file.
        (_, "main.rs") => {
            matches!(
                above.rsplit('/').next(),
                Some("tests" | "examples" | "benches" | "bin" | "fuzz_targets")
            )
        }
        _ => tree.texts("Cargo.toml").any(|(manifest, text)| {
            let own = folder(manifest);
            let relative = path.strip_prefix(own).unwrap_or(path).trim_start_matches('/');
            path.starts_with(own) && text.contains(&format!("path = \"{relative}\""))
        }),
    }
}

fn reach(tree: &Tree, path: &str, reached: &mut BTreeSet<String>) {
    let Some(source) = tree.text(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let is_crate_root = is_root(tree, path);
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let own = match name {
        "mod.rs" => above.to_owned(),
        _ if is_crate_root => above.to_owned(),
        name => format!("{above}/{}", name.trim_end_matches(".rs")),
    };
    for module in declared(source) {
        match module {
            Module::Named(name) => {
                reach(tree, &format!("{own}/{name}.rs"), reached);
                reach(tree, &format!("{own}/{name}/mod.rs"), reached);
            }
            Module::At(file) => {
                if let Some(file) = Tree::resolve(above, &file) {
                    reach(tree, &file, reached);
                }
            }
        }
    }
}

enum Module {
    Named(String),
    /// A path from the file's own folder.
    At(String),
}

/// The modules that a file declares without a body, and the files that it includes.
fn declared(source: &str) -> Vec<Module> {
    let code = code_only(source);
    let mut modules = Vec::new();
    let mut at = None;
    for (line, code) in source.lines().zip(code.lines()) {
        let code = code.trim();
        if code.starts_with("#[path") || code.contains("include!(") {
            let file = line.split('"').nth(1).map(str::to_owned);
            if code.starts_with("#[path") {
                at = file;
            } else {
                modules.extend(file.map(Module::At));
            }
        } else if let Some(name) = code.strip_suffix(';').and_then(module_name) {
            modules.push(at.take().map_or_else(|| Module::Named(name.to_owned()), Module::At));
        }
    }
    modules
}

fn module_name(declaration: &str) -> Option<&str> {
    let (visibility, name) = declaration.split_once("mod ").unwrap_or(("no", ""));
    let is_visibility = visibility.is_empty() || visibility.starts_with("pub") || visibility.ends_with("] ");
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_visibility && is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_files_are_found() {
        let tree = Tree::of([
            ("x/Cargo.toml", ""),
            ("x/src/lib.rs", "mod a;\npub mod b;\n// mod gone;\n#[path = \"odd.rs\"]\nmod c;\n"),
            ("x/src/a.rs", "pub(crate) mod inner;\n"),
            ("x/src/a/inner.rs", ""),
            ("x/src/b/mod.rs", "include!(\"part.rs\");\n"),
            ("x/src/b/part.rs", ""),
            ("x/src/odd.rs", ""),
            ("x/src/gone.rs", ""),
            ("x/src/a/forgotten.rs", ""),
            ("x/tests/t.rs", "mod support;\n"),
            ("x/tests/support/mod.rs", ""),
            ("x/src/bin/tool.rs", ""),
            ("x/examples/e.rs", ""),
        ]);
        let found: Vec<String> = unreachable(&tree).into_iter().map(|problem| problem.path).collect();
        assert_eq!(found, ["x/src/a/forgotten.rs", "x/src/gone.rs"]);
    }
}
