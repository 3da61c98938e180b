//! Cases of positions and queries: el_11, el_12.

use crate::{
    error::ErrorKind,
    event::{Event, NewEvent, Position},
    event_log::{EventLog, Expected},
    query::{Query, QueryItem},
    testing::{
        fixture::Fixture,
        support::{
            CaseResult, Numbers, event, everything, numbered, orders, positions, refused, tagged, typed,
            types,
        },
    },
};

pub(in crate::testing) fn el_11_positions_strictly_rise(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut last = Position::START;
    for n in 0..10 {
        let appended = match n % 3 {
            0 => log.append_if(numbered(2), None),
            _ => log.append(format!("s{}", n % 2), Expected::Any, numbered(n % 3)),
        };
        let appended = appended.wait()?;
        assert!(appended.first_position > last);
        assert!(last > Position::START || appended.first_position == Position::new(1), "they start at 1");
        last = appended.last_position;
    }
    let all = everything(&log)?;
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(log.info().wait()?.map(|info| info.head), Some(last));
    Ok(())
}

pub(in crate::testing) fn el_11_positions_belong_to_a_log(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    for name in ["a", "b", "c"] {
        let log = store.event_log(name)?;
        assert_eq!(log.append("s", 0, numbered(2)).wait()?.first_position, Position::new(1));
        log.append("t", 0, numbered(1)).wait()?;
        assert_eq!(everything(&log)?.len(), 3);
        assert!(everything(&log)?.iter().all(|event| &*event.log == name));
    }
    Ok(())
}

/// Hides the log's last events in every way there is, and gives the head.
fn hide_the_end(log: &EventLog) -> crate::Result<Position> {
    log.append("s", Expected::Any, numbered(3)).wait()?;
    let head = log.append("t", Expected::Any, numbered(3)).wait()?.last_position;
    log.compact("t", u64::MAX).wait()?;
    log.trim(head).wait()?;
    log.forget(head).wait()?;
    Ok(head)
}

pub(in crate::testing) fn el_11_positions_are_never_reused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let head = hide_the_end(&log)?;
    assert!(everything(&log)?.is_empty());
    let next = log.append("s", Expected::Any, numbered(1)).wait()?.last_position;
    assert!(next > head, "after hiding: {next}");
    log.drop_log().wait()?;
    let after_drop = log.append("s", Expected::Any, numbered(1)).wait()?.last_position;
    assert!(after_drop > next, "after dropping the log: {after_drop}");
    Ok(())
}

pub(in crate::testing) fn el_11_positions_are_not_reused_after_reopening(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let (log, dropped) = (orders(&store)?, store.event_log("dropped")?);
    let head = hide_the_end(&log)?;
    let dropped_head = dropped.append("s", 0, numbered(4)).wait()?.last_position;
    dropped.drop_log().wait()?;

    let store = fixture.reopen(store)?;
    let (log, dropped) = (orders(&store)?, store.event_log("dropped")?);
    assert!(log.append("s", Expected::Any, numbered(1)).wait()?.first_position > head);
    assert!(dropped.append("s", 0, numbered(1)).wait()?.first_position > dropped_head);
    Ok(())
}

/// A log of courses, in the words of the DCB specification.
fn courses(fixture: &dyn Fixture) -> crate::Result<EventLog> {
    let log = fixture.store()?.event_log("courses")?;
    let subscribed = |course: &str, student: &str| {
        event("StudentSubscribed").tags([format!("course:{course}"), format!("student:{student}")])
    };
    log.append_if([event("CourseDefined").tag("course:c1"), event("CourseDefined").tag("course:c2")], None)
        .wait()?;
    log.append("student-s1", 0, [subscribed("c1", "s1"), subscribed("c2", "s1")]).wait()?;
    log.append_if([subscribed("c1", "s2"), event("TermEnded")], None).wait()?;
    Ok(log)
}

pub(in crate::testing) fn el_12_types_are_any_of_tags_are_all_of(fixture: &dyn Fixture) -> CaseResult {
    let log = courses(fixture)?;
    let item = QueryItem::new;
    let found = |query: Query| log.query(query).wait().map(|page| positions(&page));
    assert_eq!(found(item().types(["CourseDefined"]).into())?, [1, 2]);
    assert_eq!(found(item().types(["CourseDefined", "TermEnded", "Unknown"]).into())?, [1, 2, 6]);
    assert_eq!(found(item().tag("course:c1").into())?, [1, 3, 5]);
    assert_eq!(found(item().tags(["course:c1", "student:s1"]).into())?, [3]);
    assert_eq!(found(item().types(["StudentSubscribed"]).tag("course:c1").into())?, [3, 5]);
    assert_eq!(found(item().types(["CourseDefined"]).tag("student:s1").into())?, [] as [u64; 0]);
    assert_eq!(found(item().tag("course:c3").into())?, [] as [u64; 0]);
    assert_eq!(found(item().tags(["course:c1", "course:c3"]).into())?, [] as [u64; 0]);
    assert_eq!(found(item().tags(["course:c1", "course:c2"]).into())?, [] as [u64; 0]);
    Ok(())
}

