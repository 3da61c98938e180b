//! Waiting until a projection has come so far.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{Projection, runner::channel};
use crate::{
    bus::Listener,
    error::{Error, ErrorKind, Result},
    event::Position,
    timer::Sleep,
};

/// How often it is looked at, beside being told: another process may run the projection.
const LOOK: Duration = Duration::from_millis(100);

/// Whether it came so far in time.
pub(super) async fn wait_for(
    projection: &Projection,
    position: Position,
    patience: Option<Duration>,
) -> Result<bool> {
    let backend = projection.store.backend().await?;
    let timer = projection.store.timer().await?;
    // A patience beyond what a clock can tell has no end.
    let end = patience.and_then(|patience| timer.now().checked_add(patience));
    let mut listener = backend.bus().listen(&channel(&projection.projection));
    loop {
        listener.observe();
        if has_reached(projection, position).await? {
            return Ok(true);
        }
        if end.is_some_and(|end| timer.now() >= end) {
            return Ok(false);
        }
        let look = timer.now() + LOOK;
        either(&mut listener, timer.sleep_until(end.map_or(look, |end| end.min(look)))).await;
    }
}

async fn has_reached(projection: &Projection, position: Position) -> Result<bool> {
    let Some(info) = projection.info().await? else { return Ok(position == Position::START) };
    if info.checkpoint >= position {
        return Ok(true);
    }
    if let Some(failure) = info.failure.filter(|failure| failure.position <= position) {
        let failed = Error::new(ErrorKind::Projector { position: failure.position });
        return Err(failed
            .during("wait for a projection")
            .with("projection", projection.name())
            .caused_by(failure.error));
    }
    // A checkpoint is not moved for events that the projection does not read: there may be none in between.
    let (Some(log), Some(query)) = (info.log, info.query) else { return Ok(false) };
    let request = projection.store.event_log(log)?.query(query).after(info.checkpoint).limit(1);
    let page = request.await?;
    Ok(match page.items.first() {
        Some(next) => next.position > position,
        None => page.through >= position,
    })
}

async fn either(listener: &mut Listener, sleep: Sleep) {
    let mut sleep = pin!(sleep);
    poll_fn(|context| {
        let told = listener.poll_changed(context).is_ready();
        if told || sleep.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
