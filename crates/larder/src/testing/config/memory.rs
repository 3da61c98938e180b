//! Cases of opening a store in memory: cf_01, cf_02, cf_04.

use std::process::Command;

use crate::{
    backend::Progress,
    config::{BackendConfig, Config},
    error::ErrorKind,
    store::Store,
    testing::{
        config::{backend_name, logged},
        fixture::{Fixture, ScratchDir},
        process::in_process,
        support::{CaseResult, everything, numbered, orders, refused},
    },
};

pub(in crate::testing) fn cf_01_memory_urls(_: &dyn Fixture) -> CaseResult {
    for url in ["memory:", "memory"] {
        assert_eq!(backend_name(&Store::open(url).wait()?)?, "memory");
        assert_eq!(url.parse::<Config>()?.backend, BackendConfig::Memory);
    }
    assert_eq!(backend_name(&Store::open("memory:".to_owned()).wait()?)?, "memory");
    assert_eq!(backend_name(&Store::open(Config::memory()).wait()?)?, "memory");
    assert_eq!(backend_name(&Store::memory())?, "memory");
    Ok(())
}

pub(in crate::testing) fn cf_01_each_store_in_memory_is_its_own(_: &dyn Fixture) -> CaseResult {
    let (a, b) = (Store::open("memory:").wait()?, Store::open("memory:").wait()?);
    orders(&a)?.append("s", 0, numbered(2)).wait()?;
    assert_eq!(everything(&orders(&b)?)?.len(), 0);
    let clone = a.clone();
    assert_eq!(everything(&orders(&clone)?)?.len(), 2, "a clone is the same store");
    Ok(())
}

pub(in crate::testing) fn cf_02_unset_or_empty_means_memory(_: &dyn Fixture) -> CaseResult {
    let values: [(Option<&str>, Option<&str>); 6] = [
        (None, None),
        (Some(""), None),
        (Some("memory"), None),
        (Some("memory:"), Some("mysql:x")),
        (Some(""), Some("mysql:x")), // set to nothing is set
        (None, Some("")),
    ];
    for (n, (first, second)) in values.into_iter().enumerate() {
        in_process(
            &format!("value {n}"),
            |command| {
                set(command, "LARDER_BACKEND", first);
                set(command, "REVENTLESS_LOCAL_BACKEND", second);
            },
            || {
                assert_eq!(backend_name(&Store::from_env().wait()?)?, "memory");
                Ok(())
            },
        )?;
    }
    Ok(())
}

fn set(command: &mut Command, name: &str, value: Option<&str>) {
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
}

pub(in crate::testing) fn cf_04_one_line_names_memory(_: &dyn Fixture) -> CaseResult {
    logged("memory", |lines| {
        let store = Store::open("memory:").wait()?;
        backend_name(&store)?;
        store.close().wait()?;
        assert_eq!(lines.all(), ["backend: memory"]);
        let store = Store::memory();
        backend_name(&store)?;
        assert_eq!(lines.all(), ["backend: memory"; 2]);
        Ok(())
    })
}

pub(in crate::testing) fn fm_03_memory_has_no_backup(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let dir = ScratchDir::new()?;
    let result = store.backup(dir.path().join("copy.db"), Progress::default()).wait();
    refused!(result, ErrorKind::Unsupported);
    assert!(dir.names()?.is_empty());
    Ok(())
}