pub(in crate::testing) fn el_12_items_are_any_of(fixture: &dyn Fixture) -> CaseResult {
    let log = courses(fixture)?;
    let item = QueryItem::new;
    let query = Query::from([item().types(["CourseDefined"]).tag("course:c1"), item().tag("student:s1")]);
    assert_eq!(positions(&log.query(&query).wait()?), [1, 3, 4]);
    let overlapping =
        Query::from([item().tag("course:c1"), item().tag("student:s1"), typed_item("TermEnded")]);
    assert_eq!(positions(&log.query(&overlapping).wait()?), [1, 3, 4, 5, 6], "each once, in order");
    let backwards = log.query(&overlapping).descending().wait()?;
    assert_eq!(positions(&backwards), [6, 5, 4, 3, 1]);
    assert_eq!(positions(&log.query(Query::all()).wait()?), [1, 2, 3, 4, 5, 6]);
    Ok(())
}

fn typed_item(event_type: &str) -> QueryItem {
    QueryItem::new().types([event_type])
}

pub(in crate::testing) fn el_12_names_match_exactly(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let names = ["a", "A", "a ", "ab", "%", "_", "a%", "é", "e\u{301}"];
    for name in names {
        log.append_if([event(name).tag(name)], None).wait()?;
    }
    for name in names {
        assert_eq!(types(&log.query(typed(name)).wait()?), [name]);
        assert_eq!(types(&log.query(tagged(name)).wait()?), [name]);
    }
    Ok(())
}

pub(in crate::testing) fn el_12_after_is_exclusive(fixture: &dyn Fixture) -> CaseResult {
    let log = courses(fixture)?;
    let at = Position::new;
    let found = |after| log.query(tagged("course:c1")).after(at(after)).wait().map(|page| positions(&page));
    assert_eq!(found(0)?, [1, 3, 5]);
    assert_eq!(found(1)?, [3, 5]);
    assert_eq!(found(2)?, [3, 5]);
    assert_eq!(found(5)?, [] as [u64; 0]);
    assert_eq!(found(99)?, [] as [u64; 0]);
    let below = log.query(tagged("course:c1")).descending().after(at(5)).wait()?;
    assert_eq!(positions(&below), [3, 1], "backwards it is the upper end, exclusive too");
    Ok(())
}

pub(in crate::testing) fn el_12_numbers_beyond_any_log(fixture: &dyn Fixture) -> CaseResult {
    let log = courses(fixture)?;
    for beyond in [1 << 47, 1 << 48, 1 << 62, i64::MAX as u64, 1 << 63, u64::MAX] {
        let beyond = Position::new(beyond);
        assert!(log.query(Query::all()).after(beyond).wait()?.items.is_empty());
        assert_eq!(positions(&log.query(tagged("course:c1")).descending().after(beyond).wait()?), [5, 3, 1]);
        let condition = crate::testing::support::none(Query::all(), beyond);
        log.append("s", Expected::Any, [event("Late")]).condition(condition).wait()?;
        assert!(log.read("s", beyond.get()..).wait()?.items.is_empty());
        assert!(!log.read("s", ..=beyond.get()).wait()?.items.is_empty());
        log.forget(beyond).wait()?;
    }
    let head = log.info().wait()?.map_or(0, |info| info.head.get());
    assert_eq!(log.trim(Position::new(u64::MAX)).wait()?.through, Position::new(head));
    assert!(everything(&log)?.is_empty());
    Ok(())
}

pub(in crate::testing) fn el_12_a_query_of_many_items(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, (0..100).map(|n| event(&format!("T{n}")).tags([format!("t:{n}"), "all".into()])))
        .wait()?;
    let items =
        |count: usize| (0..count).map(|n| QueryItem::new().tag(format!("t:{}", n * 3))).collect::<Vec<_>>();
    let found = log.query(items(1_000)).wait()?;
    assert!(positions(&found).into_iter().eq((1..=100).step_by(3)), "{} found", found.items.len());
    refused!(log.query(items(1_001)).wait(), ErrorKind::TooLarge { field: "query items", limit: 1_000, .. });
    let many_types = QueryItem::new().types((0..500).map(|n| format!("T{}", n * 2))).tag("all");
    assert!(positions(&log.query(many_types).wait()?).into_iter().eq((1..=100).step_by(2)));
    let condition = crate::testing::support::none(items(1_000), Position::START);
    refused!(log.append_if([event("A")], condition).wait(), ErrorKind::ConditionFailed { .. });
    Ok(())
}

pub(in crate::testing) fn el_12_through_is_the_head_or_the_last_item(fixture: &dyn Fixture) -> CaseResult {
    let log = courses(fixture)?;
    let at = Position::new;
    let complete = log.query(tagged("course:c1")).wait()?;
    assert_eq!((complete.next, complete.through), (None, at(6)), "the head, not the last match");
    let nothing = log.query(tagged("course:c9")).wait()?;
    assert_eq!((nothing.next, nothing.through), (None, at(6)));
    let part = log.query(tagged("course:c1")).limit(2).wait()?;
    assert_eq!((part.next, part.through), (Some(at(3)), at(3)), "no further than it looked");
    let backwards = log.query(tagged("course:c1")).descending().wait()?;
    assert_eq!(backwards.through, Position::START, "none when descending");
    let part = log.query(tagged("course:c1")).descending().limit(1).wait()?;
    assert_eq!(part.through, Position::START);
    Ok(())
}

