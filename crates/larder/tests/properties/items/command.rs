//! Random commands over a small world of items, so that they meet often.

use std::time::{Duration, SystemTime};

use larder::{
    Filter, Index, ItemKey, ItemQuery, KeyField, KeyValue, Number, QueryDbSpec, Sort, Ttl,
    backend::{ItemData, ItemSource, QueryDbOperation, SaveMode},
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index as Pick, select},
};

pub(super) const NAMES: [&str; 2] = ["Things", "things"];
pub(super) const PARTITIONS: [&str; 5] = ["p", "P", "pé", "p\u{ffee}", "p\u{10000}"];
const TEXTS: [&str; 9] = ["", "a", "ab", "b", "10", "9", "é", "\u{ffee}", "\u{10ffff}"];
/// Numbers as they are written; some are equal.
const NUMBERS: [&str; 14] = [
    "0",
    "-0.0",
    "1",
    "1.0",
    "1e0",
    "2",
    "10",
    "-1.5",
    "9007199254740992",
    "9007199254740993",
    "9007199254740992.0",
    "9223372036854775807",
    "-1e300",
    "0.30000000000000004",
];

/// Something to do, or to ask.
#[derive(Debug, Clone)]
pub(super) enum Command {
    Commit(Vec<QueryDbOperation>),
    /// Page by page, with this limit.
    Read {
        name: &'static str,
        source: ItemSource,
        descending: bool,
        limit: Option<usize>,
        max_bytes: Option<usize>,
    },
    Count {
        name: &'static str,
        query: ItemQuery,
    },
    Load {
        name: &'static str,
        partition: &'static str,
        sub: Option<KeyValue>,
    },
    /// From so far back.
    Changes {
        name: &'static str,
        back: u64,
        limit: Option<usize>,
        descending: bool,
    },
    Advance(Duration),
    Reopen,
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    let name = || select(&NAMES[..]);
    let limit = || option::of(1..6_usize);
    prop_oneof![
        8 => vec(operation(), 1..4).prop_map(Command::Commit),
        4 => (name(), source(), any::<bool>(), limit(), option::weighted(0.2, 1..200_usize)).prop_map(
            |(name, source, descending, limit, max_bytes)| Command::Read { name, source, descending, limit, max_bytes }
        ),
        1 => (name(), query()).prop_map(|(name, query)| Command::Count { name, query }),
        1 => (name(), select(&PARTITIONS[..]), option::of(key_value()))
            .prop_map(|(name, partition, sub)| Command::Load { name, partition, sub }),
        1 => (name(), 0..6_u64, limit(), any::<bool>())
            .prop_map(|(name, back, limit, descending)| Command::Changes { name, back, limit, descending }),
        1 => select(vec![1_u64, 900, 1_000, 5_000]).prop_map(|ms| Command::Advance(Duration::from_millis(ms))),
        1 => Just(Command::Reopen),
    ]
}

fn operation() -> impl Strategy<Value = QueryDbOperation> {
    let name = || select(&NAMES[..]).prop_map(std::sync::Arc::<str>::from);
    let partition = || select(&PARTITIONS[..]).prop_map(str::to_owned);
    prop_oneof![
        8 => (name(), item()).prop_map(|(query_db, item)| QueryDbOperation::Save { query_db, item }),
        3 => (name(), vec(item(), 0..5)).prop_map(|(query_db, items)| QueryDbOperation::SaveAll { query_db, items }),
        2 => (name(), vec(key(), 0..4)).prop_map(|(query_db, keys)| QueryDbOperation::Delete { query_db, keys }),
        1 => (name(), partition())
            .prop_map(|(query_db, partition)| QueryDbOperation::DeletePartition { query_db, partition }),
        3 => (name(), key(), select(vec!["n", "c", "o.c", "s", "until"]), select(&NUMBERS[..])).prop_map(
            |(query_db, key, field, by)| QueryDbOperation::Increment { query_db, key, field: field.into(), by: number(by) }
        ),
        1 => (name(), 0..4_u64).prop_map(|(query_db, limit)| QueryDbOperation::PurgeExpired { query_db, limit }),
        1 => (name(), key(), option::of(1..9_u64))
            .prop_map(|(query_db, key, version)| QueryDbOperation::RequireVersion { query_db, key, version }),
        3 => (name(), spec()).prop_map(|(query_db, spec)| QueryDbOperation::Define { query_db, spec }),
        1 => (name(), select(vec!["k", "kn", "ns", "oc"]))
            .prop_map(|(query_db, index)| QueryDbOperation::DropIndex { query_db, index: index.into() }),
        1 => name().prop_map(|query_db| QueryDbOperation::Drop { query_db }),
    ]
}

