//! Every read of a snapshot finds it by its place, in one step.

use super::{
    super::plan::{searches, tables},
    ASCENDING, DELETE, DESCENDING, EXACTLY, FIND, TOO_MANY,
};

const INDEX: &str = "INDEX sqlite_autoindex_snapshot_1";

#[test]
fn snapshots_are_found_by_their_place() {
    let tables = tables();
    searches(&tables, FIND, INDEX, "log=? AND kind=? AND subject=? AND at<?");
    searches(&tables, EXACTLY, INDEX, "log=? AND kind=? AND subject=? AND at=?");
    searches(&tables, DELETE, INDEX, "log=? AND kind=? AND subject=? AND at<?");
    searches(&tables, TOO_MANY, INDEX, "log=? AND kind=? AND subject=?");
}

#[test]
fn snapshots_are_listed_in_the_order_of_their_places() {
    let tables = tables();
    searches(&tables, ASCENDING, INDEX, "(log,kind,subject,at)>(?,?,?,?)");
    searches(&tables, DESCENDING, INDEX, "(log,kind,subject,at)<(?,?,?,?)");
}
