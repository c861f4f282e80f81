// SPDX-License-Identifier: GPL-2.0

//! `peer`.

use super::select;
use super::select::Traits;
use super::Context;
use crate::nl::Endpoint;
use crate::nl::Peer;
use crate::out::text::milliseconds;
use crate::out::text::or_none;
use crate::out::text::Table;
use crate::Error;

pub(super) fn show(context: &mut Context<'_>, words: &[String]) -> Result<(), Error> {
    select::check(words)?;
    let mut peers: Vec<Peer> = context.list()?;
    select::retain(&mut peers, words, |peer| {
        let addresses = peer.address.iter();
        addresses.fold(Traits::default().text(Some(peer.id)), |traits, end| {
            traits.endpoint(Some(end))
        })
    });
    if context.options.is_json() {
        return context.write_json(&peers);
    }
    context.write_table(&table(&peers, context.options.details))
}

fn table(peers: &[Peer], details: bool) -> Table {
    let mut header = vec!["ID", "SESSIONS", "PATHS", "IDLE"];
    if details {
        header.extend(["AGE", "UDP-PORT"]);
    }
    header.push("ADDRESSES");

    let mut table = Table::new(header);
    for peer in peers {
        let mut cells = vec![
            peer.id.to_string(),
            or_none(peer.sessions),
            or_none(peer.paths),
            or_none(peer.idle_ms.map(milliseconds)),
        ];
        if details {
            let port = peer.udp_port.filter(|port| *port != 0);
            cells.extend([or_none(peer.age_ms.map(milliseconds)), or_none(port)]);
        }
        let addresses: Vec<String> = peer.address.iter().map(Endpoint::to_string).collect();
        cells.push(or_none(
            Some(addresses.join(",")).filter(|all| !all.is_empty()),
        ));
        table.row(cells, Vec::new());
    }
    table
}
