//! Pages, cursors and scans: qd_12, qd_13.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::json;

use super::{all_keys, defined, keys, page_keys, things};
use crate::{
    error::{BoxError, ErrorKind},
    operation::Read,
    query_db::{Cursor, Index, Item, ItemQuery, KeyField, QueryDb, QueryDbSpec, Sort, field},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, Numbers, backend, in_parallel, refused},
        watched::Watched,
    },
};

/// The text of a key for each number, of Unicode and of different lengths.
fn name(n: u32) -> String {
    let marks = ["", "é", "\u{ffee}", "\u{10000}", "'\"%"];
    format!("{}{n:05}", marks[n as usize % marks.len()])
}

/// Everything that pages of so many bring, each read by a cursor that went over a wire.
fn paged(read: impl Fn() -> Read<Item>, limit: usize) -> Result<Vec<Item>, BoxError> {
    let (mut items, mut after) = (Vec::new(), None::<Cursor>);
    loop {
        let page = read().limit(limit).after(after).wait()?;
        assert!(page.items.len() <= limit, "over its limit");
        items.extend(page.items);
        match page.next {
            None => return Ok(items),
            Some(next) => after = Some(next.to_string().parse()?),
        }
    }
}

/// Every listing there is, in both directions.
type Listing = fn(&QueryDb) -> Read<Item>;

/// A listing with its name.
type Named<'a> = (&'static str, Box<dyn Fn() -> Read<Item> + 'a>);

const LISTINGS: [(&str, Listing); 8] = [
    ("scan", |things| things.scan()),
    ("scan, descending", |things| things.scan().descending()),
    ("partition", |things| things.query(ItemQuery::key("p"))),
    ("partition, descending", |things| things.query(ItemQuery::key("p")).descending()),
    ("index", |things| things.query(ItemQuery::index("by", ["x"]))),
    ("index, descending", |things| things.query(ItemQuery::index("by", ["x"])).descending()),
    ("range", |things| things.query(ItemQuery::index("by", ["x"]).sort(Sort::between(1, 3)))),
    ("filter, descending", |things| {
        things.query(ItemQuery::index("by", ["x"]).filter(field("n").ne(2))).descending()
    }),
];

/// Items with many ties in the index: `n` goes from 0 to 4, as a whole number or as a float.
fn with_ties(things: &QueryDb, count: u32) -> crate::Result<()> {
    let items = (0..count).map(|i| {
        let n = if i % 2 == 0 { json!(i % 5) } else { json!(f64::from(i % 5)) };
        (if i % 3 == 0 { "q".to_owned() } else { "p".to_owned() }, json!({ "s": name(i), "k": "x", "n": n }))
    });
    things.save_batch(items).wait().map(drop)
}

fn spec() -> QueryDbSpec {
    QueryDbSpec::new().sub_id_field("s").index(Index::new("by", ["k"]).sort_by([KeyField::number("n")]))
}

pub(in crate::testing) fn qd_12_pages_lose_and_repeat_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, spec())?;
    with_ties(&things, 60)?;
    for (listing, read) in LISTINGS {
        let whole = read(&things).wait()?;
        assert_eq!(whole.next, None, "{listing}");
        assert!(whole.items.len() > 20, "{listing}");
        for limit in [1, 2, 7, 59] {
            assert_eq!(keys(&paged(|| read(&things), limit)?), page_keys(&whole), "{listing} by {limit}");
        }
        let exact = read(&things).limit(whole.items.len()).wait()?;
        assert_eq!(exact.next, None, "{listing}: a page that holds everything is the last");
        let each: crate::Result<Vec<Item>> = read(&things).limit(7).each().wait_iter().collect();
        assert_eq!(each?, whole.items, "{listing}");
    }
    Ok(())
}

pub(in crate::testing) fn qd_12_a_cursor_outlives_its_item(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, spec())?;
    for (listing, read) in LISTINGS {
        with_ties(&things, 40)?;
        let whole = page_keys(&read(&things).wait()?);
        let page = read(&things).limit(5).wait()?;
        let next = page.next.clone();
        // The last item, the one before it and the one after it go.
        let gone: Vec<String> = whole[3..6].to_vec();
        for item in read(&things).wait()?.items {
            if gone.contains(&item.key.to_string()) {
                things.delete_one(&item.key).wait()?;
            }
        }
        assert_eq!(page_keys(&read(&things).after(next).wait()?), whole[6..], "{listing}");
    }
    Ok(())
}

