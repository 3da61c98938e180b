//! The repository's own rules, as a check: each rule is a function from the tree of files to problems.

mod code;
mod commands;
mod contract;
mod docs;
mod manifests;
mod modules;
mod text;
mod tree;
mod words;

use std::{fmt, io, path::Path};

use tree::Tree;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl Problem {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

type Rule = fn(&Tree) -> Vec<Problem>;

const RULES: [Rule; 11] = [
    text::lines,
    text::lengths,
    words::banned,
    words::outside,
    modules::unreachable,
    docs::links,
    docs::paths,
    docs::orphans,
    commands::documented,
    contract::rules,
    manifests::manifests,
];

/// Applies every rule to the files under a folder; what breaks them, by path and line.
pub(crate) fn check(root: &Path) -> io::Result<Vec<Problem>> {
    let tree = Tree::read(root)?;
    let mut problems: Vec<Problem> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    problems.sort();
    problems.dedup();
    Ok(problems)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_repository_keeps_its_rules() {
        let problems = super::check(&crate::root()).unwrap();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    }
}
