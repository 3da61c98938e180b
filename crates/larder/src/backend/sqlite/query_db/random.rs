//! Random definitions, items, operations and queries, over few names, so that they meet often.

use std::{sync::Arc, time::Duration};

use crate::{
    Index, ItemQuery, KeyField, QueryDbSpec, Sort, Ttl,
    backend::{ItemData, ItemSource, QueryDbOperation, SaveMode},
    field,
    query_db::{ItemKey, KeyValue, Number},
};

pub(super) const NAMES: [&str; 3] = ["Orders", "orders", "or.ders"];

/// Numbers from a seed.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(super) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let place = usize::try_from(self.below(choices.len() as u64)).expect("it is small");
        choices[place].clone()
    }

    pub(super) fn name(&mut self) -> Arc<str> {
        self.one_of(&NAMES).into()
    }

    pub(super) fn partition(&mut self) -> String {
        self.one_of(&["p", "q", "p\u{e9}", "\u{10ffff}", "p0"]).into()
    }

    pub(super) fn text(&mut self) -> String {
        self.one_of(&["", "a", "ab", "b", "\u{e9}", "\u{10ffff}", "1"]).into()
    }

    pub(super) fn number(&mut self) -> Number {
        match self.below(6) {
            0 => 1.5.into(),
            1 => 1e300.into(),
            2 => i64::MAX.into(),
            3 => 9_223_372_036_854_775_808.0.into(),
            n => i64::try_from(n).expect("it is small").into(),
        }
    }

    pub(super) fn sub(&mut self) -> KeyValue {
        match self.below(4) {
            0 => self.number().into(),
            1 => KeyValue::none(),
            _ => self.text().into(),
        }
    }

    pub(super) fn key(&mut self) -> ItemKey {
        ItemKey { partition: self.partition(), sub: self.sub() }
    }

    pub(super) fn json(&mut self) -> String {
        let mut fields = Vec::new();
        if self.below(4) > 0 {
            let id =
                if self.below(3) == 0 { self.number().to_string() } else { format!("{:?}", self.text()) };
            fields.push(format!("\"id\":{id}"));
        }
        for name in ["a", "s"] {
            match self.below(8) {
                0 => {}
                1 => fields.push(format!("\"{name}\":null")),
                2 => fields.push(format!("\"{name}\":7")),
                _ => fields.push(format!("\"{name}\":{}", serde_json::Value::from(self.text()))),
            }
        }
        if self.below(4) > 0 {
            fields.push(format!("\"n\":{}", self.number()));
        }
        if self.below(5) == 0 {
            fields.push(format!("\"until\":{}", 1_000_000_000 + self.below(40)));
        }
        format!("{{{}}}", fields.join(","))
    }

    pub(super) fn spec(&mut self) -> QueryDbSpec {
        let mut spec = QueryDbSpec::new();
        if self.below(3) > 0 {
            spec = spec.changes(self.below(2) == 0);
        }
        match self.below(4) {
            0 => spec = spec.sub_id_field("id"),
            1 => spec = spec.sub_id_field(KeyField::number("id")),
            _ => {}
        }
        if self.below(6) == 0 {
            spec = spec.ttl_field("until");
        }
        if self.below(2) == 0 {
            spec =
                spec.index(Index::new("by_a", ["a"]).sort_by([KeyField::string("s"), KeyField::number("n")]));
        }
        if self.below(2) == 0 {
            spec = spec.index(Index::new("by_n", [KeyField::number("n")]).keys_only());
        }
        if self.below(3) == 0 {
            spec = spec.index(Index::new("by_a_s", ["a", "s"]).include(["n"]));
        }
        spec
    }

    pub(super) fn item(&mut self) -> ItemData {
        let mode = match self.below(8) {
            0 => SaveMode::Init,
            1 => SaveMode::Update,
            2 => SaveMode::IfVersion(None),
            3 => SaveMode::IfVersion(Some(self.below(40))),
            _ => SaveMode::Overwrite,
        };
        let ttl = (self.below(5) == 0).then(|| Ttl::After(Duration::from_secs(self.below(20))));
        ItemData { partition: self.partition(), json: self.json(), ttl, mode }
    }

    pub(super) fn operation(&mut self) -> QueryDbOperation {
        let query_db = self.name();
        match self.below(30) {
            0..=2 => QueryDbOperation::Define { query_db, spec: self.spec() },
            3 => QueryDbOperation::Drop { query_db },
            4 => {
                QueryDbOperation::DropIndex { query_db, index: self.one_of(&["by_a", "by_n", "none"]).into() }
            }
            5..=6 => {
                let keys = (0..self.below(3)).map(|_| self.key()).collect();
                QueryDbOperation::Delete { query_db, keys }
            }
            7 => QueryDbOperation::DeletePartition { query_db, partition: self.partition() },
            8..=10 => {
                let field = self.one_of(&["n", "n", "a.b", "id"]).into();
                QueryDbOperation::Increment { query_db, key: self.key(), field, by: self.number() }
            }
            11 => QueryDbOperation::PurgeExpired { query_db, limit: self.below(5) },
            12 => {
                let version = (self.below(2) == 0).then(|| self.below(40));
                QueryDbOperation::RequireVersion { query_db, key: self.key(), version }
            }
            13..=15 => {
                let items = (0..self.below(4)).map(|_| self.item()).collect();
                QueryDbOperation::SaveAll { query_db, items }
            }
            _ => QueryDbOperation::Save { query_db, item: self.item() },
        }
    }

    pub(super) fn source(&mut self) -> ItemSource {
        let value = |random: &mut Self| -> KeyValue {
            if random.below(2) == 0 { random.text().into() } else { random.number().into() }
        };
        let mut query = match self.below(6) {
            0 => return ItemSource::Scan,
            1 => ItemQuery::key(self.partition()),
            2 => ItemQuery::index("by_n", [self.number()]),
            3 => ItemQuery::index("by_a_s", [self.text(), self.text()]),
            4 => ItemQuery::index("by_a", [self.text()]).sort_prefix([self.text()]),
            _ => ItemQuery::index("by_a", [self.text()]),
        };
        query = match self.below(8) {
            0 => query.sort(Sort::Eq(value(self))),
            1 => query.sort(Sort::Lt(value(self))),
            2 => query.sort(Sort::Ge(value(self))),
            3 => query.sort(Sort::Gt(value(self))),
            4 => query.sort(Sort::Between(value(self), value(self))),
            5 => query.sort(Sort::begins_with(self.text())),
            _ => query,
        };
        if self.below(4) == 0 {
            query = query.filter(field("n").ge(2));
        }
        ItemSource::Query(query)
    }
}
