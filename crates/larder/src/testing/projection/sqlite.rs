//! What only files and processes show: pr_03.

use super::*;
use crate::testing::process;

/// The runner's own instance of the store never hears of the request: it has to look at the file.
pub(in crate::testing) fn pr_03_another_process_may_ask_for_a_rebuild(fixture: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("asker") {
        let store = Store::open(crate::Config::sqlite(path)).wait()?;
        store.projection("counts")?.request_rebuild().wait()?;
        store.close().wait()?;
        process::done();
    }
    let (store, log, counts, projection) = parts(fixture)?;
    let config = fixture.config().ok_or("a fixture with a file")?;
    let crate::BackendConfig::Sqlite(sqlite) = &config.backend else { return Err("a file".into()) };
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    let running = spawn(&owner, &log, Counts::new(&counts));
    waited(&owner, Position::new(3))?;
    // Whatever else it wakes for is over.
    thread::sleep(3 * sqlite.poll_interval);
    let before = item_version(&counts)?;
    process::start("asker", &sqlite.path)?.finish()?;
    let rebuilt = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(20));
        item_version(&counts).is_ok_and(|version| version > before)
    });
    assert!(rebuilt, "the runner did not notice");
    ended(&store, running)
}

fn item_version(counts: &QueryDb) -> Result<u64> {
    Ok(counts.load_one("all").wait()?.map_or(0, |item| item.version))
}