fn spec() -> impl Strategy<Value = QueryDbSpec> {
    let indexes = [
        Index::new("k", ["k"]).sort_by([KeyField::number("n")]),
        Index::new("kn", [KeyField::string("k"), KeyField::number("n")]).keys_only(),
        Index::new("ns", [KeyField::number("n")]).sort_by(["s", "k"]).include(["o"]),
        Index::new("oc", [KeyField::number("o.c")]),
    ];
    let sub_id = prop_oneof![
        3 => Just(Some(KeyField::string("s"))),
        2 => Just(None),
        1 => Just(Some(KeyField::number("n"))),
    ];
    (sub_id, any::<[bool; 4]>(), option::weighted(0.2, Just("until")), option::of(any::<bool>())).prop_map(
        move |(sub_id, which, ttl, changes)| {
            let mut spec = QueryDbSpec::new();
            spec.changes = changes;
            if let Some(field) = sub_id {
                spec = spec.sub_id_field(field);
            }
            if let Some(field) = ttl {
                spec = spec.ttl_field(field);
            }
            let chosen = indexes.iter().zip(which).filter(|(_, chosen)| *chosen);
            chosen.fold(spec, |spec, (index, _)| spec.index(index.clone()))
        },
    )
}

/// JSON text of an item. Some lack fields, or have others than their definition wants.
fn json() -> impl Strategy<Value = String> {
    let quoted =
        |texts: &'static [&'static str]| select(texts).prop_map(|text| serde_json::json!(text).to_string());
    let odd = || select(vec!["null", "true", "[]", "{}"]).prop_map(str::to_owned);
    let field = |name: &'static str, value: BoxedStrategy<String>| {
        let value = prop_oneof![15 => value, 1 => odd()];
        option::weighted(0.9, value).prop_map(move |value| value.map(|value| format!("\"{name}\":{value}")))
    };
    let number = || select(&NUMBERS[..]).prop_map(str::to_owned).boxed();
    let times = select(vec!["1774000001", "1774000003.5", "0", "1774009999"]).prop_map(str::to_owned).boxed();
    (
        field("s", quoted(&TEXTS).boxed()),
        field("n", number()),
        field("k", quoted(&["x", "y"]).boxed()),
        option::of(number()).prop_map(|c| c.map(|c| format!("\"o\":{{ \"c\":{c} }}"))),
        option::weighted(0.2, times).prop_map(|until| until.map(|until| format!("\"until\": {until}"))),
        0..30_u8,
    )
        .prop_map(|(s, n, k, o, until, twist)| match twist {
            0 => "[1]".to_owned(),
            1 => r#"{"s":"a","s":"b"}"#.to_owned(),
            _ => format!("{{{}}}", [n, s, o, k, until].into_iter().flatten().collect::<Vec<_>>().join(", ")),
        })
}

fn item() -> impl Strategy<Value = ItemData> {
    let mode = prop_oneof![
        6 => Just(SaveMode::Overwrite),
        1 => Just(SaveMode::Init),
        1 => Just(SaveMode::Update),
        1 => option::of(1..9_u64).prop_map(SaveMode::IfVersion),
    ];
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    let ttl = prop_oneof![
        6 => Just(None),
        2 => select(vec![1_u64, 1_000, 3_000]).prop_map(|ms| Some(Ttl::After(Duration::from_millis(ms)))),
        1 => Just(Some(Ttl::At(past))),
    ];
    (select(&PARTITIONS[..]), json(), ttl, mode).prop_map(|(partition, json, ttl, mode)| ItemData {
        partition: partition.into(),
        json,
        ttl,
        mode,
    })
}

