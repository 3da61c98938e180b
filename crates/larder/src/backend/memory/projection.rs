//! Projections' records, and rebuilds.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{query_db::QueryDbState, state::Transaction};
use crate::{
    backend::{
        Outcome, ProjectionOperation, REBUILD_SUFFIX, REBUILD_VERSIONS, check_checkpoint as check,
        check_checkpoint_and_rebuilds as check_with_rebuilds,
    },
    error::{Error, ErrorKind, Result},
    event::Position,
    projection::{DeadLetter, ProjectionInfo},
};

/// The most dead letters that a look returns.
const LETTERS: usize = 1_000;

/// A projection's record.
#[derive(Debug, Clone)]
pub(super) struct ProjectionState {
    info: ProjectionInfo,
    dead_letters: BTreeMap<Position, DeadLetter>,
}

/// Every projection's record, and how they were when the batch under way first changed them.
#[derive(Debug, Default)]
pub(super) struct Projections {
    all: BTreeMap<Arc<str>, ProjectionState>,
    before: Vec<(Arc<str>, Option<ProjectionState>)>,
}

impl Projections {
    pub(super) fn infos(&self) -> Vec<ProjectionInfo> {
        self.all.values().map(ProjectionState::to_info).collect()
    }

    pub(super) fn info(&self, name: &str) -> Option<ProjectionInfo> {
        self.all.get(name).map(ProjectionState::to_info)
    }

    pub(super) fn dead_letters(&self, name: &str, after: Position) -> Vec<DeadLetter> {
        let Some(state) = self.all.get(name) else { return Vec::new() };
        let above = state.dead_letters.range((Bound::Excluded(after), Bound::Unbounded));
        above.take(LETTERS).map(|(_, letter)| letter.clone()).collect()
    }

    /// The first projection that reads the log and is not beyond this position.
    pub(super) fn behind(&self, log: &str, position: Position) -> Result<()> {
        let reads = |state: &&ProjectionState| {
            state.info.log.as_deref() == Some(log) && state.info.checkpoint < position
        };
        match self.all.values().find(reads) {
            Some(state) => Err(Error::new(ErrorKind::ProjectionBehind {
                projection: state.info.projection.clone(),
                checkpoint: state.info.checkpoint,
            })),
            None => Ok(()),
        }
    }

    /// A record to change, which the batch may take back.
    fn entry(&mut self, name: &Arc<str>) -> &mut ProjectionState {
        self.remember(name);
        self.all.entry(name.clone()).or_insert_with(|| ProjectionState {
            info: ProjectionInfo::new(&**name),
            dead_letters: BTreeMap::new(),
        })
    }

    fn known(&mut self, name: &Arc<str>) -> Result<&mut ProjectionState> {
        if !self.all.contains_key(name) {
            return Err(Error::new(ErrorKind::NotFound).with("projection", &**name));
        }
        Ok(self.entry(name))
    }

    fn remove(&mut self, name: &Arc<str>) -> Option<ProjectionState> {
        self.remember(name);
        self.all.remove(name)
    }

    fn remember(&mut self, name: &Arc<str>) {
        if !self.before.iter().any(|(known, _)| known == name) {
            self.before.push((name.clone(), self.all.get(name).cloned()));
        }
    }

    /// Makes the batch's changes final, and names the projections.
    pub(super) fn keep(&mut self) -> Vec<Arc<str>> {
        self.before.drain(..).map(|(name, _)| name).collect()
    }

    /// Takes the batch's changes back.
    pub(super) fn revert(&mut self) {
        for (name, before) in self.before.drain(..) {
            match before {
                Some(state) => drop(self.all.insert(name, state)),
                None => drop(self.all.remove(&name)),
            }
        }
    }
}

impl ProjectionState {
    fn to_info(&self) -> ProjectionInfo {
        ProjectionInfo { dead_letters: self.dead_letters.len() as u64, ..self.info.clone() }
    }
}

