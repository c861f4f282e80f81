// SPDX-License-Identifier: GPL-2.0

//! `session`.

use super::select;
use super::select::Traits;
use super::Context;
use crate::cli::Options;
use crate::nl::Lane;
use crate::nl::PathState;
use crate::nl::Session;
use crate::out::text::count;
use crate::out::text::milliseconds;
use crate::out::text::or_none;
use crate::out::text::Row;
use crate::out::text::Table;
use crate::Error;

pub(super) fn show(context: &mut Context<'_>, words: &[String]) -> Result<(), Error> {
    select::check(words)?;
    let wanted = |session: &Session| words.is_empty() || traits(session).have(words);
    if context.options.is_json() {
        let sessions: Vec<Session> = context.list_as(|s| wanted(&s).then_some(s))?;
        return context.write_json(&sessions);
    }
    let mut header = vec!["ID", "PROTO", "LOCAL", "REMOTE", "STATE", "PATHS", "IDLE"];
    if context.options.statistics {
        header.extend(["TX", "RX", "HELD"]);
    }
    let options = context.options.clone();
    // Each session goes as soon as it has its row: there may be very many.
    let rows = context.list_as(|session| wanted(&session).then(|| row(&session, &options)))?;
    context.write_table(&Table::of(header, rows))
}

fn traits(session: &Session) -> Traits {
    Traits::default()
        .text(Some(session.id))
        .text(session.peer)
        .text(session.protocol)
        .text(session.state)
        .endpoint(session.local.as_ref())
        .endpoint(session.remote.as_ref())
}

fn row(session: &Session, options: &Options) -> Row {
    let lanes = &session.lane;
    let active = lanes.iter().filter(|l| l.state == Some(PathState::Active));
    let mut cells = vec![
        session.id.to_string(),
        or_none(session.protocol),
        or_none(session.local.as_ref()),
        or_none(session.remote.as_ref()),
        or_none(session.state),
        format!("{}/{}", active.count(), lanes.len()),
        or_none(session.idle_ms.map(milliseconds)),
    ];
    if options.statistics {
        cells.extend([
            total(lanes, |lane| lane.tx_bytes),
            total(lanes, |lane| lane.rx_bytes),
            or_none(session.held),
        ]);
    }
    let mut details = Vec::new();
    if options.details {
        details.push(own_details(session));
        let lines = lanes
            .iter()
            .map(|lane| lane_details(lane, options.statistics));
        details.extend(lines);
    }
    Row::new(&cells, details)
}

fn total(lanes: &[Lane], bytes: fn(&Lane) -> Option<u64>) -> String {
    count(lanes.iter().filter_map(bytes).fold(0, u64::saturating_add))
}

fn own_details(session: &Session) -> String {
    let peer = session.peer.filter(|peer| peer.is_known());
    let opened = match session.initiator {
        Some(true) => "here",
        Some(false) => "by-peer",
        None => "-",
    };
    let rules: Vec<String> = session.rule.iter().map(u32::to_string).collect();
    let rules = Some(rules.join(",")).filter(|rules| !rules.is_empty());
    format!(
        "peer {} opened {opened} age {} next-seq {} held {} ({} bytes) rule {}",
        or_none(peer),
        or_none(session.age_ms.map(milliseconds)),
        or_none(session.next_seq),
        or_none(session.held),
        or_none(session.held_bytes),
        or_none(rules),
    )
}

fn lane_details(lane: &Lane, statistics: bool) -> String {
    let mut line = format!(
        "path {} {} > {} {} weight {} tx {} rx {}",
        lane.path,
        or_none(lane.local.as_ref()),
        or_none(lane.remote.as_ref()),
        or_none(lane.state),
        or_none(lane.weight),
        or_none(lane.tx_bytes.map(count)),
        or_none(lane.rx_bytes.map(count)),
    );
    if statistics {
        line += &format!(
            " tx-packets {} rx-packets {}",
            or_none(lane.tx_packets),
            or_none(lane.rx_packets),
        );
    }
    if lane.original == Some(true) {
        line += " original";
    }
    if let Some(reason) = lane.unused {
        line += &format!(" unused {reason}");
    }
    line
}
