//! A QueryDb: its definition, and its visible items.

use std::io::Write;

use super::{
    super::{TransferredQueryDb, format::Line},
    PAGE_BYTES, PAGE_ROWS, Tally,
    lines::Lines,
};
use crate::{
    backend::{Backend, ItemSource, ItemsRead},
    error::Result,
    query_db::QueryDbInfo,
};

pub(super) async fn export<W: Write>(
    backend: &dyn Backend,
    info: QueryDbInfo,
    lines: &mut Lines<W>,
    tally: Tally<'_>,
) -> Result<TransferredQueryDb> {
    lines.write(&Line::QueryDb { name: (&info.query_db).into(), spec: info.spec })?;
    let mut counted = TransferredQueryDb { query_db: info.query_db.clone(), items: 0 };
    let mut request = ItemsRead {
        query_db: info.query_db.into(),
        source: ItemSource::Scan,
        after: None,
        limit: Some(PAGE_ROWS),
        max_bytes: Some(PAGE_BYTES),
        descending: false,
    };
    loop {
        let page = backend.read_items(request.clone()).await?;
        for item in &page {
            lines.write(&Line::of_item(item))?;
            counted.items += 1;
        }
        tally.report(counted.items);
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    lines.write(&Line::QueryDbEnd { items: counted.items })?;
    Ok(counted)
}
