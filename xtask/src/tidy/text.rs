//! Rules of every text file.

use super::{Problem, tree::Tree};

/// What is written by people: these endings are held to the rules of prose and code.
const WRITTEN: [&str; 7] = [".rs", ".md", ".toml", ".sql", ".yml", ".yaml", ".ci/run"];

/// The longest that a source file may grow; then it has two jobs.
const SOURCE_LINES: usize = 600;

fn written(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    WRITTEN.iter().flat_map(|ending| tree.texts(ending))
}

/// No trailing whitespace, carriage returns or tabs; one newline at the end.
pub(super) fn lines(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in written(tree) {
        for (number, line) in text.split('\n').enumerate() {
            let problem = if line.ends_with('\r') {
                "ends with a carriage return"
            } else if line.ends_with([' ', '\t']) {
                "ends with whitespace"
            } else if line.starts_with('\t') {
                "is indented with a tab"
            } else {
                continue;
            };
            problems.push(Problem::new(path, number + 1, problem));
        }
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            problems.push(Problem::new(path, 0, "does not end with one newline"));
        }
    }
    problems
}

/// A source file has one role.
pub(super) fn lengths(tree: &Tree) -> Vec<Problem> {
    let long = |text: &str| text.lines().count() > SOURCE_LINES;
    let say = format!("has more than {SOURCE_LINES} lines: it has two jobs");
    tree.texts(".rs").filter(|(_, text)| long(text)).map(|(path, _)| Problem::new(path, 0, &*say)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untidy_lines_are_found() {
        let tree = Tree::of([("a.rs", "x \n\ty\nz\r\n"), ("b.md", "no end"), ("c.csv", "any \n")]);
        let found: Vec<(String, usize)> = lines(&tree).into_iter().map(|p| (p.path, p.line)).collect();
        assert_eq!(found, [("a.rs".into(), 1), ("a.rs".into(), 2), ("a.rs".into(), 3), ("b.md".into(), 0)]);
    }

    #[test]
    fn long_files_are_found() {
        let long = "x\n".repeat(SOURCE_LINES + 1);
        let tree = Tree::of([("long.rs", &long), ("fine.rs", &long[2..])]);
        assert_eq!(lengths(&tree).len(), 1);
    }
}
