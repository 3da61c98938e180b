//! Every statement that a worker, a put or a listing waits for reads an index, in its order.

use super::{
    super::plan::{searches, tables},
    DEAD, DEAD_DOWN, DUE, FIRST_OF, NEXT_DUE, OBJECT, OBJECT_BYTES, OBJECTS_AFTER, OBJECTS_BEFORE,
    OBJECTS_DOWN, OBJECTS_UP, TRIGGER, TRIGGERS,
};

#[test]
fn objects_are_found_by_their_key() {
    let (tables, index) = (tables(), "INDEX sqlite_autoindex_task_object_1");
    for sql in [OBJECT, OBJECT_BYTES] {
        searches(&tables, sql, index, "bucket=? AND key=?");
    }
}

#[test]
fn objects_of_a_prefix_are_listed_by_their_key() {
    let (tables, index) = (tables(), "INDEX sqlite_autoindex_task_object_1");
    for sql in [OBJECTS_UP, OBJECTS_AFTER, OBJECTS_DOWN, OBJECTS_BEFORE] {
        searches(&tables, sql, index, "bucket=? AND key>? AND key<?");
    }
}

#[test]
fn due_triggers_are_found_by_their_time() {
    let (tables, index) = (tables(), "INDEX task_trigger_due");
    searches(&tables, DUE, index, "bucket=? AND due_at<?");
    searches(&tables, NEXT_DUE, index, "bucket=?");
}

#[test]
fn the_first_trigger_is_found_by_its_key() {
    searches(&tables(), FIRST_OF, "INDEX task_trigger_key", "bucket=? AND key=?");
}

#[test]
fn triggers_are_found_by_their_number() {
    searches(&tables(), TRIGGER, "PRIMARY KEY", "bucket=? AND trigger=?");
    searches(&tables(), TRIGGERS, "PRIMARY KEY", "bucket=? AND trigger>?");
}

#[test]
fn dead_letters_are_listed_by_their_number() {
    let (tables, index) = (tables(), "INDEX task_trigger_dead");
    searches(&tables, DEAD, index, "bucket=? AND trigger>?");
    searches(&tables, DEAD_DOWN, index, "bucket=? AND trigger<?");
}

/// The assertion can fail: on a whole table, on another index, and on a sort.
#[test]
fn a_bad_plan_is_seen() {
    let bad = [
        "SELECT * FROM task_trigger WHERE error = ?1",
        "SELECT * FROM task_trigger WHERE bucket = ?1 AND due_at <= ?2 ORDER BY due_at",
        "SELECT * FROM task_trigger WHERE bucket = ?1 AND state = 1 AND due_at <= ?2 ORDER BY key",
    ];
    for sql in bad {
        let checked = || searches(&tables(), sql, "INDEX task_trigger_due", "bucket=? AND due_at<?");
        assert!(std::panic::catch_unwind(checked).is_err(), "{sql}");
    }
}
