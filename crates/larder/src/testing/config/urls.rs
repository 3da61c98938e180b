//! Cases of backend URLs and the environment, on whichever built-in backend: cf_01, cf_02, cf_04.

use crate::{
    config::Config,
    error::{Error, ErrorKind},
    store::Store,
    testing::{
        config::logged,
        fixture::Fixture,
        process::in_process,
        support::{CaseResult, refused},
    },
};

/// URLs of no store.
const UNRECOGNISED: [&str; 18] = [
    "mysql:x",
    "Memory",
    "memory:x",
    "memory?reset",
    "mem",
    "sqlite",
    "sqlite:",
    "sqlite:?reset",
    "./file.db",
    "sqlite:x.db?nope",
    "sqlite:x.db?reset=true",
    "sqlite:x.db?durability",
    "sqlite:x.db?durability=sometimes",
    "sqlite:x.db?busy_timeout=soon",
    "sqlite:x.db?busy_timeout=-1",
    "sqlite:x.db?mode=rw",
    "sqlite:x.db?mode=ro&reset",
    "sqlite:x.db?reset&RESET",
];

/// Asserts that an error lists what is recognised.
fn lists_the_forms(error: &Error) {
    let text = error.to_string();
    for form in ["memory", "sqlite:<path>", "sqlite:<path>?reset", "durability", "busy_timeout", "mode=ro"] {
        assert!(text.contains(form), "`{form}` is missing in: {text}");
    }
}

pub(in crate::testing) fn cf_01_an_unknown_url_lists_the_known_ones(_: &dyn Fixture) -> CaseResult {
    for url in UNRECOGNISED.into_iter().chain([""]) {
        let error =
            refused!(Store::open(url).wait(), ErrorKind::InvalidArgument { field: "backend URL", .. });
        lists_the_forms(&error);
        refused!(Store::lazy(url), ErrorKind::InvalidArgument { field: "backend URL", .. });
        assert!(!std::path::Path::new("x.db").exists(), "{url} did something");
    }
    Ok(())
}

pub(in crate::testing) fn cf_02_an_unknown_value_never_means_memory(_: &dyn Fixture) -> CaseResult {
    for (n, url) in UNRECOGNISED.into_iter().enumerate() {
        // One in each variable in turn: a process for each URL would be slow for little.
        let variable = ["LARDER_BACKEND", "REVENTLESS_LOCAL_BACKEND"][n % 2];
        if n % 5 != 0 {
            continue;
        }
        in_process(
            &format!("unknown {n}"),
            |command| {
                command
                    .env_remove("LARDER_BACKEND")
                    .env_remove("REVENTLESS_LOCAL_BACKEND")
                    .env(variable, url);
            },
            || {
                let error = refused!(Store::from_env().wait(), ErrorKind::InvalidArgument { .. });
                lists_the_forms(&error);
                assert!(error.to_string().contains(variable), "{error}");
                refused!(Config::from_env(), ErrorKind::InvalidArgument { .. });
                Ok(())
            },
        )?;
    }
    Ok(())
}

pub(in crate::testing) fn cf_04_a_password_is_never_shown(_: &dyn Fixture) -> CaseResult {
    logged("password", |lines| {
        let urls = [
            "postgres://user:hunter2@host/db",
            "postgres://user:hunter2@host/db?x=@y",
            "postgres://user:hun:ter2@host",
            "postgres://user:pass@hunter2@host/db",
            "postgres:user:hunter2@host/db",
            "postgres://host/db?user=u&password=hunter2",
            "user:hunter2@host",
            "sqlite:x.db?password=hunter2",
        ];
        for url in urls {
            let error = refused!(Store::open(url).wait(), ErrorKind::InvalidArgument { .. });
            let shown = format!("{error} {error:?} {:?}", error.hint());
            assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{url}: {shown}");
        }
        assert!(!lines.all().iter().any(|line| line.contains("hunter2")), "{lines:?}");
        Ok(())
    })
}
