//! The store against a plain ordered map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::sync::hlc::Hlc;

fn stamp(seq: u64) -> Stamp {
    Stamp { hlc: Hlc::new(seq, 0), author: Author::OWNER, seq }
}

fn all(store: &Store, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (page, last) = store.page(range, usize::MAX, usize::MAX);
    assert_eq!(last, None);
    page.into_iter().map(|entry| (entry.key.into_bytes(), entry.value.into_bytes())).collect()
}

type Model = BTreeMap<Vec<u8>, (Option<Vec<u8>>, u64)>;

fn check(store: &Store, model: &Model) {
    let visible: Vec<_> =
        model.iter().filter_map(|(key, (value, _))| Some((key.clone(), value.clone()?))).collect();
    assert_eq!(all(store, (Bound::Unbounded, Bound::Unbounded)), visible);
    assert_eq!((store.visible(), store.tombstones()), (visible.len(), model.len() - visible.len()));
    let bytes = |(key, (value, _)): (&Vec<u8>, &(Option<Vec<u8>>, u64))| {
        key.len() + value.as_ref().map_or(0, Vec::len)
    };
    assert_eq!(store.data_bytes(), model.iter().map(bytes).sum::<usize>() as u64);
    for (key, (value, _)) in model {
        assert_eq!(store.get(key).map(Value::into_bytes), *value);
        assert_eq!(store.contains(key), value.is_some());
    }
    let mut pending: Vec<_> = model.iter().map(|(key, (_, seq))| (*seq, key.clone())).collect();
    pending.sort();
    let outbox = store.outbox.iter().map(|(seq, place)| (seq, key_at(&store.arena, place).to_vec()));
    assert_eq!(outbox.collect::<Vec<_>>(), pending);
}

/// Keys that share much, share nothing, and are prefixes of each other.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..400_u32).prop_map(|n| format!("users/{n:06}/settings").into_bytes()),
        proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff)], 1..8),
        proptest::collection::vec(any::<u8>(), 1..3),
    ]
}

fn values() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        4 => (0..300_usize, any::<u8>()).prop_map(|(length, with)| Some(vec![with; length])),
        1 => (2_000..9_000_usize, any::<u8>()).prop_map(|(length, with)| Some(vec![with; length])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn it_is_an_ordered_map(
        writes in proptest::collection::vec((keys(), values()), 1..1_500),
        ready_after in 0..1_500_usize,
        bounds in proptest::collection::vec((keys(), keys()), 8),
    ) {
        let (mut store, mut model) = (Store::loading("n"), Model::new());
        for (n, (key, value)) in writes.into_iter().enumerate() {
            if n == ready_after {
                store.make_ready();
            }
            let seq = n as u64 + 1;
            store.apply(&key, value.as_deref(), stamp(seq));
            model.insert(key, (value, seq));
        }
        if store.by_key.is_none() {
            store.make_ready();
        }
        check(&store, &model);
        for (from, to) in &bounds {
            for range in [
                (Bound::Included(&from[..]), Bound::Excluded(&to[..])),
                (Bound::Excluded(&from[..]), Bound::Included(&to[..])),
            ] {
                let expected: Vec<_> = model
                    .iter()
                    .filter(|(key, _)| range.contains(&key[..]))
                    .filter_map(|(key, (value, _))| Some((key.clone(), value.clone()?)))
                    .collect();
                prop_assert_eq!(all(&store, range), expected);
            }
        }
    }
}

#[test]
fn many_keys_in_every_order() {
    let orders: [fn(u64) -> u64; 3] = [|n| n, |n| 49_999 - n, |n| n * 7_919 % 50_000];
    for order in orders {
        let (mut store, mut model) = (Store::new("n"), Model::new());
        for n in 0..50_000 {
            let key = format!("key-{:05}", order(n)).into_bytes();
            store.apply(&key, Some(b"v"), stamp(n + 1));
            model.insert(key, (Some(b"v".to_vec()), n + 1));
        }
        check(&store, &model);
    }
}

#[test]
fn values_that_change_their_size_move_without_a_trace() {
    let (mut store, mut model, mut seq) = (Store::new("n"), Model::new(), 0);
    for round in 0..12_usize {
        for n in 0..5_000_usize {
            seq += 1;
            let key = format!("key-{n:05}").into_bytes();
            let value = vec![u8::try_from(round).unwrap(); (n * 37 + round * 101) % 1_500];
            store.apply(&key, Some(&value), stamp(seq));
            model.insert(key, (Some(value), seq));
        }
    }
    check(&store, &model);
}

#[test]
fn the_later_write_stays_whatever_comes_after_it() {
    let mut store = Store::new("node-b");
    let author = |author, key| Record {
        kind: RecordKind::Author,
        author,
        hlc: Hlc::default(),
        seq: 7,
        key,
        value: b"",
    };
    store.replay(&author(1, b"node-a"), 0).unwrap();
    assert!(store.replay(&author(1, b"node-c"), 0).is_err(), "a number is given once");
    let put = |author, millis, seq, value| Record {
        kind: RecordKind::Put,
        author,
        hlc: Hlc::new(millis, 0),
        seq,
        key: b"k",
        value,
    };
    store.replay(&put(0, 5, 1, b"own"), 0).unwrap();
    store.replay(&put(1, 5, 1, b"smaller id"), 0).unwrap();
    assert_eq!(store.get(b"k").unwrap(), "own");
    store.replay(&put(1, 6, 2, b"later"), 0).unwrap();
    store.replay(&put(0, 5, 2, b"earlier"), 0).unwrap();
    assert_eq!(store.get(b"k").unwrap(), "later");
    assert_eq!(store.pending(), 0, "another node's write is not for the outbox");
    assert!(store.replay(&put(2, 9, 1, b"x"), 0).is_err(), "an author that was not introduced");

    let mut records = Vec::new();
    store.encode_vector(&mut records);
    store.encode_after(None, usize::MAX, &mut records);
    let mut copy = Store::new("node-b");
    for record in crate::wal::record::decode(&records, 0) {
        copy.replay(&record.unwrap(), 0).unwrap();
    }
    assert_eq!(copy.vector(), store.vector());
    assert_eq!(copy.get(b"k").unwrap(), "later");
}