pub(in crate::testing) fn qd_12_a_cursor_of_another_query_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, spec().index(Index::new("other", ["k"])))?;
    with_ties(&things, 40)?;
    let other = store.define("Other", spec()).wait()?;
    with_ties(&other, 40)?;
    let index = || ItemQuery::index("by", ["x"]);
    let reads: Vec<Named<'_>> = vec![
        ("scan", Box::new(|| things.scan())),
        ("backwards", Box::new(|| things.scan().descending())),
        ("elsewhere", Box::new(|| other.scan())),
        ("partition", Box::new(|| things.query(ItemQuery::key("p")))),
        ("another", Box::new(|| things.query(ItemQuery::key("q")))),
        ("sub", Box::new(|| things.query(ItemQuery::key("p").sort(Sort::ge(""))))),
        ("index", Box::new(|| things.query(index()))),
        ("index, backwards", Box::new(|| things.query(index()).descending())),
        ("other index", Box::new(|| things.query(ItemQuery::index("other", ["x"])))),
        ("value", Box::new(|| things.query(ItemQuery::index("by", ["y"])))),
        ("sort", Box::new(|| things.query(index().sort(Sort::ge(0))))),
        ("bound", Box::new(|| things.query(index().sort(Sort::ge(1))))),
        ("prefix", Box::new(|| things.query(index().sort_prefix([1])))),
        ("filter", Box::new(|| things.query(index().filter(field("n").ge(0))))),
        ("value of the filter", Box::new(|| things.query(index().filter(field("n").ge(1))))),
    ];
    for (mine, read) in &reads {
        let Some(next) = read().limit(1).wait()?.next else { continue };
        read().limit(9).after(next.clone()).wait()?;
        for (theirs, other) in reads.iter().filter(|(theirs, _)| theirs != mine) {
            let result = other().after(next.clone()).wait();
            let Err(error) = result else { panic!("a cursor of `{mine}` goes on in `{theirs}`") };
            assert!(matches!(error.kind(), ErrorKind::InvalidArgument { field: "cursor", .. }), "{error:?}");
        }
    }
    for text in ["", "b64cursor", "AAAA", "e30", "😀"] {
        refused!(text.parse::<Cursor>(), ErrorKind::InvalidArgument { field: "cursor", .. });
    }
    Ok(())
}

pub(in crate::testing) fn qd_12_a_page_is_bounded_in_bytes(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let text = "x".repeat(1 << 19);
    for n in 0..20 {
        things.save(format!("{n:02}"), &json!({ "text": text })).wait()?;
    }
    let backend = backend(&store)?;
    let (limit, max_bytes) = (Some(1_000), Some(1 << 21));
    let request = crate::backend::ItemsRead {
        query_db: "Things".into(),
        source: crate::backend::ItemSource::Scan,
        after: None,
        limit,
        max_bytes,
        descending: false,
    };
    let page = crate::operation::wait(backend.read_items(request))?;
    assert_eq!((page.items.len(), page.next.is_some()), (4, true), "it ends where 2 MiB are reached");
    assert_eq!(all_keys(&things)?.len(), 20);
    Ok(())
}

pub(in crate::testing) fn qd_13_a_scan_is_everything_in_key_order(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field(KeyField::number("n")))?;
    let mut expected = BTreeSet::new();
    let mut random = Numbers(13);
    for _ in 0..200 {
        let (partition, n) = (name(u32::try_from(random.below(20))?), i64::try_from(random.below(40))? - 20);
        things.save(&partition, &json!({ "n": n })).wait()?;
        expected.insert((partition, n));
    }
    let expected: Vec<String> =
        expected.into_iter().map(|(partition, n)| format!("{partition}/{n}")).collect();
    assert_eq!(all_keys(&things)?, expected);
    let mut backwards = page_keys(&things.scan().descending().wait()?);
    backwards.reverse();
    assert_eq!(backwards, expected);
    assert_eq!(store.query_db("None")?.scan().wait()?.items, []);
    Ok(())
}

/// How many items a long listing has that nobody touches.
const UNTOUCHED: u32 = 100_000;