fn key() -> impl Strategy<Value = ItemKey> {
    let sub = prop_oneof![3 => key_value(), 2 => Just(KeyValue::none())];
    (select(&PARTITIONS[..]), sub).prop_map(|(partition, sub)| ItemKey::new(partition, sub))
}

fn key_value() -> impl Strategy<Value = KeyValue> {
    prop_oneof![
        select(&TEXTS[..]).prop_map(KeyValue::from),
        select(&NUMBERS[..]).prop_map(|text| number(text).into()),
    ]
}

fn number(text: &str) -> Number {
    serde_json::from_str(text).expect("it is a number")
}

fn source() -> impl Strategy<Value = ItemSource> {
    prop_oneof![1 => Just(ItemSource::Scan), 4 => query().prop_map(ItemSource::Query)]
}

fn query() -> impl Strategy<Value = ItemQuery> {
    let k = || select(vec!["x", "y"]).prop_map(KeyValue::from);
    let n = || select(&NUMBERS[..]).prop_map(|text| KeyValue::from(number(text)));
    let s = || select(&TEXTS[..]).prop_map(KeyValue::from);
    let query = prop_oneof![
        (select(&PARTITIONS[..]), option::of(sort(s().boxed())))
            .prop_map(|(partition, condition)| sorted(ItemQuery::key(partition), condition)),
        (k(), option::of(sort(n().boxed())))
            .prop_map(|(k, condition)| sorted(ItemQuery::index("k", [k]), condition)),
        (k(), n()).prop_map(|(k, n)| ItemQuery::index("kn", [k, n])),
        (n(), option::of(sort(s().boxed())))
            .prop_map(|(n, condition)| sorted(ItemQuery::index("ns", [n]), condition)),
        (n(), s(), option::of(sort(k().boxed())))
            .prop_map(|(n, s, condition)| sorted(ItemQuery::index("ns", [n]).sort_prefix([s]), condition)),
        n().prop_map(|n| ItemQuery::index("oc", [n])),
        // Of a wrong type, or with a wrong number of values.
        vec(key_value(), 0..3).prop_map(|values| ItemQuery::index("k", values)),
        key_value().prop_map(|value| ItemQuery::key("p").sort(Sort::Ge(value))),
    ];
    (query, option::weighted(0.4, filter())).prop_map(|(query, filter)| match filter {
        Some(filter) => query.filter(filter),
        None => query,
    })
}

fn sorted(query: ItemQuery, sort: Option<Sort>) -> ItemQuery {
    match sort {
        Some(sort) => query.sort(sort),
        None => query,
    }
}

fn sort(value: BoxedStrategy<KeyValue>) -> impl Strategy<Value = Sort> {
    (value.clone(), value, any::<Pick>()).prop_map(|(low, high, pick)| {
        let prefix = match &low {
            KeyValue::String(text) => text.clone(),
            KeyValue::Number(_) => "1".into(),
        };
        let all = [
            Sort::Eq(low.clone()),
            Sort::Lt(low.clone()),
            Sort::Le(low.clone()),
            Sort::Gt(low.clone()),
            Sort::Ge(low.clone()),
            Sort::Between(low, high),
            Sort::BeginsWith(prefix),
        ];
        pick.get(&all).clone()
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    select(vec![
        "n >= 1",
        "n = 9007199254740993",
        r#"k = "x""#,
        r#"k <> "x" or n < 0"#,
        "not o exists",
        "o.c between 0 and 2 and s exists",
        r#"s begins_with "a" or s contains "1""#,
        "s in (\"\", \"é\", 10)",
        "n in (1, 2) and not k not exists",
        "false",
    ])
    .prop_map(|text| text.parse().expect("it is a filter"))
}
