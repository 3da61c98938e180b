//! `larder querydb`: read models, their items and what is asked of them.

mod changes;
mod count;
mod define;
mod delete;
mod drop;
mod drop_index;
mod get;
mod increment;
mod list;
mod purge;
mod put;
mod query;
mod request;
mod scan;
mod shown;

use larder::{ItemKey, KeyType, KeyValue, Number, QueryDb, QueryDbInfo, Store};

use crate::{context::Context, exit_code::ExitCode, failure::Failure};

/// Works with QueryDbs: read models of items under keys, with indexes
#[derive(Debug, clap::Args)]
#[command(name = "querydb")]
pub(crate) struct QueryDbs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(list::List),
    Define(define::Define),
    Get(get::Get),
    Put(put::Put),
    Delete(delete::Delete),
    Query(query::Query),
    Scan(scan::Scan),
    Count(count::Count),
    Increment(increment::Increment),
    Changes(changes::Changes),
    Purge(purge::Purge),
    DropIndex(drop_index::DropIndex),
    Drop(drop::Drop),
}

impl QueryDbs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.what {
            What::List(command) => command.run(context),
            What::Define(command) => command.run(context),
            What::Get(command) => command.run(context),
            What::Put(command) => command.run(context),
            What::Delete(command) => command.run(context),
            What::Query(command) => command.run(context),
            What::Scan(command) => command.run(context),
            What::Count(command) => command.run(context),
            What::Increment(command) => command.run(context),
            What::Changes(command) => command.run(context),
            What::Purge(command) => command.run(context),
            What::DropIndex(command) => command.run(context),
            What::Drop(command) => command.run(context),
        }
    }
}

/// A QueryDb that must exist, and what is known of it.
fn existing(store: &Store, name: &str) -> anyhow::Result<(QueryDb, QueryDbInfo)> {
    let query_db = store.query_db(name)?;
    let Some(info) = query_db.info().wait()? else {
        let failure = Failure::new(ExitCode::NotFound, format!("there is no QueryDb `{name}`"));
        return Err(failure.hint("see what there is with `larder querydb list`").into());
    };
    Ok((query_db, info))
}

/// A key's value from the command line, as the type that its field has.
fn key_value(text: &str, key_type: KeyType, what: &str) -> Result<KeyValue, Failure> {
    match key_type {
        KeyType::String => Ok(text.into()),
        KeyType::Number => serde_json::from_str::<Number>(text)
            .map(KeyValue::from)
            .map_err(|_| Failure::invalid(format!("{what} is a number field, `{text}` is not a number"))),
    }
}

/// An item's key, with the sub key as the definition's type.
fn item_key(info: &QueryDbInfo, partition: &str, sub: &str) -> Result<ItemKey, Failure> {
    let key_type = info.spec.sub_id_field.as_ref().map_or(KeyType::String, |field| field.key_type);
    Ok(ItemKey::new(partition, key_value(sub, key_type, "the sub key")?))
}
