//! Everything that is shown, decided in one place: for people or as JSON, with colour or without.

mod event;
mod format;
mod progress;
mod table;

use std::{
    cell::RefCell,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
};

use anstyle::{AnsiColor, Effects, Style};
use larder::Event;
use serde::Serialize;

pub(crate) use self::{
    event::{payload_json, raw},
    format::{bytes, clean, count, counted, time},
    progress::{Bar, Unit},
    table::Table,
};
use crate::failure::Failure;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// If the output is a terminal, and `NO_COLOR` is not set
    #[default]
    Auto,
    /// Even into a file or a pipe
    Always,
    /// Not at all
    Never,
}

impl ColorChoice {
    fn applies_to(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                terminal && !set("NO_COLOR") && !dumb
            }
        }
    }
}

/// The parts of what is shown that may have a style.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Heading,
    Name,
    Number,
    Faint,
    Good,
    Bad,
}

impl Part {
    fn style(self) -> Style {
        let color = |color: AnsiColor| color.on_default();
        match self {
            Self::Heading => Style::new().effects(Effects::BOLD),
            Self::Name => color(AnsiColor::Cyan),
            Self::Number => color(AnsiColor::Yellow),
            Self::Faint => Style::new().effects(Effects::DIMMED),
            Self::Good => color(AnsiColor::Green),
            Self::Bad => color(AnsiColor::Red).effects(Effects::BOLD),
        }
    }
}

/// Where commands write: results to the standard output, everything else to the standard error.
#[derive(Debug)]
pub(crate) struct Ui {
    json: bool,
    quiet: bool,
    color: bool,
    error_color: bool,
    error_terminal: bool,
    /// The width of the terminal that shows the results, if one does.
    width: Option<usize>,
    out: RefCell<BufWriter<StdoutLock<'static>>>,
}

impl Ui {
    pub(crate) fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let terminal = stdout.is_terminal();
        Self {
            json,
            quiet,
            color: !json && color.applies_to(terminal),
            error_color: !json && color.applies_to(stderr.is_terminal()),
            error_terminal: stderr.is_terminal(),
            width: terminal.then(|| terminal_size::terminal_size().map_or(100, |(width, _)| width.0.into())),
            out: RefCell::new(BufWriter::with_capacity(64 * 1024, stdout.lock())),
        }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Text in a style, if there is colour.
    pub(crate) fn paint(&self, part: Part, text: impl AsRef<str>) -> String {
        paint(self.color, part, text.as_ref())
    }

    /// Writes a line of the result, for people.
    pub(crate) fn line(&self, line: impl AsRef<str>) -> io::Result<()> {
        let mut out = self.out.borrow_mut();
        out.write_all(line.as_ref().as_bytes())?;
        out.write_all(b"\n")
    }

    /// Writes a result byte for byte.
    pub(crate) fn raw(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        write(&mut *self.out.borrow_mut())
    }

    /// Writes a result as one line of JSON.
    pub(crate) fn object(&self, value: &impl Serialize) -> io::Result<()> {
        let mut out = self.out.borrow_mut();
        serde_json::to_writer(&mut *out, value)?;
        out.write_all(b"\n")
    }

    /// Writes a result: as JSON, or as the lines that `human` makes.
    pub(crate) fn result(
        &self,
        value: &impl Serialize,
        human: impl FnOnce(&Self) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json { self.object(value) } else { human(self) }
    }

    /// Writes an event; for people, cut to the width of the terminal.
    pub(crate) fn event(&self, event: &Event) -> io::Result<()> {
        if self.json { self.line(event::event_json(event)?) } else { event::show(self, event, self.width) }
    }

    /// Writes an event for people, cut to a width also where there is no terminal.
    pub(crate) fn short_event(&self, event: &Event) -> io::Result<()> {
        event::show(self, event, self.width.or(Some(110)))
    }

    /// Hands what was written to whoever reads it.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.out.borrow_mut().flush()
    }

    /// Tells people something that is no result; not with `--quiet` or `--json`.
    pub(crate) fn note(&self, note: impl AsRef<str>) {
        if !self.quiet && !self.json {
            let _ = writeln!(io::stderr(), "{}", paint(self.error_color, Part::Faint, note.as_ref()));
        }
    }

    /// Warns of something that does not end the command.
    pub(crate) fn warn(&self, warning: impl AsRef<str>) {
        if self.json {
            let _ = writeln!(io::stderr(), "{}", serde_json::json!({ "warning": warning.as_ref() }));
        } else {
            let label = paint(self.error_color, Part::Number, "warning:");
            let _ = writeln!(io::stderr(), "{label} {}", warning.as_ref());
        }
    }

    /// Shows why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        // Whoever closed the standard error does not want to know.
        let _ = self.try_failure(failure);
    }

    fn try_failure(&self, failure: &Failure) -> io::Result<()> {
        let mut err = io::stderr().lock();
        if self.json {
            return writeln!(err, "{}", failure.to_json());
        }
        let paint = |part, text| paint(self.error_color, part, text);
        writeln!(err, "{} {}", paint(Part::Bad, "error:"), clean(&failure.message))?;
        for detail in &failure.details {
            for line in detail.lines() {
                writeln!(err, "  {}", clean(line))?;
            }
        }
        match &failure.hint {
            Some(hint) => writeln!(err, "{} {}", paint(Part::Name, "hint:"), clean(hint)),
            None => Ok(()),
        }
    }

    /// A progress bar on the standard error, shown if that is a terminal.
    pub(crate) fn bar(&self, total: Option<u64>, unit: Unit) -> Bar {
        let shown = self.error_terminal && !self.quiet && !self.json;
        Bar::new(shown, total, unit)
    }
}

fn paint(color: bool, part: Part, text: &str) -> String {
    if !color {
        return text.to_owned();
    }
    let style = part.style();
    format!("{style}{text}{style:#}")
}
