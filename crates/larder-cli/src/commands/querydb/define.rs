//! `larder querydb define`

use larder::{Index, KeyField, QueryDbSpec};

use super::shown::{index, info_json};
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, clean},
};

const HELP: &str = "\
An index is NAME=KEY,KEY/SORT,SORT: its key fields, which a query gives values for, and after `/` the fields that \
order items of equal key. A field is a path as in `address.city`, and of strings unless `:number` follows. With \
` keys-only` or ` include A,B` after that, queries over it return its own fields only, or also those. An index that \
begins with `{` is JSON. For example `--index 'by_status=region,status/total:number'`.";

/// Defines a QueryDb, or adds indexes to one
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Define {
    /// The QueryDb
    name: String,
    /// The field whose value is an item's sub key; `:number` after it for numbers
    #[arg(long, value_name = "FIELD")]
    sub_id: Option<String>,
    /// An index; may be repeated
    #[arg(long = "index", value_name = "INDEX")]
    indexes: Vec<String>,
    /// The field with the time at which an item expires, in epoch seconds
    #[arg(long, value_name = "FIELD")]
    ttl_field: Option<String>,
    /// Keeps changes, so that a feed of them can be resumed
    #[arg(long, conflicts_with = "no_changes")]
    changes: bool,
    /// No longer keeps changes, and removes those that were kept
    #[arg(long)]
    no_changes: bool,
}

impl Define {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut spec = QueryDbSpec::new();
        if self.changes || self.no_changes {
            spec = spec.changes(self.changes);
        }
        if let Some(sub_id) = &self.sub_id {
            spec = spec.sub_id_field(parse_field(sub_id));
        }
        for index in &self.indexes {
            spec = spec.index(parse_index(index)?);
        }
        if let Some(field) = self.ttl_field {
            spec = spec.ttl_field(field);
        }
        let store = context.open_or_create()?;
        let query_db = store.define(&self.name, spec).wait()?;
        let info = query_db.info().wait()?;
        store.close().wait()?;
        let Some(info) = info else { return Ok(ExitCode::Success) };
        context.ui.result(&info_json(&info), |ui| {
            ui.line(format!("{} QueryDb {}", ui.paint(Part::Good, "defined"), clean(&self.name)))?;
            info.spec.indexes.iter().try_for_each(|known| ui.line(format!("  {}", clean(&index(known)))))
        })?;
        Ok(ExitCode::Success)
    }
}

/// `path`, `path:number` or `path:string`.
fn parse_field(text: &str) -> KeyField {
    match text.rsplit_once(':') {
        Some((path, "number")) => KeyField::number(path),
        Some((path, "string")) => KeyField::string(path),
        _ => KeyField::string(text),
    }
}

fn parse_index(text: &str) -> Result<Index, Failure> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|error| Failure::invalid(format!("not an index: {error}")).with("index", text));
    }
    let refused = |reason: &str| {
        let failure = Failure::invalid(format!("not an index: {reason}")).with("index", text);
        failure.hint("for example `by_status=region,status/total:number keys-only`")
    };
    let (name, fields) = text.split_once('=').ok_or_else(|| refused("`NAME=` is missing"))?;
    let (fields, projection) = fields.split_once(' ').unwrap_or((fields, ""));
    let (key, sort) = fields.split_once('/').unwrap_or((fields, ""));
    let list = |text: &str| -> Vec<KeyField> {
        text.split(',').filter(|field| !field.is_empty()).map(parse_field).collect()
    };
    let index = Index::new(name, list(key)).sort_by(list(sort));
    match projection.trim().split_once(' ').unwrap_or((projection.trim(), "")) {
        ("", _) => Ok(index),
        ("keys-only", "") => Ok(index.keys_only()),
        ("include", fields) if !fields.trim().is_empty() => Ok(index.include(fields.trim().split(','))),
        _ => Err(refused("after the fields there may be `keys-only` or `include A,B`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_as_it_is_shown() {
        let by = Index::new("by", ["a.b", "c"]).sort_by([KeyField::number("n"), KeyField::string("s")]);
        assert_eq!(parse_index("by=a.b,c/n:number,s").unwrap(), by);
        assert_eq!(index(&by), "by=a.b,c/n:number,s");
        assert_eq!(parse_index("by=a keys-only").unwrap(), Index::new("by", ["a"]).keys_only());
        assert_eq!(parse_index("by=a include x,y").unwrap(), Index::new("by", ["a"]).include(["x", "y"]));
        assert_eq!(parse_index(&serde_json::to_string(&by).unwrap()).unwrap(), by);
        for wrong in ["by", "by=a all", "by=a include", "{}"] {
            assert!(parse_index(wrong).is_err(), "{wrong}");
        }
    }
}