/// A long listing, in each order, while others add and remove: every untouched item comes, and comes once.
pub(in crate::testing) fn qd_12_a_long_listing_while_others_write(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new().index(Index::new("by", ["k"]).sort_by([KeyField::number("n")]));
    let things = defined(&store, spec)?;
    let item = |i: u32| json!({ "k": "x", "n": i / 7 % 1_000 });
    for thousand in 0..UNTOUCHED / 1_000 {
        let items = (thousand * 1_000..(thousand + 1) * 1_000).map(|i| (format!("{i:06}"), item(i)));
        things.save_batch(items).wait()?;
    }
    let (done, listed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let query = ItemQuery::index("by", ["x"]);
    let orders: [&(dyn Fn() -> Read<Item> + Sync); 4] =
        [&|| things.scan(), &|| things.scan().descending(), &|| things.query(&query), &|| {
            things.query(&query).descending()
        }];
    let answers = in_parallel(2 + orders.len(), |thread| {
        let Some(read) = thread.checked_sub(2).map(|order| orders[order]) else {
            return write_until(&things, thread, &done, &item);
        };
        // The last one, or one that failed, ends the writers.
        let listing = catch_unwind(AssertUnwindSafe(|| list_once(read)));
        let listing = listing.unwrap_or_else(|_| Err("a listing is not what it should be".into()));
        let listed = listed.fetch_add(1, Ordering::SeqCst) + 1;
        if listed == orders.len() || listing.is_err() {
            done.store(true, Ordering::SeqCst);
        }
        listing.map(|()| 0)
    })?;
    assert!(answers[..2].iter().all(|written| *written > 10), "the others did write: {answers:?}");
    Ok(())
}

/// Adds and removes items between the others, until it is told to stop; answers how often.
fn write_until(
    things: &QueryDb,
    thread: usize,
    done: &AtomicBool,
    item: &(dyn Fn(u32) -> serde_json::Value + Sync),
) -> Result<u32, BoxError> {
    let mut random = Numbers(thread as u64);
    let mut written = 0;
    while !done.load(Ordering::SeqCst) {
        let places: Vec<u32> =
            (0..20).map(|_| u32::try_from(random.below(u64::from(UNTOUCHED)))).collect::<Result<_, _>>()?;
        let key = |place: &u32| format!("{place:06}+{thread}");
        if written % 2 == 0 {
            things.save_batch(places.iter().map(|place| (key(place), item(*place)))).wait()?;
        } else {
            things.delete_batch(places.iter().map(key)).wait()?;
        }
        written += 1;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(written)
}

/// Goes through a listing by pages of 50.
fn list_once(read: &dyn Fn() -> Read<Item>) -> Result<(), BoxError> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for item in paged(read, 50)? {
        let key = item.key.partition;
        if !key.contains('+') {
            *seen.entry(key).or_default() += 1;
        }
    }
    let repeated: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).take(5).collect();
    assert!(repeated.is_empty(), "{repeated:?} came more than once");
    assert_eq!(seen.len(), UNTOUCHED as usize, "some were lost");
    Ok(())
}

pub(in crate::testing) fn qd_12_a_cursor_survives_new_definitions(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, spec())?;
    with_ties(&things, 20)?;
    let query = ItemQuery::index("by", ["x"]);
    let whole = page_keys(&things.query(&query).wait()?);
    let next = things.query(&query).limit(9).wait()?.next;
    let goes_on = || things.query(&query).after(next.clone()).wait();
    defined(&store, spec().index(Index::new("other", ["k"])))?;
    assert_eq!(page_keys(&goes_on()?), whole[9..]);

    things.drop_index("by").wait()?;
    refused!(goes_on(), ErrorKind::InvalidArgument { field: "index", .. });
    defined(&store, spec())?;
    assert_eq!(page_keys(&goes_on()?), whole[9..], "the index is what it was");
    // An index of another order, by the same name: going on there would lose items, or repeat them.
    let n = || KeyField::number("n");
    for other in [
        Index::new("by", ["k"]).sort_by([n(), KeyField::string("s")]),
        Index::new("by", ["k"]).sort_by([KeyField::number("m")]),
        Index::new("by", ["k"]).sort_by(["s"]),
        Index::new("by", ["k"]),
        Index::new("by", ["j"]).sort_by([n()]),
    ] {
        things.drop_index("by").wait()?;
        defined(&store, QueryDbSpec::new().sub_id_field("s").index(other))?;
        refused!(goes_on(), ErrorKind::InvalidArgument { field: "cursor", .. });
    }
    let partition = ItemQuery::key("p");
    let page = things.query(&partition).limit(2).wait()?;
    things.drop_index("by").wait()?;
    things.query(&partition).after(page.next).wait()?;
    Ok(())
}

pub(in crate::testing) fn qd_13_iteration_holds_one_page(fixture: &dyn Fixture) -> CaseResult {
    const PAGE_ITEMS: usize = 1_000;
    const PAGE_BYTES: usize = 8 << 20;
    let watched = Watched::new(backend(&fixture.store()?)?);
    let things = defined(&Store::with_backend(watched.clone()), spec())?;
    with_ties(&things, 3_500)?;
    for read in [things.scan(), things.scan().descending(), things.query(ItemQuery::index("by", ["x"]))] {
        watched.item_reads().clear();
        let mut each = read.each();
        each.try_next().wait()?;
        assert_eq!(watched.item_reads().len(), 1, "nothing is read ahead");
        let mut items = 1;
        while each.try_next().wait()?.is_some() {
            items += 1;
        }
        let reads = watched.item_reads();
        assert_eq!((items, reads.len()), (3_500, 4));
        for read in reads.iter() {
            assert!(read.limit.is_some_and(|limit| limit <= PAGE_ITEMS), "{read:?}");
            assert!(read.max_bytes.is_some_and(|bytes| bytes <= PAGE_BYTES), "{read:?}");
        }
    }
    Ok(())
}
