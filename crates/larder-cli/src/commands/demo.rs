//! `larder demo`: real events, and what can be done with them.

mod read_model;

use std::{io, path::PathBuf};

use anyhow::Context as _;
use larder::{
    AppendCondition, Error, EventLog, Expected, NewEvent, Position, QueryItem, Store, backend::Progress,
};

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    input::{Mapping, Row, TypeFrom, csv_text_rows},
    interrupt::Interrupt,
    stopwatch::Stopwatch,
    ui::{Part, Table, Ui, count},
};

/// Wildlife strikes at US airports: see `data/README.md`.
const STRIKES: &str = include_str!("../../data/birdstrikes.csv");
const LOG: &str = "strikes";

/// Imports real events and shows streams, queries, guarded appends, a read model and verification, in seconds
///
/// It works on a store in a temporary directory, which is removed afterwards, unless `--store` names one.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if context.ui.is_json() {
            return Err(Failure::invalid("the demo is to be read by people: leave `--json` out").into());
        }
        let watch = Stopwatch::start();
        let scratch = Interrupt::scratch("larder-demo-")?;
        let (store, url) = match &context.store {
            Some(url) => (context.open_or_create()?, url.clone()),
            None => {
                let path: PathBuf = scratch.path().join("demo.db");
                let url = format!("sqlite:{}", path.display());
                (Store::open(url.as_str()).wait()?, url)
            }
        };
        let log = store.event_log(LOG)?;
        if log.info().wait()?.is_some() {
            let message = format!("the store has a log `{LOG}` already; the demo wants one of its own");
            return Err(Failure::new(ExitCode::AlreadyExists, message)
                .hint("leave `--store` out, or name a new store")
                .into());
        }
        let show = Show { ui: &context.ui, store: &store, log: &log, url: &url };
        show.everything()?;
        store.close().wait()?;
        let kept = match &context.store {
            Some(_) if url.starts_with("memory") => "The store was in memory, and is gone.".into(),
            Some(_) => format!("The store is kept: look around with `larder --store {url} …`"),
            None => "The store was temporary. Keep one: `larder --store sqlite:demo.db demo`".into(),
        };
        context.ui.line(format!("{kept}   ({:.1} s)", watch.elapsed().as_secs_f64()))?;
        Ok(ExitCode::Success)
    }
}

struct Show<'a> {
    ui: &'a Ui,
    store: &'a Store,
    log: &'a EventLog,
    url: &'a str,
}

