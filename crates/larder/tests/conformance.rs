//! The conformance suite on the backends of this crate: one named test for each case and backend.

use std::{env, io::Write as _, thread, time::Duration};

use larder::testing::{Group, Inventory};

mod memory {
    larder::conformance!(larder::testing::MemoryFixture::default(), [all, builtin, memory]);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    larder::conformance!(larder::testing::SqliteFixture::new(), [all, durable, builtin, sqlite]);
}

/// The rules of the contract for every backend.
const ALL: [&str; 56] = [
    "cf_01", "cf_02", "cf_04", "cf_05", "cf_06", "el_01", "el_02", "el_03", "el_04", "el_05", "el_06",
    "el_07", "el_08", "el_09", "el_10", "el_11", "el_12", "el_13", "el_14", "el_15", "el_16", "el_17",
    "el_19", "el_20", "el_21", "el_22", "fl_01", "fl_02", "fl_03", "fm_03", "qd_01", "qd_02", "qd_03",
    "qd_04", "qd_05", "qd_06", "qd_07", "qd_08", "qd_09", "qd_10", "qd_11", "qd_12", "qd_13", "qd_14",
    "qd_15", "sn_01", "sn_02", "sn_03", "sn_04", "sn_05", "sn_06", "sn_07", "sn_08", "wb_01", "wb_02",
    "wb_03",
];
/// Those for files.
const FILE: [&str; 3] = ["cf_03", "cf_07", "el_18"];

/// Says how many cases ran on each backend, and that none is missing.
///
/// It sorts last, and waits for the tests that still run beside it.
#[test]
fn zz_inventory() {
    let memory: &[Group] = &[Group::All, Group::Builtin, Group::Memory];
    let sqlite: &[Group] = &[Group::All, Group::Durable, Group::Builtin, Group::Sqlite];
    let mut backends = vec![("memory", memory)];
    if cfg!(feature = "sqlite") {
        backends.push(("sqlite", sqlite));
    }
    let inventory = Inventory::new(backends);
    // With a filter, or a process for each test, the others will not come.
    let filtered = env::args().skip(1).any(|argument| !argument.starts_with('-'));
    let all_in_this_process = !filtered && env::var_os("NEXTEST").is_none();
    for _ in 0..600 {
        if !all_in_this_process || inventory.is_complete() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    // Not by `println!`, which a passing test keeps to itself.
    writeln!(std::io::stderr(), "{inventory}").expect("there is a standard error");

    assert_eq!(inventory.missing("memory", ALL), Vec::<String>::new());
    if cfg!(feature = "sqlite") {
        assert_eq!(inventory.missing("sqlite", ALL.into_iter().chain(FILE)), Vec::<String>::new());
    }
    assert!(!all_in_this_process || inventory.is_complete(), "not every case ran: {inventory}");
}