pub(in crate::testing) fn el_12_through_of_an_unknown_log_is_the_start(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let page = orders(&store)?.query(Query::all()).wait()?;
    assert_eq!((page.items, page.next, page.through), (vec![], None, Position::START));
    Ok(())
}

pub(in crate::testing) fn el_12_through_is_a_sound_after(fixture: &dyn Fixture) -> CaseResult {
    let log = courses(fixture)?;
    let query = tagged("course:c1");
    let guarded = |through| {
        let condition = crate::testing::support::none(&query, through);
        log.append_if([event("Decided").tag("other")], condition).wait()
    };
    let part = log.query(&query).limit(2).wait()?;
    refused!(guarded(part.through), ErrorKind::ConditionFailed { .. });
    let complete = log.query(&query).wait()?;
    guarded(complete.through)?;
    log.append_if([event("Unrelated").tag("course:c2")], None).wait()?;
    guarded(complete.through)?;
    log.append_if([event("Late").tag("course:c1")], None).wait()?;
    refused!(guarded(complete.through), ErrorKind::ConditionFailed { .. });
    Ok(())
}

pub(in crate::testing) fn el_12_through_counts_compacted_history(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let head = log.append("s", 0, numbered(3)).wait()?.last_position;
    log.compact("s", 3).wait()?;
    let page = log.query(Query::all()).wait()?;
    assert_eq!((page.items.len(), page.next, page.through), (0, None, head));
    Ok(())
}

pub(in crate::testing) fn el_12_pages_lose_and_repeat_nothing(fixture: &dyn Fixture) -> CaseResult {
    let log = courses(fixture)?;
    let query = Query::from([QueryItem::new().tag("course:c1"), QueryItem::new().tag("student:s1")]);
    for (limit, descending) in [(1, false), (2, false), (4, false), (3, true), (4, true)] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let read = log.query(&query).limit(limit).after(after);
            let page = if descending { read.descending() } else { read }.wait()?;
            found.extend(positions(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if descending {
            found.reverse();
        }
        assert_eq!(found, [1, 3, 4, 5], "by {limit}");
    }
    Ok(())
}

const TYPES: [&str; 4] = ["A", "B", "C", "D"];
const TAGS: [&str; 7] = ["t1", "t2", "t3", "t4", "rare", "always", "never"];

/// An event whose tags are everything from rare to always.
fn random_event(numbers: &mut Numbers) -> NewEvent {
    let mut tags = numbers.some_of(&TAGS[..4], 3);
    tags.extend((numbers.below(50) == 0).then_some("rare"));
    tags.push("always");
    event(numbers.one_of(&TYPES)).tags(tags)
}

fn random_query(numbers: &mut Numbers) -> Query {
    let item = |numbers: &mut Numbers| {
        let tags = numbers.some_of(&TAGS, 4);
        let types = numbers.some_of(&TYPES, 3);
        let nothing = tags.is_empty() && types.is_empty();
        let item = QueryItem::new().types(types).tags(tags);
        if nothing { item.tag(numbers.one_of(&TAGS)) } else { item }
    };
    let count = numbers.below(4);
    if count == 0 { Query::all() } else { (0..count).map(|_| item(numbers)).collect::<Vec<_>>().into() }
}

/// What a query must give, by the definition of matching.
fn expected<'a>(all: &'a [Event], query: &Query, after: u64, descending: bool) -> Vec<&'a Event> {
    let matches = |event: &&Event| query.matches(&event.event_type, &event.tags);
    let above = |event: &&Event| after == 0 || event.position.get() > after;
    let below = |event: &&Event| after == 0 || event.position.get() < after;
    if descending {
        all.iter().rev().filter(matches).filter(below).collect()
    } else {
        all.iter().filter(matches).filter(above).collect()
    }
}

pub(in crate::testing) fn el_12_random_queries_match_by_definition(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut numbers = Numbers(12);
    for _ in 0..30 {
        let events: Vec<_> = (0..10).map(|_| random_event(&mut numbers)).collect();
        log.append(format!("s{}", numbers.below(5)), Expected::Any, events).wait()?;
    }
    log.compact("s1", 20).wait()?;
    let all = everything(&log)?;
    for round in 0..200 {
        let query = random_query(&mut numbers);
        let (after, limit) = (numbers.below(320), 1 + numbers.below(40));
        let (limit, descending) = (usize::try_from(limit)?, numbers.below(2) == 0);
        let read = log.query(&query).after((after > 0).then(|| Position::new(after))).limit(limit);
        let page = if descending { read.descending() } else { read }.wait()?;
        let expected = expected(&all, &query, after, descending);
        let found: Vec<&Event> = page.items.iter().collect();
        assert_eq!(found, expected[..limit.min(expected.len())], "round {round}: {query:?}");
        assert!(page.next.is_some() || expected.len() <= limit, "round {round}: it says that is all");
    }
    Ok(())
}
