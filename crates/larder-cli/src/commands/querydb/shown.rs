//! Items and definitions, as they are shown.

use std::io;

use larder::{Item, KeyField, KeyType, QueryDbInfo};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use crate::ui::{Part, Ui, clean, raw};

#[derive(Serialize)]
struct ItemRow<'a> {
    partition: &'a str,
    sub: &'a larder::KeyValue,
    version: u64,
    expires_at: Option<u64>,
    item: Box<RawValue>,
}

/// Shows an item on one line, in JSON as it was saved but for line breaks between its tokens.
pub(super) fn item(ui: &Ui, item: &Item) -> anyhow::Result<()> {
    if ui.is_json() {
        let (partition, sub) = (item.key.partition.as_str(), &item.key.sub);
        let (version, expires_at) = (item.version, item.expires_at);
        let row = ItemRow { partition, sub, version, expires_at, item: raw(&item.json)? };
        return Ok(ui.object(&row)?);
    }
    Ok(line(ui, item)?)
}

fn line(ui: &Ui, item: &Item) -> io::Result<()> {
    let expires = item.expires_at.map(|at| format!("  expires at {at}")).unwrap_or_default();
    ui.line(format!(
        "{}  {}  {}",
        ui.paint(Part::Name, clean(&item.key.to_string())),
        ui.paint(Part::Faint, format!("version {}{expires}", item.version)),
        clean(&item.json)
    ))
}

/// Tells where a listing goes on.
pub(super) fn next(ui: &Ui, next: Option<&larder::Cursor>) -> io::Result<()> {
    let Some(next) = next else { return Ok(()) };
    if ui.is_json() {
        return ui.object(&json!({ "next": next.to_string() }));
    }
    ui.note(format!("there is more: go on with `--after {next}`"));
    Ok(())
}

/// A definition as JSON.
pub(super) fn info_json(info: &QueryDbInfo) -> Value {
    json!({ "name": info.query_db, "version": info.version, "owner": info.owner, "spec": info.spec })
}

/// A field with its type, as `define` takes it.
pub(super) fn field(field: &KeyField) -> String {
    match field.key_type {
        KeyType::String => field.path.clone(),
        KeyType::Number => format!("{}:number", field.path),
    }
}

/// An index, as `define` takes it.
pub(super) fn index(index: &larder::Index) -> String {
    let fields = |fields: &[KeyField]| fields.iter().map(field).collect::<Vec<_>>().join(",");
    let mut text = format!("{}={}", index.name, fields(&index.key));
    if !index.sort.is_empty() {
        text.push('/');
        text.push_str(&fields(&index.sort));
    }
    text
}
