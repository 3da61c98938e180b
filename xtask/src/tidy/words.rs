//! Words that have no place here.

use super::{Problem, code::code_only, tree::Tree};

/// What is left behind by unfinished work.
const MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Words for which the glossary has another, as parts of identifiers.
const WORDS: [(&str, &str); 3] =
    [("journal", "log, wal or undo"), ("topic", "log"), ("revision", "seq_nr or version")];

/// No unfinished work, and in identifiers one word for one thing.
pub(super) fn banned(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, source) in tree.texts(".rs") {
        for (number, line) in source.lines().enumerate() {
            problems.extend(note(line).map(|what| Problem::new(path, number + 1, what)));
        }
        for (number, line) in code_only(source).lines().enumerate() {
            problems.extend(in_code(line).into_iter().map(|what| Problem::new(path, number + 1, what)));
        }
    }
    for (path, text) in tree.texts(".md") {
        for (number, line) in text.lines().enumerate() {
            problems.extend(note(line).map(|what| Problem::new(path, number + 1, what)));
        }
    }
    problems
}

/// Where work on the repository happens to be done; whoever clones it has no such place. The second is a path from
/// the root.
const OUTSIDE: [&str; 2] = [concat!("../", "shared"), concat!("/", "work/")];

/// The repository stands alone: it mentions nothing outside of itself.
pub(super) fn outside(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.texts("") {
        for (number, line) in text.lines().enumerate() {
            let found = OUTSIDE.into_iter().find(|place| mentions(line, place));
            problems.extend(
                found.map(|place| {
                    Problem::new(path, number + 1, format!("`{place}` is not in the repository"))
                }),
            );
        }
    }
    problems
}

/// Whether a line has this path, and not one that it is a part of.
fn mentions(line: &str, place: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    line.match_indices(place).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + place.len()..].chars().next();
        let is_begun = before.is_some_and(|c| is_name(c) || c == '.');
        let goes_on = !place.ends_with('/') && after.is_some_and(is_name);
        !is_begun && !goes_on
    })
}

fn note(line: &str) -> Option<String> {
    let mut words = line.split(|c: char| !c.is_alphanumeric());
    words.find(|word| NOTES.contains(word)).map(|word| format!("`{word}`: do it, or open an issue"))
}

fn in_code(line: &str) -> Vec<String> {
    let macros = MACROS.iter().filter(|name| line.contains(*name)).map(|name| format!("`{name}`"));
    let words = line
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .flat_map(parts)
        .filter_map(|part| WORDS.iter().find(|(word, _)| part == *word || part == format!("{word}s")))
        .map(|(word, instead)| format!("`{word}` in an identifier: the glossary says {instead}"));
    macros.chain(words).collect()
}

/// The words of an identifier, in lower case.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in identifier.chars() {
        if c == '_' || c.is_uppercase() {
            parts.push(String::new());
        }
        if c != '_'
            && let Some(part) = parts.last_mut()
        {
            part.extend(c.to_lowercase());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_words_are_found() {
        let source = "fn a() { todo!() }\nstruct EventJournal;\nlet sub_topics = 1;\n// a journal, todo!()\n";
        let lines: Vec<usize> = banned(&Tree::of([("a.rs", source)])).iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 2, 3]);
        let note = concat!("// TO", "DO later\n");
        assert_eq!(banned(&Tree::of([("a.rs", note), ("a.md", note)])).len(), 2);
        assert!(banned(&Tree::of([("a.rs", "let x = \"PRAGMA journal_mode\";\n")])).is_empty());
    }
    #[test]
    fn places_outside_are_found() {
        let [shared, work] = OUTSIDE;
        let text =
            format!("see {shared}/design.md\nfine\n`{work}main`\n{shared}.\nat {work}\nin ({shared})\n");
        let found = |text: &str| outside(&Tree::of([("a.yml", text)])).iter().map(|p| p.line).collect();
        let lines: Vec<usize> = found(&text);
        assert_eq!(lines, [1, 3, 4, 5, 6]);
        let fine: Vec<usize> = found(&format!("docs{work}a.md\n{shared}_state.rs\n..{work}\n"));
        assert_eq!(fine, [0; 0]);
    }
}