impl Transaction<'_> {
    pub(super) fn change_projection(&mut self, operation: ProjectionOperation) -> Result<Outcome> {
        match operation {
            ProjectionOperation::Register { projection, log, query, owns } => {
                let state = self.projections.entry(&projection);
                if state.info.log.as_deref().is_some_and(|known| known != &*log) {
                    let reason = format!("it reads log `{}`", state.info.log.as_deref().unwrap_or_default());
                    return Err(Error::invalid("log", reason).with("projection", &*projection));
                }
                state.info.log = Some(log.to_string());
                state.info.query = Some(query);
                let before = std::mem::replace(&mut state.info.owns, owns.clone());
                self.own(&projection, &before, &owns)?;
            }
            ProjectionOperation::SetCheckpoint { projection, expected, position } => {
                let info = &mut self.projections.entry(&projection).info;
                check_with_rebuilds(expected, (info.checkpoint, info.rebuilds))?;
                (info.checkpoint, info.failure) = (position, None);
                self.projecting = Some(projection);
            }
            ProjectionOperation::SetRebuildCheckpoint { projection, expected, position } => {
                let info = &mut self.projections.known(&projection)?.info;
                check(expected, info.rebuild.ok_or_else(no_rebuild)?)?;
                info.rebuild = Some(position);
                self.projecting = Some(projection);
            }
            ProjectionOperation::RecordFailure { projection, failure } => {
                let info = &mut self.projections.entry(&projection).info;
                (info.failure, info.rebuild_requested) = (Some(failure), false);
            }
            ProjectionOperation::AddDeadLetter { projection, letter } => {
                self.projections.entry(&projection).dead_letters.insert(letter.position, letter);
            }
            ProjectionOperation::RemoveDeadLetter { projection, position } => {
                if let Ok(state) = self.projections.known(&projection) {
                    state.dead_letters.remove(&position);
                }
            }
            ProjectionOperation::RequestRebuild { projection } => {
                let info = &mut self.projections.known(&projection)?.info;
                check_owns(info)?;
                info.rebuild_requested = true;
            }
            ProjectionOperation::BeginRebuild { projection } => self.begin_rebuild(&projection)?,
            ProjectionOperation::FinishRebuild { projection, expected, rebuilt } => {
                self.finish_rebuild(&projection, expected, rebuilt)?;
            }
            ProjectionOperation::AbandonRebuild { projection, rebuilt } => {
                let info = &mut self.projections.known(&projection)?.info;
                check(rebuilt, info.rebuild.ok_or_else(no_rebuild)?)?;
                let before = info.clone();
                info.rebuild = None;
                self.drop_copies(&before);
            }
            ProjectionOperation::Drop { projection } => {
                if let Some(state) = self.projections.remove(&projection) {
                    self.drop_copies(&state.info);
                    self.own(&projection, &state.info.owns, &[])?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Gives QueryDbs to a projection, and those that it no longer owns to nobody.
    fn own(&mut self, projection: &Arc<str>, before: &[String], owns: &[String]) -> Result<()> {
        for name in before.iter().filter(|name| !owns.contains(name)) {
            self.query_db_or_new(&name.as_str().into()).set_owner(None);
        }
        for name in owns {
            let query_db = self.query_db_or_new(&name.as_str().into());
            if query_db.owner().is_some_and(|owner| owner != &**projection) {
                let reason =
                    format!("`{name}` is owned by projection `{}`", query_db.owner().unwrap_or_default());
                return Err(Error::invalid("QueryDb", reason));
            }
            query_db.set_owner(Some(projection.to_string()));
        }
        Ok(())
    }

    fn begin_rebuild(&mut self, projection: &Arc<str>) -> Result<()> {
        let info = &mut self.projections.known(projection)?.info;
        check_owns(info)?;
        info.rebuild = Some(Position::START);
        for name in info.owns.clone() {
            let (spec, version) = self.query_db_or_new(&name.as_str().into()).spec_and_version();
            let copy: Arc<str> = format!("{name}{REBUILD_SUFFIX}").into();
            self.query_db_or_new(&copy)
                .begin_copy(&spec, (version / REBUILD_VERSIONS + 1) * REBUILD_VERSIONS)?;
            self.query_db_or_new(&copy).set_owner(Some(projection.to_string()));
        }
        Ok(())
    }

    /// Drops what a rebuild that is under way has filled so far.
    fn drop_copies(&mut self, info: &ProjectionInfo) {
        if info.rebuild.is_some() {
            for name in &info.owns {
                self.query_db_or_new(&format!("{name}{REBUILD_SUFFIX}").into()).clear();
            }
        }
    }

    fn finish_rebuild(&mut self, projection: &Arc<str>, expected: Position, rebuilt: Position) -> Result<()> {
        let info = &mut self.projections.known(projection)?.info;
        check(expected, info.checkpoint)?;
        check(rebuilt, info.rebuild.ok_or_else(no_rebuild)?)?;
        (info.checkpoint, info.rebuild, info.failure) = (rebuilt, None, None);
        info.rebuilds += 1;
        info.rebuild_requested = false;
        for name in info.owns.clone() {
            let copy: Arc<str> = format!("{name}{REBUILD_SUFFIX}").into();
            let filled: QueryDbState = self.query_db_or_new(&copy).clone();
            self.query_db_or_new(&name.as_str().into()).take_over(filled)?;
            self.query_db_or_new(&copy).clear();
        }
        Ok(())
    }
}

fn check_owns(info: &ProjectionInfo) -> Result<()> {
    if info.owns.is_empty() {
        return Err(Error::invalid("projection", "it owns no QueryDb, so there is nothing to rebuild"));
    }
    Ok(())
}

fn no_rebuild() -> Error {
    Error::new(ErrorKind::Conflict { expected: 1, actual: 0 }).with("rebuild", "none is under way")
}
