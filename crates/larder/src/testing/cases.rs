//! What is made of the lists of cases: a registry here, tests by [`conformance!`].

use std::fmt;

use super::{
    batch,
    config::{closing, memory, urls},
    decider,
    event_log::{
        append, bulk, compaction, concurrency, condition, in_flight, memory_use, names, payload, query, read,
        retry, subscription, trim,
    },
    failures,
    fixture::Fixture,
    history, projection,
    projection::rebuild as projection_rebuild,
    query_db::{
        batch as query_db_batch, changes as query_db_changes, define as query_db_define,
        index as query_db_index, item as query_db_item, paging as query_db_paging, query as query_db_query,
        save as query_db_save, ttl as query_db_ttl,
    },
    snapshot::{codec as snapshot_codec, recovery as snapshot_recovery, saving as snapshot_saving},
    support::CaseResult,
    task_bucket::{leases as task_leases, objects as task_objects, work as task_work},
    transfer,
};
#[cfg(feature = "sqlite")]
use super::{
    config::{backup, in_use, sqlite as config_sqlite},
    event_log::sqlite as event_log_sqlite,
    failures::sqlite as failures_sqlite,
    projection::sqlite as projection_sqlite,
    snapshot::sqlite as snapshot_sqlite,
    task_bucket::sqlite as task_sqlite,
};

/// Which backends a case is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// Every backend.
    All,
    /// Those that keep what was written when the store is closed and opened again.
    Durable,
    /// Those of this crate, opened by URL.
    Builtin,
    /// The in-memory backend.
    Memory,
    /// The SQLite backend.
    Sqlite,
}

/// One named behaviour that a backend must show.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    group: Group,
    run: fn(&dyn Fixture) -> CaseResult,
}

impl Case {
    /// The case of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        CASES.iter().copied().flatten().find(|case| case.name == name)
    }

    /// Its name, which begins with the rule that it checks.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The rule that it checks, as in `el_07`.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.name.get(..5).unwrap_or(self.name)
    }

    /// The group it belongs to.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// Runs it on a fresh fixture.
    ///
    /// # Errors
    /// What stopped the case; it has failed.
    ///
    /// # Panics
    /// If the case fails.
    pub fn run(&self, fixture: &dyn Fixture) -> CaseResult {
        (self.run)(fixture)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({})", self.name)
    }
}

/// The cases of these groups.
pub fn cases(groups: &[Group]) -> impl Iterator<Item = &'static Case> {
    CASES.iter().copied().flatten().filter(move |case| groups.contains(&case.group))
}

/// Makes a `#[test]` of every case of some groups: see [`larder::testing`](crate::testing).
///
/// The expression makes a fresh [`Fixture`](crate::testing::Fixture).
#[macro_export]
macro_rules! conformance {
    ($fixture:expr, [$($group:ident),+ $(,)?]) => {
        $($crate::__conformance_cases! { $group, __conformance_tests ($fixture) })+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($fixture:expr) $($module:ident { $($case:ident),* $(,)? })*) => {$($(
        #[test]
        fn $case() {
            $crate::testing::run(stringify!($case), module_path!(), || ::std::boxed::Box::new($fixture));
        }
    )*)*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_registry {
    (($group:ident) $($module:ident { $($case:ident),* $(,)? })*) => {
        &[$($(
            Case { name: stringify!($case), group: Group::$group, run: $module::$case },
        )*)*]
    };
}

const CASES: &[&[Case]] = &[
    crate::__conformance_cases! { all, __conformance_registry (All) },
    crate::__conformance_cases! { durable, __conformance_registry (Durable) },
    crate::__conformance_cases! { builtin, __conformance_registry (Builtin) },
    crate::__conformance_cases! { memory, __conformance_registry (Memory) },
    #[cfg(feature = "sqlite")]
    crate::__conformance_cases! { sqlite, __conformance_registry (Sqlite) },
];
