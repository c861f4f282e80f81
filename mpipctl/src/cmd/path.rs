// SPDX-License-Identifier: GPL-2.0

//! `path`.

use serde::Serialize;

use super::interface::quantity;
use super::rule::choice;
use super::select;
use super::select::Traits;
use super::Context;
use crate::cli::Options;
use crate::cli::PathVerb;
use crate::nl::NodeId;
use crate::nl::Param;
use crate::nl::Path;
use crate::nl::PathChange;
use crate::nl::PathWish;
use crate::out::text::count;
use crate::out::text::microseconds;
use crate::out::text::or_none;
use crate::out::text::percent;
use crate::out::text::rate;
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

/// The names of values.
pub(crate) const NAMES: &[&str] = &["weight", "state", "peer"];
/// What brings back the weight that is learnt.
const AUTO: &str = "auto";

pub(super) fn run(context: &mut Context<'_>, verb: Option<PathVerb>) -> Result<(), Error> {
    match verb.unwrap_or(PathVerb::Show { words: Vec::new() }) {
        PathVerb::Show { words } => show(context, &words),
        PathVerb::Set { id, words } => set(context, &id, &words),
    }
}

fn set(context: &mut Context<'_>, id: &str, words: &[String]) -> Result<(), Error> {
    let change = parse(id, words).map_err(Error::Usage)?;
    context.client()?.set_path(&change).map_err(|error| {
        let whose = change.peer.map(|peer| format!(" of peer {peer}"));
        let what = format!("path \"{id}\"{}", whose.unwrap_or_default());
        Error::of(what, "mpipctl path", error)
    })?;
    if change.weight.is_some_and(|weight| weight != 0) {
        remark_on_scheduler(context);
    }
    Ok(())
}

/// A weight that nobody uses now is worth a remark. What cannot be found out is none.
fn remark_on_scheduler(context: &mut Context<'_>) {
    let params: Vec<Param> = context.list().unwrap_or_default();
    let scheduler = params.iter().find(|param| param.name == "scheduler");
    let name = scheduler.and_then(|param| param.choice(param.value));
    if let Some(name) = name.filter(|name| *name != "weighted") {
        context.warnings.push(format!(
            "weight: the scheduler weighted uses it, and the scheduler is {name} now; \
             try: mpipctl param set scheduler weighted"
        ));
    }
}

/// Reads names and values by turns; the error quotes what is wrong.
fn parse(id: &str, words: &[String]) -> Result<PathChange, String> {
    let number = id.parse();
    let mut change = PathChange {
        id: number
            .map_err(|_| format!("path: not the id of a path: \"{id}\"; try: mpipctl path"))?,
        ..PathChange::default()
    };
    let mut seen = Vec::new();
    for pair in words.chunks(2) {
        let key = pair[0].as_str();
        if !NAMES.contains(&key) {
            let names = NAMES.join(", ");
            return Err(format!("path: unknown name: \"{key}\"; names are {names}"));
        }
        let [_, text] = pair else {
            return Err(format!("{key}: the value is missing"));
        };
        if seen.contains(&key) {
            return Err(format!("{key}: given twice"));
        }
        seen.push(key);
        match key {
            "weight" => change.weight = Some(weight(text)?),
            "state" => change.state = Some(state(text)?),
            _ => change.peer = Some(peer(text)?),
        }
    }
    match (change.weight, change.state) {
        (None, None) => Err("path: nothing to change; give weight or state".to_string()),
        _ => Ok(change),
    }
}

fn weight(text: &str) -> Result<u32, String> {
    if text == AUTO {
        return Ok(0);
    }
    let (least, most) = PathChange::WEIGHTS.into_inner();
    let number = quantity("weight", text, "", least.into(), most.into());
    let number = number.map_err(|why| format!("{why}, or {AUTO}"))?;
    Ok(u32::try_from(number).unwrap_or(most))
}

fn state(text: &str) -> Result<PathWish, String> {
    let number = choice(text, PathWish::NAMES).map_err(|why| format!("state: {why}"))?;
    Ok(number.into())
}

fn peer(text: &str) -> Result<NodeId, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    let number = number.ok_or_else(|| {
        format!("peer: not a node id of up to 16 hexadecimal digits: \"{text}\"; try: mpipctl peer")
    })?;
    Ok(NodeId(number))
}

fn show(context: &mut Context<'_>, words: &[String]) -> Result<(), Error> {
    select::check(words)?;
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
        header.extend(["RATE", "TX", "RX", "LOST"]);
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
            weight_of(path),
            delay(srtt),
            delay(path.queue_us),
            or_none(path.state),
        ]);
        if options.statistics {
            cells.extend([
                or_none(carries(path)),
                or_none(path.tx_bytes.map(count)),
                or_none(path.rx_bytes.map(count)),
                or_none(path.lost),
            ]);
        }
        table.row(cells, details(path, options));
    }
    table
}

/// With a sign before it if it was set.
fn weight_of(path: &Path) -> String {
    match path.set_weight {
        Some(weight) => format!("={weight}"),
        None => or_none(path.weight),
    }
}

/// What it is taken to carry, if that has a limit that is known.
fn carries(path: &Path) -> Option<String> {
    let bytes = path.rate.filter(|bytes| *bytes != u32::MAX)?;
    Some(rate(bytes.into()))
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
        let rate = carries(path).map(|text| format!("rate {text}"));
        let limit = path
            .queue_limit_us
            .map(|us| format!("queue-limit {}", delay(Some(us))));
        let unanswered = path
            .unanswered
            .map(|part| format!("unanswered {}", percent(f64::from(part) / 1000.0)));
        let learnt: Vec<String> = [rate, limit, unanswered].into_iter().flatten().collect();
        if !learnt.is_empty() {
            lines.push(learnt.join(" "));
        }
        let way = path.way.map(|way| format!("way {way}"));
        let seen = path.observed.map(|addr| {
            let port = path.observed_port.zip(path.local_port);
            let port = port.map_or(String::new(), |(seen, own)| {
                format!(" port {seen} for {own}")
            });
            format!("seen-at {addr}{port}")
        });
        let reason = path.reason.map(|reason| format!("reason {reason}"));
        let unused = path.unused.map(|reason| format!("unused {reason}"));
        let known: Vec<String> = [way, seen, reason, unused].into_iter().flatten().collect();
        if !known.is_empty() {
            lines.push(known.join(" "));
        }
        let state = path.set_state.map(|state| format!(" state {state}"));
        let weight = path
            .set_weight
            .map(|weight| format!(" weight {weight}, which only the scheduler weighted uses"));
        if state.is_some() || weight.is_some() {
            let set: String = [state, weight].into_iter().flatten().collect();
            lines.push(format!("set:{set}"));
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
