//! Runs a case, and counts what ran on which backend.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    cases::{Case, Group, cases},
    fixture::Fixture,
    process,
};

static RAN: Mutex<BTreeMap<String, Counts>> = Mutex::new(BTreeMap::new());

/// How many cases ran on a backend in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
}

/// Runs the named case on a fresh fixture: what a `#[test]` that [`conformance!`](crate::conformance) makes does.
///
/// `module` is the test's module path.
///
/// # Panics
/// If the case fails, or does not exist.
pub fn run(name: &str, module: &str, fixture: impl FnOnce() -> Box<dyn Fixture>) {
    let case = Case::named(name).unwrap_or_else(|| panic!("there is no case `{name}`"));
    let test = module.split_once("::").map_or(name.to_owned(), |(_, inner)| format!("{inner}::{name}"));
    process::enter(&test);
    let fixture = fixture();
    let outcome = catch_unwind(AssertUnwindSafe(|| case.run(&*fixture)));
    {
        let mut ran = ran();
        let counts = ran.entry(fixture.name().to_owned()).or_default();
        if matches!(outcome, Ok(Ok(()))) { counts.passed += 1 } else { counts.failed += 1 }
    }
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{test}: {error:?}"),
        Err(panic) => resume_unwind(panic),
    }
}

fn ran() -> MutexGuard<'static, BTreeMap<String, Counts>> {
    RAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which cases each backend has, and how many of them ran so far in this process.
///
/// ```
/// use larder::testing::{Group, Inventory};
///
/// let inventory = Inventory::new([("mine", &[Group::All][..])]);
/// assert_eq!(inventory.missing("mine", ["el_07"]), Vec::<String>::new());
/// ```
#[derive(Debug)]
pub struct Inventory {
    backends: Vec<(String, Vec<&'static Case>)>,
}

impl Inventory {
    /// The inventory of these backends, each with the groups that it runs.
    pub fn new<'a>(backends: impl IntoIterator<Item = (&'a str, &'a [Group])>) -> Self {
        let backend = |(name, groups): (&str, &[Group])| (name.to_owned(), cases(groups).collect());
        Self { backends: backends.into_iter().map(backend).collect() }
    }

    /// The rules that have no case on that backend, of those given as `el_07`.
    pub fn missing<'a>(&self, backend: &str, rules: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let cases = self.backends.iter().find(|(name, _)| name == backend);
        let has = |rule: &str| cases.is_some_and(|(_, cases)| cases.iter().any(|case| case.rule() == rule));
        rules.into_iter().filter(|rule| !has(rule)).map(str::to_owned).collect()
    }

    /// Whether every case of every backend has run.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let ran = ran();
        self.backends.iter().all(|(name, cases)| {
            ran.get(name).is_some_and(|counts| counts.passed + counts.failed >= cases.len())
        })
    }
}

/// One line: `conformance: memory 120 of 120 cases passed, sqlite …`.
impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ran = ran();
        f.write_str("conformance:")?;
        for (n, (name, cases)) in self.backends.iter().enumerate() {
            let Counts { passed, failed } = ran.get(name).copied().unwrap_or_default();
            write!(f, "{} {name} {passed} of {} cases passed", if n == 0 { "" } else { "," }, cases.len())?;
            if failed > 0 {
                write!(f, ", {failed} failed")?;
            }
        }
        Ok(())
    }
}
