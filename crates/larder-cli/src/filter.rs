//! Which events a reading command shows: types, tags, or a query.

use larder::{Query, QueryItem};

use crate::query_syntax;

/// The options that choose events.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Filter {
    /// Only events of this type; with several, of any of them
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events with this tag; with several, with all of them
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Only events that match, such as `type:A tag:x or tag:y`
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["types", "tags"])]
    pub(crate) query: Option<String>,
}

impl Filter {
    /// The query that the options say.
    pub(crate) fn to_query(&self) -> anyhow::Result<Query> {
        if let Some(query) = &self.query {
            return Ok(query_syntax::parse(query)?);
        }
        if self.types.is_empty() && self.tags.is_empty() {
            return Ok(Query::all());
        }
        Ok(QueryItem::new().types(&self.types).tags(&self.tags).into())
    }
}
