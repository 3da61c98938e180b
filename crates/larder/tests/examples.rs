//! Every example runs to its end and prints what it is about.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs an example in a folder of its own, where its `./data` goes, and returns what it printed.
///
/// `cargo test` builds the examples next to this test.
fn run(name: &str) -> String {
    let executable = executable(name);
    let folder = env::temp_dir().join(format!("larder-example-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let output = Command::new(&executable).current_dir(&folder).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Fails if the example has not been built since its source changed: a test target alone builds none.
fn executable(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let executable = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let fresh = changed(&executable) >= changed(&sources().join(format!("{name}.rs")));
    assert!(executable.exists() && fresh, "build it first: cargo build -p larder --examples --all-features");
    executable
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The lines are printed in this order, other lines between them.
fn assert_prints(name: &str, expected: &[&str]) {
    let printed = run(name);
    let mut lines = printed.lines();
    for line in expected {
        assert!(lines.any(|printed| printed == *line), "{name} does not print `{line}` there:\n{printed}");
    }
}

#[test]
fn stream() {
    assert_prints(
        "stream",
        &[
            "order-2 is at 2, position 3",
            "order-3 is at 4",
            "1. placed by customer-1: 4200 cents",
            "2. Shipped",
            "last: Some(\"Shipped\")",
            "customer: customer-1",
            "position 5: line-added.v2",
            "order-2 changed while you looked: you saw 1, it is at 2:",
            "  2 Shipped",
            "10 more orders shipped",
            "order-2 is at 2",
        ],
    );
}

#[test]
fn batch() {
    assert_prints(
        "batch",
        &[
            "order-1 placed at 2, customer version 1, 1 orders",
            "order-2 exists",
            "order-3 placed at 3, customer version 3, 2 orders",
            "checkpoint: 3",
            "customers: 2",
            "mail to \"ada@example.org\" for confirm/order-1.json (attempt 1)",
        ],
    );
}

#[test]
fn course() {
    assert_prints(
        "course",
        &[
            "c1 has 2 seats",
            "defined again: condition failed: matching events at 1 (CourseDefined)",
            "2 have a seat; the other hears: the course is full",
            "c2: there is no such course",
        ],
    );
}

#[test]
fn course_decider() {
    let lines = ["2 have a seat, 8 hear that the course is full", "c2: there is no such course"];
    assert_prints("course_decider", &lines);
}

#[test]
fn orders() {
    assert_prints(
        "orders",
        &[
            "order-2: the order is paid already",
            "3 open",
            "  order-5 2026-03-05 5000",
            "  order-4 2026-03-04 4000",
            "  order-3 2026-03-03 3000",
            "dearest of ada: order-5",
            "order-6: gone",
            "mail: Dear ada, we have your order-1.",
            "mail: Dear bob, we have your order-6.",
        ],
    );
}

#[test]
fn subscribe_tokio() {
    assert_prints(
        "subscribe_tokio",
        &[
            "followed [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
            "order-1: [\"Placed\", \"Paid\"]",
            "12 events through 12, nothing since: true",
            "customer c1 at [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
            "the feed ended with the store, at or before 12: true",
        ],
    );
}

#[test]
fn subscribe_blocking() {
    assert_prints(
        "subscribe_blocking",
        &[
            "1 Placed {\"total\":1}",
            "first: Some(\"Placed\")",
            "and then nothing new",
            "paid at 2, placed at 3",
            "now: Paid",
            "the reader ends: the store was closed",
        ],
    );
}

#[test]
fn every_example_has_a_test() {
    let names =
        fs::read_dir(sources()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let examples: BTreeSet<String> = names.map(|name| name.trim_end_matches(".rs").to_owned()).collect();
    let tested =
        ["batch", "course", "course_decider", "orders", "stream", "subscribe_blocking", "subscribe_tokio"]
            .map(String::from);
    assert_eq!(examples, BTreeSet::from(tested));
}
