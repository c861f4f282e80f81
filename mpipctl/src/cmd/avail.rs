// SPDX-License-Identifier: GPL-2.0

//! `avail`.

use super::select;
use super::select::Traits;
use super::Context;
use crate::nl::Avail;
use crate::out::text::milliseconds;
use crate::out::text::or_none;
use crate::out::text::Table;
use crate::Error;

pub(super) fn show(context: &mut Context<'_>, words: &[String]) -> Result<(), Error> {
    select::check(words)?;
    let mut rows: Vec<Avail> = context.list()?;
    select::retain(&mut rows, words, |row| {
        Traits::default()
            .text(row.protocol)
            .text(row.availability)
            .end(Some(row.addr), row.port)
    });
    if context.options.is_json() {
        return context.write_json(&rows);
    }
    let mut table = Table::new(vec![
        "ADDR",
        "PORT",
        "PROTO",
        "AVAILABILITY",
        "QUERIES",
        "AGE",
    ]);
    for row in rows {
        let cells = vec![
            row.addr.to_string(),
            or_none(row.port),
            or_none(row.protocol),
            or_none(row.availability),
            or_none(row.queries),
            or_none(row.age_ms.map(milliseconds)),
        ];
        table.row(cells, Vec::new());
    }
    context.write_table(&table)
}
