//! Tables without lines, as listings show them.

use std::io;

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, presets};

use super::{Ui, clean};

/// A table that is written as a whole.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// A table with these headings; numbers go to the right.
    pub(crate) fn new(ui: &Ui, headings: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if ui.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(headings.iter().map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self(table)
    }

    /// Adds a row. What looks like a number goes to the right.
    pub(crate) fn row(&mut self, cells: &[String]) {
        let cell = |text: &String| {
            let number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || ",.".contains(c));
            let alignment = if number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(clean(text)).set_alignment(alignment)
        };
        self.0.add_row(cells.iter().map(cell));
    }

    /// Writes it.
    pub(crate) fn show(&self, ui: &Ui) -> io::Result<()> {
        self.0.lines().try_for_each(|line| ui.line(line.trim_end()))
    }
}
