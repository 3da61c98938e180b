//! Projections, whose checkpoints have to fit what they have written.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    sync::Arc,
};

use super::{
    super::{TransferredProjection, format::Line},
    lines::Lines,
    log::LogEnd,
};
use crate::{
    backend::{Backend, REBUILD_VERSIONS},
    error::{Error, ErrorKind, Result},
    event::Position,
    projection::ProjectionInfo,
    query_db::QueryDbInfo,
};

/// Where each log that is exported ends.
pub(super) type LogEnds = BTreeMap<String, LogEnd>;

/// Where projections were before what they write was exported.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Before the logs: a projection that owns nothing may write to them, too.
    before_logs: HashMap<String, ProjectionInfo>,
    /// Before the QueryDbs, which are all that one writes that owns some.
    before_query_dbs: HashMap<String, ProjectionInfo>,
    /// How often rebuilds had put a copy in the place of each QueryDb.
    generations: HashMap<String, u64>,
}

/// A projection's checkpoint as it is exported.
#[derive(Debug, Clone, Copy)]
pub(super) struct AsExported {
    checkpoint: Position,
    /// Whether what it owns may not fit the checkpoint.
    rebuild: bool,
}

impl Checkpoints {
    pub(super) async fn read(backend: &dyn Backend) -> Result<Self> {
        let before_logs = by_name(backend).await?;
        Ok(Self { before_logs, before_query_dbs: HashMap::new(), generations: HashMap::new() })
    }

    /// Reads again before these QueryDbs are exported.
    pub(super) async fn begin_query_dbs(
        &mut self,
        backend: &dyn Backend,
        query_dbs: &[QueryDbInfo],
    ) -> Result<()> {
        self.before_query_dbs = by_name(backend).await?;
        self.generations = query_dbs.iter().map(|info| (info.query_db.clone(), generation(info))).collect();
        Ok(())
    }

    /// How a projection is exported that is like this now, as its QueryDbs are. What it owns can be rebuilt from a log
    /// that is whole; anything else that went on meanwhile is `Conflict`.
    pub(super) fn as_exported(
        &self,
        info: &ProjectionInfo,
        ends: &LogEnds,
        query_dbs: &[QueryDbInfo],
    ) -> Result<AsExported> {
        if info.owns.is_empty() {
            return match checkpoint_of(self.before_logs.get(&info.projection)) {
                before if before == info.checkpoint => Ok(AsExported { checkpoint: before, rebuild: false }),
                before => Err(moved(info, before)),
            };
        }
        let end = info.log.as_ref().and_then(|log| ends.get(log));
        let (head, hidden) =
            end.map_or((Position::START, Position::START), |end| (end.head, end.compacted_through));
        let known = self.before_query_dbs.get(&info.projection);
        let before = checkpoint_of(known);
        let is_same = before == info.checkpoint
            && known.is_none_or(|known| known.owns == info.owns)
            && !self.were_replaced(&info.owns, query_dbs);
        if is_same && info.checkpoint <= head {
            Ok(AsExported { checkpoint: info.checkpoint, rebuild: false })
        } else if hidden == Position::START {
            // A rebuild ends where the projection is, so that must not be beyond what the log has.
            Ok(AsExported { checkpoint: info.checkpoint.min(head), rebuild: true })
        } else {
            Err(moved(info, before))
        }
    }

    /// Whether a rebuild has put a copy in the place of one of these.
    fn were_replaced(&self, owns: &[String], query_dbs: &[QueryDbInfo]) -> bool {
        let is_new = |info: &QueryDbInfo| {
            self.generations.get(&info.query_db).is_some_and(|before| *before != generation(info))
        };
        query_dbs.iter().any(|info| owns.contains(&info.query_db) && is_new(info))
    }
}

async fn by_name(backend: &dyn Backend) -> Result<HashMap<String, ProjectionInfo>> {
    let infos = backend.projections().await?;
    Ok(infos.into_iter().map(|info| (info.projection.clone(), info)).collect())
}

fn checkpoint_of(info: Option<&ProjectionInfo>) -> Position {
    info.map_or(Position::START, |info| info.checkpoint)
}

fn generation(info: &QueryDbInfo) -> u64 {
    info.version / REBUILD_VERSIONS
}

fn moved(info: &ProjectionInfo, before: Position) -> Error {
    let kind = ErrorKind::Conflict { expected: before.get(), actual: info.checkpoint.get() };
    Error::new(kind).with("projection", info.projection.clone()).with_hint(
        "the projection went on while it was exported, so what it writes would not fit its checkpoint; stop it and \
         export again, or make a backup",
    )
}

/// Writes a projection, and its dead letters.
pub(super) async fn export<W: Write>(
    backend: &dyn Backend,
    info: &ProjectionInfo,
    AsExported { checkpoint, rebuild }: AsExported,
    lines: &mut Lines<W>,
) -> Result<TransferredProjection> {
    let rebuild = rebuild || info.rebuild_requested;
    lines.write(&Line::of_projection(info, checkpoint, rebuild))?;
    let (name, mut after, mut dead_letters): (Arc<str>, _, _) = (info.projection.as_str().into(), None, 0);
    loop {
        let letters = backend.dead_letters(name.clone(), after.unwrap_or(Position::START)).await?;
        let Some(last) = letters.last() else { break };
        after = Some(last.position);
        for letter in &letters {
            lines.write(&Line::of_dead_letter(letter))?;
            dead_letters += 1;
        }
    }
    lines.write(&Line::ProjectionEnd { dead_letters })?;
    Ok(TransferredProjection { projection: info.projection.clone(), checkpoint, dead_letters, rebuild })
}