impl Show<'_> {
    fn everything(&self) -> anyhow::Result<()> {
        self.import()?;
        self.streams()?;
        self.one_stream()?;
        self.query()?;
        self.conflict()?;
        self.condition()?;
        self.read_model()?;
        self.verify()
    }

    /// A heading, and the command or code that does the same.
    fn step(&self, heading: &str, how: &str) -> io::Result<()> {
        self.ui.line("")?;
        self.ui.line(self.ui.paint(Part::Heading, heading))?;
        self.ui.line(self.ui.paint(Part::Faint, format!("$ {how}")))?;
        self.ui.flush()
    }

    fn import(&self) -> anyhow::Result<()> {
        self.ui.line(format!("A store at {}", self.ui.paint(Part::Name, self.url)))?;
        self.step(
            "1. Import: every row of a CSV file becomes an event, in the stream of its airport",
            "larder import birdstrikes.csv --log strikes --type BirdStrike --stream-field \"Airport Name\" \\\n      --tag-field \"Origin State=state\" --tag-field \"Wildlife Species=species\"",
        )?;
        let watch = Stopwatch::start();
        let mapping = Mapping {
            log: LOG.into(),
            event_type: TypeFrom::Name("BirdStrike".into()),
            stream_field: Some("Airport Name".into()),
            tag_fields: vec!["Origin State=state".parse(), "Wildlife Species=species".parse()]
                .into_iter()
                .collect::<Result<_, _>>()
                .map_err(Failure::invalid)?,
            id_field: None,
        };
        let mut batch = self.store.batch();
        let mut events = 0;
        for Row { json, .. } in csv_text_rows(STRIKES)? {
            let json = json.map_err(Failure::invalid)?;
            let (stream, event) = mapping.event(&json).map_err(Failure::invalid)?;
            batch.add(self.log.append(stream.unwrap_or_default(), Expected::Any, [event]));
            events += 1;
        }
        batch.commit().wait()?;
        let ms = watch.elapsed().as_secs_f64() * 1000.0;
        let done = self.ui.paint(Part::Good, "imported");
        self.ui.line(format!("{done} {} events in one atomic, synced commit, {ms:.0} ms", count(events)))?;
        Ok(())
    }

    fn streams(&self) -> anyhow::Result<()> {
        self.step("2. Streams: one for each airport", "larder streams --log strikes")?;
        let mut table = Table::new(self.ui, &["stream", "head"]);
        for info in self.log.streams().wait()? {
            table.row(&[info.stream, count(info.head)]);
        }
        table.show(self.ui)?;
        Ok(())
    }

    fn one_stream(&self) -> anyhow::Result<()> {
        let airport = self.airport()?;
        self.step(
            "3. Read a stream backwards",
            &format!("larder read --log strikes --stream \"{airport}\" --reverse --limit 2"),
        )?;
        for event in self.log.read(airport, ..).descending().limit(2).wait()? {
            self.ui.short_event(&event)?;
        }
        Ok(())
    }

    fn query(&self) -> anyhow::Result<()> {
        self.step(
            "4. Query by tags: Canada geese in New York, over all streams",
            "larder read --log strikes --tag \"state:New York\" --tag \"species:Canada goose\" --limit 3",
        )?;
        let geese = QueryItem::new().tags(["state:New York", "species:Canada goose"]);
        let all = self.log.query(geese).wait()?;
        let total = all.items.len();
        for event in all.into_iter().take(3) {
            self.ui.short_event(&event)?;
        }
        self.ui.line(format!("{total} in all"))?;
        Ok(())
    }

    fn conflict(&self) -> anyhow::Result<()> {
        let airport = self.airport()?;
        self.step(
            "5. Two writers, one stream: who believes in an old head is told",
            &format!(
                "larder append --log strikes --stream \"{airport}\" --expect 1 --type Reviewed --data '{{}}'"
            ),
        )?;
        let refused = self.log.append(airport, 1, [NewEvent::json("Reviewed", "{}")]).wait();
        self.refused(refused.err())
    }

    fn condition(&self) -> anyhow::Result<()> {
        self.step(
            "6. A condition over all streams: only if no barn owl was ever hit in New York",
            "larder append --log strikes --type AllClear --data '{}' \\\n      --if-none-match 'tag:\"state:New York\" tag:\"species:Barn owl\"'",
        )?;
        let owls = QueryItem::new().tags(["state:New York", "species:Barn owl"]);
        let condition = AppendCondition { fail_if_events_match: owls.into(), after: Position::START };
        let refused = self.log.append_if([NewEvent::json("AllClear", "{}")], condition).wait();
        self.refused(refused.err())
    }

    /// Shows a refusal as the command shows it.
    fn refused(&self, error: Option<Error>) -> anyhow::Result<()> {
        let error = error.context("an append went through that should not have")?;
        let failure = Failure::from_library(&error);
        self.ui.line(format!("{} {}", self.ui.paint(Part::Bad, "error:"), failure.message))?;
        for detail in &failure.details {
            self.ui.line(format!("  {detail}"))?;
        }
        if let Some(hint) = &failure.hint {
            self.ui.line(format!("{} {hint}", self.ui.paint(Part::Name, "hint:")))?;
        }
        Ok(())
    }

    fn verify(&self) -> anyhow::Result<()> {
        self.step("9. Verify: every checksum, number and index entry, computed again", "larder verify")?;
        let report = self.store.verify(Progress::default()).wait()?;
        for finding in &report.findings {
            self.ui.line(finding.to_string())?;
        }
        let verdict = if report.is_sound() {
            self.ui.paint(Part::Good, "sound")
        } else {
            self.ui.paint(Part::Bad, "not sound")
        };
        let (events, items) = (count(report.events), count(report.items));
        let entries = count(report.index_entries);
        self.ui
            .line(format!("{verdict}: {events} events, {items} items, {entries} index entries checked"))?;
        self.ui.line("")?;
        Ok(())
    }

    /// The airport of the first event.
    fn airport(&self) -> anyhow::Result<String> {
        let first = self.log.query(larder::Query::all()).limit(1).wait()?;
        let stream = first.items.into_iter().next().and_then(|event| event.stream);
        Ok(stream.context("the demo's data has no events")?.to_string())
    }
}
