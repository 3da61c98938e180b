//! Cases of the rules `cf_*`.

#[cfg(feature = "sqlite")]
pub(super) mod backup;
pub(super) mod closing;
#[cfg(feature = "sqlite")]
pub(super) mod in_use;
pub(super) mod memory;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;
pub(super) mod urls;

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{
    Event, Id, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::{
    process,
    support::{CaseResult, event, orders},
};
use crate::{error::BoxError, store::Store};

/// Asserts that a store works, and gives the name of its backend.
fn backend_name(store: &Store) -> Result<String, BoxError> {
    let log = orders(store)?;
    let position = log.append_if([event("A")], None).wait()?.last_position;
    assert_eq!(log.info().wait()?.map(|info| info.head), Some(position));
    Ok(store.stats().wait()?.backend)
}

/// What is logged at `INFO` and above by the body, which runs in a process of its own, from every thread.
fn logged(role: &str, body: impl FnOnce(&Lines) -> CaseResult) -> CaseResult {
    process::in_process(
        role,
        |_| {},
        || {
            let lines = Lines::default();
            tracing::subscriber::set_global_default(Recorder(lines.clone()))?;
            body(&lines)
        },
    )
}

/// What was logged so far.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A tracing subscriber that remembers messages.
struct Recorder(Lines);

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let text = match field.name() {
                    "message" => format!("{value:?}"),
                    name => format!(" {name}={value:?}"),
                };
                self.0.push_str(&text);
            }
        }
        if *event.metadata().level() <= Level::INFO {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
