//! What of an item a query over an index returns.

use std::collections::BTreeMap;

use super::{
    index::{IndexProjection, QueryDbSpec},
    path::FieldPath,
    raw_object::RawObject,
};
use crate::error::Result;

/// The fields to keep of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(BTreeMap<String, Kept>);

impl Kept {
    /// What the index keeps; `None` for everything.
    pub(crate) fn of_index(spec: &QueryDbSpec, index: usize) -> Result<Option<Self>> {
        let index = &spec.indexes[index];
        let mut kept = Self::default();
        for field in index.fields().chain(&spec.sub_id_field) {
            kept.add(field.path.parse::<FieldPath>()?.names());
        }
        match &index.projection {
            IndexProjection::All => return Ok(None),
            IndexProjection::KeysOnly => {}
            IndexProjection::Include(fields) => {
                fields.iter().for_each(|field| kept.add(std::slice::from_ref(field)));
            }
        }
        Ok(Some(kept))
    }

    /// Keeps a field; one without kept fields of its own is kept as a whole.
    fn add(&mut self, names: &[String]) {
        let Some((first, rest)) = names.split_first() else { return self.0.clear() };
        match self.0.get_mut(first) {
            Some(whole) if whole.0.is_empty() => {}
            Some(part) => part.add(rest),
            None => self.0.entry(first.clone()).or_default().add(rest),
        }
    }

    /// The item with these fields only, in the order and the form in which it has them.
    pub(crate) fn apply(&self, json: &str) -> Result<String> {
        let Some(object) = RawObject::parse(json)? else { return Ok(json.to_owned()) };
        let mut out = String::from("{");
        for (name, value) in &object.0 {
            let Some(kept) = self.0.get(name.as_ref()) else { continue };
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&serde_json::Value::from(name.as_ref()).to_string());
            out.push(':');
            if kept.0.is_empty() {
                out.push_str(value);
            } else {
                out.push_str(&kept.apply(value)?);
            }
        }
        out.push('}');
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query_db::Index;

    #[test]
    fn keys_only_keeps_sub_id_and_index_fields() {
        let index = Index::new("i", ["a.b", "a.c"]).sort_by(["d"]);
        let json = r#"{"x":1,"d":"D","a":{"c":"C","z":0,"b":"B"},"id":"1"}"#;
        let kept = |index: Index| {
            let spec = QueryDbSpec::new().sub_id_field("id").index(index);
            Kept::of_index(&spec, 0).unwrap().map(|kept| kept.apply(json).unwrap())
        };
        assert_eq!(kept(index.clone()), None);
        let keys = r#"{"d":"D","a":{"c":"C","b":"B"},"id":"1"}"#;
        assert_eq!(kept(index.clone().keys_only()).unwrap(), keys);
        assert_eq!(kept(index.clone().include(["x"])).unwrap(), format!("{{\"x\":1,{}", &keys[1..]));
        assert_eq!(kept(index.include(["a"])).unwrap(), r#"{"d":"D","a":{"c":"C","z":0,"b":"B"},"id":"1"}"#);
    }
}
