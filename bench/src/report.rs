//! What was measured, as tables or as JSON.

use std::{fmt::Write as _, fs};

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::harness::{Goal, Outcome, Scale};

/// Everything about a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub command: String,
    pub machine: Machine,
    pub rounds: usize,
    pub quick: bool,
    pub outcomes: Vec<Outcome>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processors: usize,
    pub kernel: String,
    pub sqlite: &'static str,
}

impl Machine {
    pub fn this() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: format!("{} {}", std::env::consts::OS, release.trim()),
            sqlite: rusqlite::version(),
        }
    }
}

impl Report {
    /// Markdown: what each side did, then the targets.
    pub fn to_markdown(&self) -> String {
        let Machine { processors, kernel, sqlite } = &self.machine;
        let mut text = format!(
            "`{}`: {} rounds, {processors} processors, {kernel}, SQLite {sqlite}\n",
            self.command, self.rounds
        );
        if self.quick {
            text.push_str("Quick: small stores and short windows; the numbers mean nothing.\n");
        }
        for outcome in &self.outcomes {
            // Writing to a string does not fail.
            let _ = write!(text, "\n{}: {}\n\n{}\n", outcome.name, outcome.about, sides(outcome));
        }
        let _ = write!(text, "\n{}\n", targets(&self.outcomes));
        text
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    table
}

fn sides(outcome: &Outcome) -> Table {
    let unit = match outcome.scale {
        Scale::PerSecond(unit) => format!("{unit}/s"),
        Scale::Milliseconds => "ms".to_owned(),
        Scale::Times(what) => format!("times {what}"),
    };
    let mut table = table(&["side", &format!("median {unit}"), "min", "max", "processor µs"]);
    for side in &outcome.sides {
        let spread = side.spread;
        table.add_row([
            side.side.to_owned(),
            number(spread.median),
            number(spread.min),
            number(spread.max),
            side.processor_us.map_or_else(String::new, number),
        ]);
    }
    align(&mut table, 1..5);
    table
}

fn targets(outcomes: &[Outcome]) -> Table {
    let header = ["comparison", "against", "target", "of medians", "median of pairs", "min", "max", "met"];
    let mut table = table(&header);
    for (outcome, target) in
        outcomes.iter().flat_map(|outcome| outcome.targets.iter().map(move |target| (outcome, target)))
    {
        let (goal, unit) = match target.goal {
            Goal::Ratio(at_least) => (format!(">= {at_least}"), ""),
            Goal::MillisecondsMore(at_most) => (format!("<= {at_most} ms more"), " ms"),
            Goal::AtLeast(at_least) => (format!("{} at least", number(at_least)), ""),
            Goal::AtMost(at_most) => (format!("{at_most} at most"), ""),
        };
        let value = |value: f64| format!("{}{unit}", number(value));
        table.add_row([
            outcome.name.to_owned(),
            target.against.to_owned(),
            goal,
            value(target.of_medians),
            value(target.pairwise.median),
            value(target.pairwise.min),
            value(target.pairwise.max),
            if target.met { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    align(&mut table, 3..7);
    table
}

fn align(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// With thousands apart, and decimals only where they tell something.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(123.0), "123");
        assert_eq!(number(1.5), "1.50");
    }
}
