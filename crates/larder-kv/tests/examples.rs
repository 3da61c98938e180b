//! The example runs to its end, twice, and prints what it is about.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// `cargo test` builds the examples next to this test; a test target alone builds none.
fn executable(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let executable = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.rs"));
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    assert!(changed(&executable) >= changed(&source), "build it first: cargo build -p larder-kv --examples");
    executable
}

#[test]
fn persistent_store() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let output = Command::new(executable("persistent_store")).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let expected = "\
key          : settings/theme
value        : dark
wal path     : data/sdk-persistent-store.wal
store size   : 1
outbox size  : 1
first run value written
recovered value: Softadastra (1 records)
key not found: app/missing
missing: true
app/name = Softadastra
contains: false, empty: false
outbox : 2
sent   : 0
hello Ada
";
    assert_eq!(run(), expected);
    // Again, over the files that it left behind.
    assert!(run().contains("recovered value: Softadastra ("));
}
