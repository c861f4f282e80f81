// SPDX-License-Identifier: GPL-2.0

//! `top` without a screen: what happened in each interval, as text or as JSON.

use std::time::Duration;

use serde::Serialize;

use super::after;
use super::reader::Looker;
use super::state::PathRow;
use super::state::SessionRow;
use super::state::Top;
use super::text;
use super::Context;
use crate::cmd::status;
use crate::nl::Node;
use crate::out::text::microseconds;
use crate::out::text::or_none;
use crate::out::text::percent;
use crate::out::text::rate;
use crate::out::text::Table;
use crate::system::System;
use crate::Error;

/// One interval in JSON. Rates are in bytes per second.
#[derive(Serialize)]
struct Interval<'a> {
    #[serde(flatten)]
    node: &'a Node,
    netns: &'a str,
    path: &'a [PathRow],
    session: Vec<&'a SessionRow>,
}

/// Writes so many intervals, or until it is told to end.
pub(super) fn run(
    context: &mut Context<'_>,
    top: &mut Top,
    count: Option<u32>,
) -> Result<(), Error> {
    context.system.end_when_told();
    let mut looker = Looker::new(context.system, context.client.take());
    let mut next = renew(&mut looker, context.system, top)?;
    let mut left = count;
    while left != Some(0) {
        context
            .system
            .sleep(next.saturating_sub(context.system.clock()));
        next = renew(&mut looker, context.system, top)?;
        if context.options.is_json() {
            json(context, top)?;
        } else {
            tables(context, top)?;
        }
        // Whoever reads it waits for it.
        context.out.flush()?;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

/// Looks, and says when to look again.
fn renew(looker: &mut Looker<'_>, system: &dyn System, top: &mut Top) -> Result<Duration, Error> {
    let began = system.clock();
    if let Some(look) = looker.look()? {
        top.take(look);
    }
    Ok(after(began, system.clock(), top.interval))
}

fn json(context: &mut Context<'_>, top: &Top) -> Result<(), Error> {
    let Some(node) = &top.node else {
        return Ok(());
    };
    context.write_json(&Interval {
        node,
        netns: &top.netns,
        path: &top.paths,
        session: top.sessions.shown().collect(),
    })
}

fn tables(context: &mut Context<'_>, top: &Top) -> Result<(), Error> {
    if let Some(node) = &top.node {
        let line = status::line(node, &top.netns, context.options.details, context.color());
        writeln!(context.out, "{line}")?;
    }
    context.write_table(&paths(&top.paths))?;
    context.write_table(&sessions(top.sessions.shown()))?;
    Ok(writeln!(context.out)?)
}

fn paths(rows: &[PathRow]) -> Table {
    let mut table = Table::new(vec![
        "ID", "DEV", "LOCAL", "REMOTE", "STATE", "TX", "RX", "RTT", "QUEUE", "WEIGHT", "LOSS",
    ]);
    for row in rows {
        let path = &row.path;
        let cells = vec![
            path.id.to_string(),
            or_none(row.dev.as_ref()),
            or_none(path.local),
            or_none(path.remote),
            or_none(path.state),
            or_none(row.rates.tx_rate.map(rate)),
            or_none(row.rates.rx_rate.map(rate)),
            or_none(row.rtt().map(|us| microseconds(us.into()))),
            or_none(path.queue_us.map(|us| microseconds(us.into()))),
            or_none(path.weight),
            or_none(row.loss.map(percent)),
        ];
        table.row(cells, Vec::new());
    }
    table
}

fn sessions<'a>(rows: impl Iterator<Item = &'a SessionRow>) -> Table {
    let mut table = Table::new(vec![
        "PROTO", "LOCAL", "REMOTE", "STATE", "PATHS", "TX", "RX", "HELD", "IDLE",
    ]);
    for row in rows {
        let session = &row.session;
        let cells = vec![
            or_none(session.protocol),
            or_none(session.local.as_ref()),
            or_none(session.remote.as_ref()),
            or_none(session.state),
            format!("{}/{}", row.active(), session.lane.len()),
            or_none(row.rates.tx_rate.map(rate)),
            or_none(row.rates.rx_rate.map(rate)),
            or_none(session.held),
            text::idle(session),
        ];
        table.row(cells, Vec::new());
    }
    table
}
