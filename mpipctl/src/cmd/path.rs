// SPDX-License-Identifier: GPL-2.0

//! `path`.

use serde::Serialize;

use super::select;
use super::select::Traits;
use super::Context;
use crate::cli::Options;
use crate::nl::Path;
use crate::out::text::count;
use crate::out::text::microseconds;
use crate::out::text::or_none;
use crate::out::text::Table;
use crate::system::System;
use crate::Error;

/// A path with what only the system can tell: indices mean nothing outside the namespace.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    path: Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
}

pub(super) fn show(context: &mut Context<'_>, words: &[String]) -> Result<(), Error> {
    let paths: Vec<Path> = context.list()?;
    let rows = paths.into_iter().map(|path| Row {
        dev: interface(&path, context.system),
        path,
    });
    let mut rows: Vec<Row> = rows.collect();
    select::retain(&mut rows, words, traits);
    if context.options.is_json() {
        return context.write_json(&rows);
    }
    context.write_table(&table(&rows, &context.options))
}

fn traits(Row { path, dev }: &Row) -> Traits {
    Traits::default()
        .text(Some(path.id))
        .text(Some(path.peer))
        .text(dev.as_ref())
        .text(path.state)
        .text(path.way)
        .end(path.local, None)
        .end(path.remote, None)
}

pub(super) fn interface(path: &Path, system: &dyn System) -> Option<String> {
    system.interface(path.ifindex.filter(|index| *index != 0)?)
}

/// The peer has a column if there are several: path ids are unique only for a peer.
fn table(rows: &[Row], options: &Options) -> Table {
    let several_peers = rows.windows(2).any(|w| w[0].path.peer != w[1].path.peer);
    let mut header = Vec::new();
    if several_peers {
        header.push("PEER");
    }
    header.extend([
        "ID", "DEV", "LOCAL", "REMOTE", "WEIGHT", "RTT", "QUEUE", "STATE",
    ]);
    if options.statistics {
        header.extend(["TX", "RX", "LOST"]);
    }

    let mut table = Table::new(header);
    for Row { path, dev } in rows {
        let mut cells = Vec::new();
        if several_peers {
            cells.push(path.peer.to_string());
        }
        let srtt = path.srtt_us.filter(|us| *us != 0);
        let number = path.ifindex.filter(|index| *index != 0);
        cells.extend([
            path.id.to_string(),
            or_none(dev.clone().or(number.map(|index| format!("if{index}")))),
            or_none(path.local),
            or_none(path.remote),
            or_none(path.weight),
            delay(srtt),
            delay(path.queue_us),
            or_none(path.state),
        ]);
        if options.statistics {
            cells.extend([
                or_none(path.tx_bytes.map(count)),
                or_none(path.rx_bytes.map(count)),
                or_none(path.lost),
            ]);
        }
        table.row(cells, details(path, options));
    }
    table
}

fn details(path: &Path, options: &Options) -> Vec<String> {
    let mut lines = Vec::new();
    if options.details {
        lines.push(format!(
            "peer {} mtu {} max-queue {}",
            path.peer,
            or_none(path.mtu),
            delay(path.max_queue_us),
        ));
        lines.push(format!(
            "one-way, with the clocks' offset: delay {} min-delay {} rx-delay {}",
            delay(path.delay_us),
            delay(path.min_delay_us),
            delay(path.rx_delay_us),
        ));
        let way = path.way.map(|way| format!("way {way}"));
        let seen = path.observed.map(|addr| format!("seen-at {addr}"));
        let reason = path.reason.map(|reason| format!("reason {reason}"));
        let unused = path.unused.map(|reason| format!("unused {reason}"));
        let known: Vec<String> = [way, seen, reason, unused].into_iter().flatten().collect();
        if !known.is_empty() {
            lines.push(known.join(" "));
        }
        if options.statistics {
            lines.push(format!(
                "packets tx {} rx {} peer-rx {} bytes tx {} rx {} peer-rx {}",
                or_none(path.tx_packets),
                or_none(path.rx_packets),
                or_none(path.peer_rx_packets),
                or_none(path.tx_bytes),
                or_none(path.rx_bytes),
                or_none(path.peer_rx_bytes),
            ));
        }
    }
    lines
}

fn delay(us: Option<impl Into<i64>>) -> String {
    or_none(us.map(|us| microseconds(us.into())))
}
