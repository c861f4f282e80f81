// SPDX-License-Identifier: GPL-2.0

//! What the paths that there are tell of NATs, and of the port of wrapped packets.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::facts::Facts;
use super::items;
use super::Finding;
use super::Outcome;
use crate::network::Network;
use crate::nl::Client;
use crate::nl::EventReason;
use crate::nl::Param;
use crate::nl::Path;
use crate::nl::PathState;
use crate::nl::PathWay;
use crate::system::System;

/// How long a path that has fallen silent may take to be heard again before that is told.
const HEARD: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

const NAT: &str = "nat";
const PORT: &str = "port";

pub(super) fn check(facts: &Facts, network: &Network) -> Vec<Finding> {
    let mut findings = nats(facts, network);
    findings.extend(pinned(facts, network));
    findings.extend(port(facts));
    findings
}

/// The paths, as far as they are told. A crowded link keeps a path silent for a moment now and then:
/// whether it stays so is waited for.
pub(super) fn settled(client: &mut Client, system: &dyn System, denied: &mut bool) -> Vec<Path> {
    let until = system.clock() + HEARD;
    loop {
        let paths: Vec<Path> = items(client, denied);
        let in_doubt = |path: &Path| path.state == Some(PathState::Suspect) && is_silent(path);
        if !paths.iter().any(in_doubt) || system.clock() >= until {
            return paths;
        }
        system.sleep(LOOK);
    }
}

/// The paths tell what the peers see of each local address.
fn nats(facts: &Facts, network: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut direct = Vec::new();
    for (link, addresses) in facts.candidates(network) {
        for own in addresses {
            let of_own = |path: &&Path| path.local == Some(own.addr);
            let paths: Vec<&Path> = facts.told.paths.iter().filter(of_own).collect();
            let seen: BTreeSet<IpAddr> = paths.iter().filter_map(|path| path.observed).collect();
            if !seen.is_empty() {
                let found = behind(facts, own.addr, &paths, &seen);
                findings.extend(found.into_iter().map(|finding| finding.dev(&link.name)));
            } else if paths.iter().any(|path| is_active(path)) {
                // Where nothing gets through, nothing is known.
                direct.push(own.addr.to_string());
            }
        }
    }
    if !direct.is_empty() {
        let text = format!("none: peers see {} as they are", direct.join(", "));
        findings.insert(0, Finding::new(Outcome::Ok, NAT, text));
    }
    findings
}

/// What there is to say of an address that others see as another one.
fn behind(facts: &Facts, own: IpAddr, paths: &[&Path], seen: &BTreeSet<IpAddr>) -> Vec<Finding> {
    let names: Vec<String> = seen.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    let mut ways: Vec<String> = Vec::new();
    for way in paths.iter().filter_map(|path| path.way) {
        let way = match way {
            PathWay::Raw => "as plain packets".to_string(),
            way => format!("inside {way}"),
        };
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    let kind = kind(own, seen);
    let ports = ports(paths).map_or(String::new(), |ports| format!(", {ports}"));
    let through = match ways.is_empty() {
        true => "nothing has got through yet".to_string(),
        false => format!("what gets through goes {}", ways.join(" and ")),
    };
    let text = format!("{kind}: {own} is seen as {names}{ports}; {through}");
    let mut findings = vec![Finding::new(Outcome::Ok, NAT, text)];
    if let Some(param) = param(facts, "keepalive").filter(|param| param.value == 0) {
        let text =
            "a NAT forgets what is idle, and nothing keeps its memory fresh: keepalive is off";
        let fix = format!(
            "mpipctl param set keepalive {}",
            param.default.unwrap_or(15)
        );
        findings.push(Finding::new(Outcome::Warn, NAT, text).fix(fix));
    }
    findings
}

/// One way only, and a path that has got lost on it, behind a NAT or not.
fn pinned(facts: &Facts, network: &Network) -> Option<Finding> {
    let encap = param(facts, "encap")?;
    let encap = encap.choice(encap.value).filter(|encap| *encap != "auto")?;
    let path = facts.told.paths.iter().find(|path| is_silent(path))?;
    let text = format!("a path has fallen silent, and encap {encap} lets no other way be tried");
    let finding = Finding::new(Outcome::Fail, NAT, text).fix("mpipctl param set encap auto");
    let link = path.ifindex.and_then(|index| network.link(index));
    Some(match link {
        Some(link) => finding.dev(&link.name),
        None => finding,
    })
}

fn param<'a>(facts: &'a Facts, name: &str) -> Option<&'a Param> {
    facts.told.params.iter().find(|param| param.name == name)
}

fn is_silent(path: &Path) -> bool {
    !is_active(path) && path.reason == Some(EventReason::Silent)
}

fn is_active(path: &Path) -> bool {
    path.state == Some(PathState::Active)
}

/// What a NAT does with ports, as far as the paths show (RFC 4787, section 4.1): two paths to different
/// addresses from one port tell whether it is mapped once, or for each destination.
fn ports(paths: &[&Path]) -> Option<&'static str> {
    let known = paths.iter().filter_map(|path| {
        let from = (path.local_protocol?, path.local_port?);
        Some((from, path.remote?, path.observed_port?))
    });
    let known: Vec<_> = known.collect();
    let pairs = || known.iter().flat_map(|a| known.iter().map(move |b| (a, b)));
    let comparable = || pairs().filter(|(a, b)| a.0 == b.0 && a.1 != b.1);
    let kept = known.iter().all(|((_, local), _, seen)| local == seen);
    if known.is_empty() {
        None
    } else if comparable().any(|(a, b)| a.2 != b.2) {
        Some("with another port for each destination")
    } else if kept {
        Some("its ports kept")
    } else if comparable().next().is_some() {
        Some("with one other port for all destinations")
    } else {
        Some("with other ports")
    }
}

/// What the addresses tell.
fn kind(own: IpAddr, seen: &BTreeSet<IpAddr>) -> &'static str {
    if seen.len() > 1 {
        return "NAT with several addresses";
    }
    match own {
        IpAddr::V4(own) if own.octets()[0] == 100 && own.octets()[1] & 0xc0 == 64 => {
            "NAT of a carrier"
        }
        _ if seen.iter().all(|addr| is_private(*addr)) => "NAT inside a private network",
        _ => "NAT",
    }
}

fn is_private(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_private(),
        IpAddr::V6(addr) => addr.is_unique_local(),
    }
}

/// Another port than the one that firewalls are told of.
fn port(facts: &Facts) -> Option<Finding> {
    let used = facts.node.as_ref().ok()?.udp_port?;
    let wanted = param(facts, PORT)?.value;
    if u64::from(used) == wanted {
        return None;
    }
    let text = match used {
        0 => format!("UDP port {wanted} is taken, and no other was free: no path can be wrapped"),
        used => format!(
            "UDP port {wanted} is taken by another program, and {used} used in its place: a \
             firewall that is open for {wanted} closes it"
        ),
    };
    Some(Finding::new(Outcome::Warn, PORT, text).fix("mpipctl param set port PORT"))
}
