// SPDX-License-Identifier: GPL-2.0

//! `stats`.

use super::Context;
use crate::nl::Counter;
use crate::out::json;
use crate::out::text::Table;
use crate::Error;

pub(super) fn show(context: &mut Context<'_>) -> Result<(), Error> {
    let counters: Vec<Counter> = context.list()?;
    if context.options.is_json() {
        let members = counters.iter().map(|c| (c.name.replace('-', "_"), c.value));
        return context.write_json(&json::Object(members));
    }
    let mut table = Table::new(vec!["NAME", "VALUE"]);
    for counter in counters {
        table.row(vec![counter.name, counter.value.to_string()], Vec::new());
    }
    context.write_table(&table)
}
