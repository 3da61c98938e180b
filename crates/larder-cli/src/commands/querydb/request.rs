//! Which items a command asks for.

use larder::{Cursor, Filter, Item, ItemQuery, KeyType, QueryDbInfo, Read, Sort};

use super::{key_value, shown};
use crate::{failure::Failure, ui::Ui};

pub(super) const HELP: &str = r#"A sort condition is on the sub key, or on the index's first sort field: `= 5`, `<`, `<=`, `>`, `>=`, `between 1 and 9` or `begins_with "2026-03"`.

A filter is on any fields: `total_cents >= 1000 and not (customer = "test" or address.city in ("Bern", "Basel"))`. A condition is a field's path and `=`, `<>`, `<`, `<=`, `>`, `>=`, `between X and Y`, `begins_with "text"`, `contains X`, `exists`, `not exists` or `in (X, Y)`; conditions are joined by `and`, `or`, `not` and parentheses. Values are JSON: text is in double quotes, and 1 is not "1". A path with spaces is in double quotes too."#;

/// A query.
#[derive(Debug, clap::Args)]
pub(super) struct Request {
    /// The QueryDb
    pub(super) name: String,
    #[command(flatten)]
    source: Source,
    /// A value for each key field of the index, in order
    #[arg(long = "value", value_name = "VALUE", requires = "index")]
    values: Vec<String>,
    /// A condition on the sub key, or on the index's sort field
    #[arg(long, value_name = "CONDITION")]
    sort: Option<String>,
    /// A condition on any fields
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The items of this partition
    #[arg(long, value_name = "PARTITION")]
    key: Option<String>,
    /// Those in this index with the `--value`s
    #[arg(long, value_name = "INDEX")]
    index: Option<String>,
}

impl Request {
    pub(super) fn query(&self, info: &QueryDbInfo) -> anyhow::Result<ItemQuery> {
        let mut query = match (&self.source.key, &self.source.index) {
            (Some(key), _) => ItemQuery::key(key),
            (None, index) => {
                let name = index.as_deref().unwrap_or_default();
                let fields = info.spec.find_index(name).map_or(&[][..], |index| &index.key);
                let types = fields.iter().map(|field| (field.key_type, field.path.as_str()));
                let types = types.chain(std::iter::repeat((KeyType::String, "")));
                let values = self.values.iter().zip(types);
                let values = values.map(|(value, (key_type, path))| key_value(value, key_type, path));
                ItemQuery::index(name, values.collect::<Result<Vec<_>, _>>()?)
            }
        };
        if let Some(sort) = &self.sort {
            query = query.sort(sort.parse::<Sort>().map_err(|error| pointed(&error, sort))?);
        }
        if let Some(filter) = &self.filter {
            query = query.filter(filter.parse::<Filter>().map_err(|error| pointed(&error, filter))?);
        }
        Ok(query)
    }
}

/// An error of the syntax, with a mark below the place.
fn pointed(error: &larder::Error, text: &str) -> Failure {
    let mut failure = Failure::from_library(error);
    let column = error.context().iter().find(|(key, _)| *key == "column");
    let column = column.and_then(|(_, column)| column.parse::<usize>().ok());
    if let Some(column) = column.filter(|_| !text.contains(char::is_control)) {
        failure.details = vec![text.to_owned(), format!("{}^", " ".repeat(column.saturating_sub(1)))];
        failure.context.insert("column".into(), column.into());
    }
    failure
}

/// How much of a listing is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Paging {
    /// No more than this; then a cursor says where to go on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Goes on after this cursor, which a listing of the same query gave
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Backwards
    #[arg(long)]
    descending: bool,
}

impl Paging {
    /// Shows what a read finds, page by page; answers how many that were.
    pub(super) fn show(&self, ui: &Ui, read: impl Fn() -> Read<Item>) -> anyhow::Result<u64> {
        const PAGE: u64 = 500;
        let mut after = self.after.as_deref().map(str::parse::<Cursor>).transpose()?;
        let mut shown = 0;
        loop {
            let left = self.limit.map_or(PAGE, |limit| limit - shown).min(PAGE);
            let mut page = read().limit(usize::try_from(left)?).after(after);
            if self.descending {
                page = page.descending();
            }
            let page = page.wait()?;
            page.items.iter().try_for_each(|item| shown::item(ui, item))?;
            shown += page.items.len() as u64;
            if page.next.is_none() || self.limit == Some(shown) {
                shown::next(ui, page.next.as_ref())?;
                return Ok(shown);
            }
            after = page.next;
        }
    }
}
