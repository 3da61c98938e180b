//! Rebuilding: fresh copies beside the old QueryDbs, put in their place in one commit.

use super::{
    Projection, Projector,
    runner::{Runner, Target, Turn, commit, register},
};
use crate::{
    backend::{Operation, ProjectionOperation},
    error::{Error, ErrorKind, Result},
    event::Position,
    event_log::EventLog,
    operation::Call,
    query::Query,
};

pub(super) fn rebuild(
    projection: Projection,
    log: EventLog,
    query: Query,
    mut projector: impl Projector + 'static,
) -> Call<()> {
    Call::new(async move {
        let done = async {
            query.check()?;
            if projection.owns.is_empty() {
                let reason = "it owns no QueryDb, so there is nothing that a rebuild could fill";
                return Err(Error::invalid("projection", reason));
            }
            register(&projection, &log, &query).await?;
            rebuild_with(&projection, &log, &query, &mut projector).await
        };
        done.await.map_err(|error: Error| error.during("rebuild").with("projection", projection.name()))
    })
}

/// Fills copies and swaps. With a live runner beside it, it swaps when both are at the same place.
pub(super) async fn rebuild_with(
    projection: &Projection,
    log: &EventLog,
    query: &Query,
    projector: &mut impl Projector,
) -> Result<()> {
    let backend = projection.store.backend().await?;
    let name = projection.projection.clone();
    let begin = ProjectionOperation::BeginRebuild { projection: name.clone() };
    commit(&*backend, vec![Operation::Projection(begin)]).await?;
    let mut reached = Position::START;
    let filled = fill_and_swap(projection, log, query, projector, &mut reached).await;
    if filled.is_err() {
        // Whatever it says: the rebuild's own error tells more. Another's rebuild is somewhere else, and stays.
        let abandon = ProjectionOperation::AbandonRebuild { projection: name, rebuilt: reached };
        drop(commit(&*backend, vec![Operation::Projection(abandon)]).await);
    }
    filled
}

/// Fills the copies and swaps; tells in any case how far the rebuild's checkpoint has come.
async fn fill_and_swap(
    projection: &Projection,
    log: &EventLog,
    query: &Query,
    projector: &mut impl Projector,
    reached: &mut Position,
) -> Result<()> {
    let mut runner = Runner::new(projection, log, query, Target::Copies).await?;
    let ended = catch_up_and_swap(projection, &mut runner, projector).await;
    *reached = runner.checkpoint;
    ended
}

async fn catch_up_and_swap(
    projection: &Projection,
    runner: &mut Runner<'_>,
    projector: &mut impl Projector,
) -> Result<()> {
    let backend = projection.store.backend().await?;
    let name = &projection.projection;
    loop {
        while runner.turn(projector).await? == Turn::More {}
        let rebuilt = runner.seen;
        if rebuilt > runner.checkpoint {
            runner.commit(rebuilt).await?;
        }
        let expected = projection.checkpoint().await?;
        // A live runner that is ahead has seen more: its events are to come here first.
        if expected > rebuilt {
            runner.check_reachable(expected).await?;
            continue;
        }
        let finish = ProjectionOperation::FinishRebuild { projection: name.clone(), expected, rebuilt };
        match commit(&*backend, vec![Operation::Projection(finish)]).await {
            // The live runner has moved on since.
            Err(error) if is_moved(&error) && projection.checkpoint().await? != expected => {}
            ended => return ended,
        }
    }
}

fn is_moved(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict { .. })
}
