//! Cases of what names and labels may be: checked once, at the edge, by every operation (el_02, el_04, el_05).

use crate::{
    error::{Error, ErrorKind},
    event::{NewEvent, Position},
    event_log::EventLog,
    limits::Limits,
    query::{Query, QueryItem},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, everything, none, orders, refused, tagged, typed},
    },
};

/// Asserts that an error names the field and tells the limit.
fn names(error: &Error, field: &str, limit: &str) {
    let text = error.to_string();
    let ErrorKind::InvalidArgument { field: named, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(*named, field, "{text}");
    assert!(text.contains(limit), "{text}");
}

pub(in crate::testing) fn el_02_log_names(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let long = "x".repeat(128);
    for name in ["a", "A-z_0.9:b", "..", "-", &long] {
        let log = store.event_log(name)?;
        log.append("s", 0, [event("A")]).wait()?;
        assert_eq!(everything(&log)?.len(), 1, "{name}");
    }
    let mut expected = vec!["-", "..", "A-z_0.9:b", "a", &long];
    expected.sort_unstable();
    let listed = store.logs().wait()?;
    assert_eq!(listed.iter().map(|info| info.log.as_str()).collect::<Vec<_>>(), expected);

    let too_long = "x".repeat(129);
    for name in ["", " ", "a b", "a/b", "é", "a\0", "a'b", &too_long] {
        names(&store.event_log(name).expect_err(name), "log", "128");
    }
    Ok(())
}

/// Every operation that takes a stream, on this one.
fn with_stream(log: &EventLog, stream: &str) -> Vec<(&'static str, Result<(), Error>)> {
    vec![
        ("append", log.append(stream, 0, [event("A")]).wait().map(drop)),
        ("empty append", log.append(stream, 0, Vec::<NewEvent>::new()).wait().map(drop)),
        ("read", log.read(stream, ..).wait().map(drop)),
        ("head", log.head(stream).wait().map(drop)),
        ("compact", log.compact(stream, 0).wait().map(drop)),
        ("raise_mark", log.raise_mark(stream, 0).wait().map(drop)),
        ("bulk load", log.append_many([(stream.to_owned(), event("A"))]).wait().map(drop)),
    ]
}

pub(in crate::testing) fn el_02_stream_ids(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let long = "é".repeat(512);
    let good = ["a", " ", "a b/c?d=1", "'; DROP TABLE event; --", "%_*", "日本語", "😀", &long];
    for stream in good {
        log.append(stream, 0, [event("A")]).wait()?;
        let page = log.read(stream, ..).wait()?;
        assert_eq!(page.items.len(), 1, "{stream}");
        assert_eq!(page.items[0].stream.as_deref(), Some(stream));
    }
    assert_eq!(log.streams().wait()?.items.len(), good.len());
    Ok(())
}

pub(in crate::testing) fn el_04_bad_stream_ids_are_refused_everywhere(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let too_long = format!("{}x", "é".repeat(512));
    for stream in ["", "a\nb", "\0", "a\u{7f}", "\u{85}", &too_long] {
        for (operation, result) in with_stream(&log, stream) {
            names(&result.expect_err(operation), "stream", "1024");
        }
        let mut refused = log.subscribe_stream(stream);
        names(&refused.try_next().wait().expect_err("subscribe"), "stream", "1024");
        assert!(refused.try_next().wait()?.is_none(), "it ends after that");
    }
    assert_eq!(log.info().wait()?, None, "nothing was written");
    Ok(())
}

pub(in crate::testing) fn el_05_event_types(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let long = "é".repeat(255);
    for (n, good) in
        (0..).zip(["a", "order placed.v2", "日本", "'\"%_", "line\nbreak", "nul\0", "nul", &long])
    {
        log.append("s", n, [event(good)]).wait()?;
        assert_eq!(log.query(typed(good)).wait()?.items.len(), 1, "{good}");
    }
    let too_long = "é".repeat(256);
    for bad in ["", &too_long] {
        names(&log.append("s", 8, [event(bad)]).wait().expect_err(bad), "event type", "255");
        names(&log.query(typed(bad)).wait().expect_err(bad), "event type", "255");
    }
    Ok(())
}

pub(in crate::testing) fn el_05_tags(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let long = "é".repeat(255);
    let good = ["a", "A", " ", "customer:c1", "customer:", "日本", "'\"%_*", "a,b", &long];
    for (n, tag) in (0..).zip(good) {
        log.append("s", n, [event("A").tag(tag)]).wait()?;
    }
    for (n, tag) in (1..).zip(good) {
        let found = log.query(tagged(tag)).wait()?;
        assert_eq!(crate::testing::support::seq_nrs(&found), [n], "{tag}");
        assert_eq!(found.items[0].tags, [tag]);
    }
    let too_long = "é".repeat(256);
    for bad in ["", "a\nb", "\0", &too_long] {
        names(&log.append_if([event("A").tag(bad)], None).wait().expect_err(bad), "tag", "255");
        names(&log.query(tagged(bad)).wait().expect_err(bad), "tag", "255");
        let condition = none(tagged(bad), Position::START);
        names(&log.append_if([event("A")], condition).wait().expect_err(bad), "tag", "255");
    }
    Ok(())
}

pub(in crate::testing) fn el_05_sixty_four_tags(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let tags = |count| (0..count).map(|n| format!("tag-{n}")).collect::<Vec<_>>();
    log.append("s", 0, [event("A").tags(tags(64))]).wait()?;
    let all_of_them = QueryItem::new().tags(tags(64));
    assert_eq!(log.query(all_of_them.clone()).wait()?.items[0].tags, tags(64));
    assert!(log.query(all_of_them.tag("one-more")).wait()?.items.is_empty());
    let result = log.append("s", 1, [event("A").tags(tags(65))]).wait();
    refused!(result, ErrorKind::TooLarge { field: "tags", limit: 64, .. });
    Ok(())
}

pub(in crate::testing) fn el_05_payload_size(fixture: &dyn Fixture) -> CaseResult {
    const LIMIT: usize = 1 << 20;
    let store = fixture.store()?;
    let log = orders(&store)?;
    let json = |size| NewEvent::json("A", format!("\"{}\"", "x".repeat(size - 2)));
    log.append("s", 0, [json(LIMIT), NewEvent::bytes("A", vec![1; LIMIT])]).wait()?;
    for event in log.read("s", ..).wait()? {
        assert_eq!(event.payload.as_bytes().len(), LIMIT);
    }
    for bad in [json(LIMIT + 1), NewEvent::bytes("A", vec![1; LIMIT + 1])] {
        let result = log.append("s", 2, [bad]).wait();
        refused!(result, ErrorKind::TooLarge { field: "payload", limit: 1_048_576, actual: 1_048_577 });
    }
    assert_eq!(log.head("s").wait()?, 2);
    Ok(())
}

pub(in crate::testing) fn el_05_metadata_size(fixture: &dyn Fixture) -> CaseResult {
    const LIMIT: usize = 1 << 20;
    let store = fixture.store()?;
    let log = orders(&store)?;
    let metadata = |size: usize| format!("{{\"m\":\"{}\"}}", "x".repeat(size - 8));
    log.append("s", 0, [event("A").metadata_json(metadata(LIMIT))]).wait()?;
    assert_eq!(everything(&log)?[0].metadata.as_deref(), Some(metadata(LIMIT).as_str()));
    let result = log.append("s", 1, [event("A").metadata_json(metadata(LIMIT + 1))]).wait();
    refused!(result, ErrorKind::TooLarge { field: "metadata", .. });
    Ok(())
}

pub(in crate::testing) fn el_12_a_query_needs_types_or_tags(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let bad = [
        Query::from(QueryItem::new()),
        Query::from([QueryItem::new().tag("a"), QueryItem::new()]),
        Query::from(Vec::<QueryItem>::new()),
    ];
    for query in bad {
        names(&log.query(&query).wait().expect_err("query"), "query", "Query::all()");
        let condition = none(&query, Position::START);
        let result = log.append_if([event("A")], condition.clone()).wait();
        names(&result.expect_err("append_if"), "query", "Query::all()");
        let result = log.append("s", 0, [event("A")]).condition(condition.clone()).wait();
        names(&result.expect_err("append"), "query", "Query::all()");
        let mut batch = store.batch();
        batch.require_none_match(&log, condition);
        names(&batch.commit().wait().expect_err("guard"), "query", "Query::all()");
        names(&log.subscribe(&query).try_next().wait().expect_err("subscribe"), "query", "Query::all()");
    }
    assert_eq!(log.info().wait()?, None);
    Ok(())
}

pub(in crate::testing) fn el_05_limits_are_configurable(fixture: &dyn Fixture) -> CaseResult {
    let config = fixture.config().ok_or("a built-in backend has a configuration")?;
    let limits = Limits { payload_bytes: 10, append_events: 3, ..Limits::default() };
    let store = Store::open(config.limits(limits)).wait()?;
    let log = orders(&store)?;
    let json = |size: usize| NewEvent::json("A", "1".repeat(size));
    log.append("s", 0, [json(10), json(1), json(1)]).wait()?;
    let result = log.append("s", 3, [json(11)]).wait();
    refused!(result, ErrorKind::TooLarge { field: "payload", limit: 10, actual: 11 });
    let result = log.append("s", 3, [json(1), json(1), json(1), json(1)]).wait();
    refused!(result, ErrorKind::TooLarge { limit: 3, actual: 4, .. });
    let mut batch = store.batch();
    batch.add(log.append("s", 3, [json(1), json(1)]));
    batch.add(log.append("s", 5, [json(1), json(1)]));
    refused!(batch.commit().wait(), ErrorKind::TooLarge { limit: 3, actual: 4, .. });
    assert_eq!(log.head("s").wait()?, 3);
    Ok(())
}
