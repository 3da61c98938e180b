//! The numbered rules and the cases that check them name each other.

use std::collections::BTreeMap;

use super::{Problem, tree::Tree};

const CONTRACT: &str = "docs/contract.md";
/// Where the cases are: functions named after a rule, such as `el_07_head_never_goes_back`.
const CASES: [&str; 2] = ["crates/larder/src/testing/", "crates/larder-kv/tests/contract.rs"];
const AREAS: [&str; 11] = ["cf_", "el_", "wb_", "fl_", "fm_", "sn_", "qd_", "tb_", "pr_", "kv_", "sy_"];

/// Every rule that a source or document names is in the contract, and every rule there has a case.
pub(super) fn rules(tree: &Tree) -> Vec<Problem> {
    let Some(contract) = tree.text(CONTRACT) else {
        return vec![Problem::new(CONTRACT, 0, "is missing")];
    };
    let defined: BTreeMap<&str, usize> = contract
        .lines()
        .enumerate()
        .filter_map(|(number, line)| Some((rule_at(line.strip_prefix("- **")?)?, number + 1)))
        .collect();
    let mut problems = Vec::new();
    let mut checked: BTreeMap<&str, bool> = defined.keys().map(|rule| (*rule, false)).collect();
    let sources = tree.texts(".rs").filter(|(path, _)| !path.starts_with("xtask/"));
    for (path, text) in sources.chain(tree.texts(".md")) {
        for (number, line) in text.lines().enumerate() {
            let is_case = CASES.iter().any(|cases| path.starts_with(cases)) && line.contains("fn ");
            for rule in mentioned(line) {
                if let Some(found) = checked.get_mut(rule) {
                    *found |= is_case;
                } else {
                    problems.push(Problem::new(
                        path,
                        number + 1,
                        format!("names rule {rule}: not in {CONTRACT}"),
                    ));
                }
            }
        }
    }
    let unchecked = checked.iter().filter(|(_, found)| !**found);
    problems.extend(
        unchecked.map(|(rule, _)| Problem::new(CONTRACT, defined[rule], format!("no case checks {rule}"))),
    );
    problems
}

/// The rules that a line names.
fn mentioned(line: &str) -> impl Iterator<Item = &str> {
    line.char_indices().filter_map(|(at, _)| {
        let starts_word = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if starts_word { rule_at(&line[at..]) } else { None }
    })
}

/// The rule that the text starts with: `el_07`, also in `el_07_some_case`.
fn rule_at(text: &str) -> Option<&str> {
    let area = AREAS.iter().find(|area| text.starts_with(**area))?;
    let rule = text.get(..area.len() + 2)?;
    let is_number = rule[area.len()..].bytes().all(|digit| digit.is_ascii_digit());
    let ends = !text[rule.len()..].starts_with(|c: char| c.is_alphanumeric());
    (is_number && ends).then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_cases_name_each_other() {
        let tree = Tree::of([
            (CONTRACT, "- **el_01** one\n- **el_02** two, see el_01\n- **cf_01** three\n"),
            ("crates/larder/src/testing/event_log.rs", "fn el_01_case() {}\n// cf_01\nfn el_09_case() {}\n"),
            ("crates/larder/src/lib.rs", "// el_02, label_77, el_777\n"),
        ]);
        let found: Vec<String> = rules(&tree).into_iter().map(|problem| problem.what).collect();
        assert_eq!(
            found,
            ["names rule el_09: not in docs/contract.md", "no case checks cf_01", "no case checks el_02"]
        );
    }
}
