//! The demo's read model: strikes by airport and by species, kept by a projection.

use std::{thread, time::Duration};

use anyhow::anyhow;
use larder::{
    BoxError, Event, Index, Item, ItemQuery, Position, Projection, ProjectionBatch, Query, QueryDb,
    QueryDbSpec, Sort, field,
};
use serde::{Deserialize, Serialize};

use super::Show;
use crate::ui::{Part, Table, count};

/// What the read model keeps of a strike.
#[derive(Serialize, Deserialize)]
struct Strike {
    airport: String,
    species: String,
    date: String,
    damage: String,
}

/// What of an event the read model is made of.
#[derive(Deserialize)]
struct Reported {
    #[serde(rename = "Airport Name")]
    airport: String,
    #[serde(rename = "Wildlife Species")]
    species: String,
    #[serde(rename = "Flight Date")]
    date: String,
    #[serde(rename = "Effect Amount of damage")]
    damage: String,
}

impl Show<'_> {
    pub(super) fn read_model(&self) -> anyhow::Result<()> {
        self.step(
            "7. A read model: a projection keeps each strike under two indexes, its checkpoint in the same commits",
            "larder querydb list; larder projections status strikes",
        )?;
        let spec = QueryDbSpec::new()
            .index(Index::new("by_airport", ["airport"]).sort_by(["date"]))
            .index(Index::new("by_species", ["species"]).sort_by(["date"]));
        let strikes = self.store.define("Strikes", spec).wait()?;
        let projection = self.store.projection("strikes")?.owns([&strikes]);
        let last = self.log.info().wait()?.map_or(Position::START, |log| log.head);
        self.project(&projection, &strikes, last)?;
        let airport = self.airport()?;
        let of_airport = strikes.count_items(ItemQuery::index("by_airport", [airport.as_str()])).wait()?;
        self.ui.line(format!(
            "{} through position {}; {} at {airport}",
            self.ui.paint(Part::Good, "caught up"),
            count(last.get()),
            count(of_airport)
        ))?;
        self.pages(&strikes)
    }

    /// Runs the projection until it has read everything there is. It would go on as long as the store is open; here
    /// the process that runs it ends with the demo.
    fn project(&self, projection: &Projection, strikes: &QueryDb, last: Position) -> anyhow::Result<()> {
        let rows = strikes.clone();
        let running =
            projection.run(self.log, Query::all(), move |event: &Event, batch: &mut ProjectionBatch| {
                project(&rows, event, batch)
            });
        let running = thread::spawn(move || running.wait());
        loop {
            if projection.wait_for_at_most(last, Duration::from_millis(50)).wait()? {
                return Ok(());
            }
            if running.is_finished() {
                running.join().map_err(|_| anyhow!("the projection panicked"))??;
                return Err(anyhow!("the projection ended before it had read everything"));
            }
        }
    }

    fn pages(&self, strikes: &QueryDb) -> anyhow::Result<()> {
        self.step(
            "8. Query it: gulls of the nineties that did damage, by date, the newest first, three at a time",
            "larder querydb query Strikes --index by_species --value \"Herring gull\" --sort 'begins_with \"199\"' --filter 'damage <> \"None\"' --descending --limit 3",
        )?;
        let gulls = ItemQuery::index("by_species", ["Herring gull"])
            .sort(Sort::begins_with("199"))
            .filter(field("damage").ne("None"));
        let mut cursor = None;
        for number in 1..=2 {
            let page = strikes.query(&gulls).descending().limit(3).after(cursor).wait()?;
            let mut table = Table::new(self.ui, &["date", "airport", "damage"]);
            for item in &page {
                table.row(&row(item)?);
            }
            table.show(self.ui)?;
            cursor = page.next;
            let more = if cursor.is_some() { "there is more" } else { "that is all" };
            self.ui.line(self.ui.paint(Part::Faint, format!("page {number}; {more}")))?;
            if cursor.is_none() {
                break;
            }
        }
        let total = strikes.count_items(&gulls).wait()?;
        self.ui.line(format!("{} in all", count(total)))?;
        Ok(())
    }
}

fn project(rows: &QueryDb, event: &Event, batch: &mut ProjectionBatch) -> Result<(), BoxError> {
    if event.event_type != "BirdStrike" {
        return Ok(());
    }
    let Reported { airport, species, date, damage } = event.decode()?;
    batch.add(rows.save(event.position.to_string(), &Strike { airport, species, date, damage }));
    Ok(())
}

fn row(item: &Item) -> anyhow::Result<[String; 3]> {
    let Strike { airport, date, damage, .. } = item.decode()?;
    Ok([date, airport, damage])
}
