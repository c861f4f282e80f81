// SPDX-License-Identifier: GPL-2.0

//! Tunnels: what is inside must not leave them, what is around them must not come in again.

use super::facts::Facts;
use super::Finding;
use super::Outcome;
use crate::network::Address;
use crate::network::Link;
use crate::network::Network;

const CHECK: &str = "tunnel";
/// Kinds of interfaces that encrypt, or hand packets to a program that does.
const KINDS: [&str; 4] = ["wireguard", "tun", "xfrm", "vti"];

/// The tunnels that are up.
pub(super) fn of(network: &Network) -> impl Iterator<Item = &Link> {
    let is_tunnel = |link: &&Link| {
        link.kind
            .as_deref()
            .is_some_and(|kind| KINDS.contains(&kind))
    };
    network
        .links
        .iter()
        .filter(move |link| link.up && is_tunnel(link))
}

pub(super) fn check(facts: &Facts, network: &Network) -> Vec<Finding> {
    let candidates = network.candidates();
    let mut findings = Vec::new();
    for link in of(network) {
        if facts.asks_everybody {
            findings.push(leak(link));
        }
        let own = candidates
            .iter()
            .find(|(other, _)| other.index == link.index);
        for address in own.iter().flat_map(|(_, addresses)| addresses) {
            findings.push(detour(link, address));
        }
    }
    findings
}

/// A session uses all paths between two hosts, whichever the application has chosen.
fn leak(link: &Link) -> Finding {
    let text = "what is sent into this tunnel to a host with MPIP takes paths beside the tunnel as well, \
                unencrypted; with the remedy, hosts outside are asked after: mpipctl ask add PREFIX";
    Finding::new(Outcome::Warn, CHECK, text)
        .dev(&link.name)
        .fix("mpipctl param set ask listed")
}

/// The module leaves out addresses that are local to the link, and deprecated ones of IPv6.
fn detour(link: &Link, address: &Address) -> Finding {
    let Address { addr, len, .. } = address;
    let dev = &link.name;
    let text = format!("{addr} makes this tunnel a path, also for the tunnel's own packets");
    let fix = if addr.is_ipv4() {
        format!("ip address del {addr}/{len} dev {dev} && ip address add {addr}/{len} dev {dev} scope link")
    } else {
        format!("ip address change {addr}/{len} dev {dev} preferred_lft 0")
    };
    Finding::new(Outcome::Warn, CHECK, text).dev(dev).fix(fix)
}
