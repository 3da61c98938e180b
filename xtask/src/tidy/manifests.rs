//! Rules of the manifests and the lock file.

use super::{Problem, tree::Tree};

/// What every manifest of the workspace takes from it.
const SHARED: [&str; 5] = [
    "edition.workspace = true",
    "license.workspace = true",
    "rust-version.workspace = true",
    "version.workspace = true",
    "[lints]\nworkspace = true",
];

/// Packages that are, or carry, another copy of SQLite.
const COPIES: [&str; 6] = ["libsql", "libsql-ffi", "libsql-sys", "sqlite3-src", "sqlite3-sys", "turso_core"];

/// Crates share what the workspace sets; one crate owns SQLite; the change log has a place for changes.
pub(super) fn manifests(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let members = tree.texts("Cargo.toml").filter(|(path, _)| {
        (path.starts_with("crates/") && path.matches('/').count() == 2) || *path == "xtask/Cargo.toml"
    });
    for (path, manifest) in members {
        let missing = SHARED.iter().filter(|line| !manifest.contains(*line));
        problems.extend(
            missing.map(|line| Problem::new(path, 0, format!("lacks `{}`", line.replace('\n', " ")))),
        );
    }
    problems.extend(sqlite_owners(tree.text("Cargo.lock").unwrap_or_default()));
    if !tree.text("CHANGELOG.md").unwrap_or_default().contains("\n## [Unreleased]") {
        problems.push(Problem::new("CHANGELOG.md", 0, "lacks a section `## [Unreleased]`"));
    }
    problems
}

/// Two copies of SQLite in one process lose each other's file locks.
fn sqlite_owners(lock: &str) -> Vec<Problem> {
    let name = |package: &str| Some(package.split_once("name = \"")?.1.split('"').next()?.to_owned());
    let mut problems = Vec::new();
    for package in lock.split("[[package]]") {
        let Some(name) = name(package) else { continue };
        let depends = package.lines().any(|line| line.trim().starts_with("\"libsqlite3-sys"));
        let is_copy = COPIES.iter().any(|copy| name == *copy);
        if (depends && name != "rusqlite") || is_copy {
            problems.push(Problem::new(
                "Cargo.lock",
                0,
                format!("`{name}` brings SQLite; only rusqlite may"),
            ));
        }
    }
    if lock.matches("name = \"libsqlite3-sys\"").count() > 1 {
        problems.push(Problem::new("Cargo.lock", 0, "has SQLite twice"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_owners_of_sqlite_are_found() {
        let one = "[[package]]\nname = \"rusqlite\"\ndependencies = [\n \"libsqlite3-sys\",\n]\n\
                   [[package]]\nname = \"libsqlite3-sys\"\nversion = \"1\"\n";
        assert_eq!(sqlite_owners(one), []);
        let other = "[[package]]\nname = \"sqlx\"\ndependencies = [\n \"libsqlite3-sys 2\",\n]\n";
        assert_eq!(sqlite_owners(&format!("{one}{other}")).len(), 1);
        assert_eq!(sqlite_owners(&format!("{one}{one}")).len(), 1);
    }

    #[test]
    fn manifests_of_their_own_are_found() {
        let shared = SHARED.join("\n");
        let log = ("CHANGELOG.md", "# Changes\n\n## [Unreleased]\n");
        assert_eq!(manifests(&Tree::of([("crates/a/Cargo.toml", &shared), log])), []);
        assert_eq!(manifests(&Tree::of([("crates/a/Cargo.toml", &shared[1..]), log])).len(), 1);
        assert_eq!(manifests(&Tree::of([("CHANGELOG.md", "# Changes\n")])).len(), 1);
    }
}
