//! What a projection does with an event.

use std::future::Future;

use super::ProjectionBatch;
use crate::{error::BoxError, event::Event};

/// Turns an event into writes.
///
/// Closures are projectors too: `|event: &Event, batch: &mut ProjectionBatch| { …; Ok(()) }` (with the types spelled out).
/// Implement it for a type of your own to load items, which has to be awaited.
///
/// It may be handed an event again, if it failed or its commit did: it should do nothing but add to the batch.
///
/// ```
/// use larder::{BoxError, Event, ProjectionBatch, Projector, QueryDb};
///
/// struct Latest {
///     rows: QueryDb,
/// }
///
/// impl Projector for Latest {
///     async fn project(&mut self, event: &Event, batch: &mut ProjectionBatch) -> Result<(), BoxError> {
///         let stream = event.stream.as_deref().ok_or("an event without a stream")?;
///         if batch.load_one(&self.rows, stream).await?.is_none() {
///             batch.add(self.rows.save(stream, &serde_json::json!({ "first": event.event_type })));
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Projector: Send {
    /// Adds to the batch what follows from the event.
    ///
    /// # Errors
    /// Whatever is wrong: then nothing that it has added for this event counts, and the projection does what its
    /// [policy](crate::FailurePolicy) says.
    fn project(
        &mut self,
        event: &Event,
        batch: &mut ProjectionBatch,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<F> Projector for F
where
    F: FnMut(&Event, &mut ProjectionBatch) -> Result<(), BoxError> + Send,
{
    async fn project(&mut self, event: &Event, batch: &mut ProjectionBatch) -> Result<(), BoxError> {
        self(event, batch)
    }
}
