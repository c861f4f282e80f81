// SPDX-License-Identifier: GPL-2.0

//! Interfaces, their addresses and routes, as paths need them.

use std::collections::HashMap;
use std::net::IpAddr;

use super::facts::Facts;
use super::facts::CONF;
use super::roles;
use super::word;
use super::Finding;
use super::Mend;
use super::Outcome;
use crate::network::same_prefix;
use crate::network::Address;
use crate::network::Link;
use crate::network::Network;

use Outcome::Fail;
use Outcome::Ok as Well;
use Outcome::Warn;

const LOOSE: u8 = 2;
const STRICT: u8 = 1;
/// How many addresses of a host the module looks at.
const MAX_LOCAL: usize = 32;
/// Interfaces that rarely lead to the rest of the world.
const INNER: [&str; 2] = ["bridge", "dummy"];

type Candidates<'a> = [(&'a Link, Vec<&'a Address>)];

pub(super) fn check(facts: &Facts, network: &Network) -> Vec<Finding> {
    let candidates = facts.candidates(network);
    let mut findings = interfaces(facts, network, &candidates);
    findings.extend(rp_filter(facts, network, &candidates));
    findings.extend(routes(facts, network, &candidates));
    findings.extend(mtu(&candidates));
    findings.extend(addresses(facts, network, &candidates));
    findings
}

fn interfaces(facts: &Facts, network: &Network, candidates: &Candidates<'_>) -> Vec<Finding> {
    let check = "interfaces";
    let left_out = facts.left_out(network);
    let names: Vec<&str> = candidates
        .iter()
        .map(|(link, _)| link.name.as_str())
        .collect();
    let names = names.join(", ");
    let count: usize = candidates
        .iter()
        .map(|(_, addresses)| addresses.len())
        .sum();
    let mut findings = vec![match candidates.len() {
        0 => match left_out.first() {
            Some(interface) => Finding::new(
                Fail,
                check,
                "every interface that is up and has an address for paths is left out",
            )
            .fix(roles::including(interface)),
            None => Finding::new(Fail, check, "no interface is up and has an address for paths")
                .fix("ip link set DEV up && ip address add ADDRESS/LENGTH dev DEV"),
        },
        1 => Finding::new(
            Warn,
            check,
            format!("only {names} can carry paths: there are several only to hosts with several addresses"),
        ),
        _ if count > MAX_LOCAL => Finding::new(
            Warn,
            check,
            format!("{count} addresses for paths, of which only {MAX_LOCAL} are looked at"),
        ),
        _ => Finding::new(Well, check, format!("{names} can carry paths")),
    }];
    if candidates.len() < 2 {
        let idle = network
            .links
            .iter()
            .filter(|l| !l.up && l.kind.is_none() && !l.loopback);
        findings.extend(idle.map(|link| {
            Finding::new(Warn, check, "not up")
                .dev(&link.name)
                .fix(format!("ip link set {} up", word(&link.name)))
        }));
    }
    findings
}

/// The larger one of an interface's value and of that for all counts. Strict means that a packet
/// must arrive where the route back to its sender would leave: what comes on a second interface
/// passes only if a rule has its address use a table of its own.
fn rp_filter(facts: &Facts, network: &Network, candidates: &Candidates<'_>) -> Vec<Finding> {
    let of = |name: &str| facts.rp_filter.get(name).copied().unwrap_or(0);
    let all = of("all");
    let is_v4 = |a: &&&Address| a.addr.is_ipv4();
    let mut findings = Vec::new();
    let mut looked_at = 0;
    for (link, addresses) in candidates {
        let mut own = addresses.iter().filter(is_v4).peekable();
        if own.peek().is_none() {
            continue;
        }
        looked_at += 1;
        if all.max(of(&link.name)) != STRICT || own.all(|a| network.has_own_table(a.addr)) {
            continue;
        }
        let several = candidates.len() > 1;
        let text = "strict reverse-path filter: drops what another interface's route leads back to";
        findings.push(
            Finding::new(if several { Fail } else { Warn }, "rp_filter", text)
                .dev(&link.name)
                .fix(format!("sysctl -w {}={LOOSE}", word(&setting(&link.name))))
                .mend(Mend::Write {
                    path: format!("{CONF}/{}/rp_filter", link.name),
                    value: "2",
                }),
        );
    }
    if findings.is_empty() && looked_at > 0 {
        findings.push(Finding::new(
            Well,
            "rp_filter",
            "no reverse-path filter is in the way",
        ));
    }
    findings
}

/// sysctl takes dots for slashes, unless the first separator is a slash.
fn setting(dev: &str) -> String {
    if dev.contains('.') {
        format!("net/ipv4/conf/{dev}/rp_filter")
    } else {
        format!("net.ipv4.conf.{dev}.rp_filter")
    }
}

/// A path leaves through the interface of its local address, by a route of that interface.
fn routes(facts: &Facts, network: &Network, candidates: &Candidates<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut with_default = 0;
    for v6 in [false, true] {
        let concerned: Vec<&Link> = candidates
            .iter()
            .filter(|(_, addresses)| addresses.iter().any(|a| is_public(a.addr, v6)))
            .map(|(link, _)| *link)
            .collect();
        let (have, lack): (Vec<&Link>, Vec<&Link>) = concerned
            .into_iter()
            .partition(|link| network.has_default(link, v6));
        with_default += have.len();
        // Where nobody has one, hosts on the same links are all there is.
        if have.is_empty() {
            continue;
        }
        let (family, option) = if v6 { ("IPv6", "-6 ") } else { ("IPv4", "") };
        findings.extend(lack.iter().map(|link| {
            let is_inner = link
                .kind
                .as_deref()
                .is_some_and(|kind| INNER.contains(&kind));
            let text =
                format!("no {family} default route: paths lead only to hosts on the same link");
            Finding::new(if is_inner { Warn } else { Fail }, "route", text)
                .dev(&link.name)
                .fix(format!(
                    "ip {option}route add default via GATEWAY dev {} metric 1000",
                    word(&link.name)
                ))
        }));
    }
    if candidates.is_empty() {
        return findings;
    }
    let has_default = |link: u32| {
        network
            .link(link)
            .is_some_and(|link| network.has_default(link, false) || network.has_default(link, true))
    };
    let left_out = facts.left_out(network);
    let mut left_out = left_out
        .iter()
        .filter(|i| i.ifindex.is_some_and(has_default));
    let elsewhere = left_out.next();
    if let (0, Some(interface)) = (with_default, elsewhere) {
        let text = "the default route leaves by it, but it gets no added paths: what goes there \
                    keeps to it";
        let fix = roles::including(interface);
        findings.push(
            Finding::new(Warn, "route", text)
                .dev(&interface.name)
                .fix(fix),
        );
    } else if with_default == 0 {
        let text = "no default route at all: paths lead only to hosts on the same links";
        findings.push(
            Finding::new(Warn, "route", text).fix("ip route add default via GATEWAY dev DEV"),
        );
    } else if findings.is_empty() {
        findings.push(Finding::new(
            Well,
            "route",
            "every interface has a default route",
        ));
    }
    findings
}

/// IPv6 addresses that are not of the global kind need no way to everywhere.
fn is_public(addr: IpAddr, v6: bool) -> bool {
    match addr {
        IpAddr::V4(_) => !v6,
        IpAddr::V6(addr) => v6 && addr.octets()[0] >> 5 == 1,
    }
}

fn mtu(candidates: &Candidates<'_>) -> Option<Finding> {
    let links = || candidates.iter().map(|(link, _)| *link);
    let least = links().min_by_key(|link| link.mtu)?;
    let most = links().max_by_key(|link| link.mtu)?;
    if least.mtu == most.mtu {
        return Some(Finding::new(
            Well,
            "mtu",
            format!("{} bytes everywhere", least.mtu),
        ));
    }
    let text = format!(
        "{} has {} bytes and {} {}: TCP keeps to the smaller, larger datagrams to the wider paths",
        least.name, least.mtu, most.name, most.mtu
    );
    let fix = format!("ip link set {} mtu {}", word(&most.name), least.mtu);
    Some(Finding::new(Warn, "mtu", text).fix(fix))
}

fn addresses(facts: &Facts, network: &Network, candidates: &Candidates<'_>) -> Vec<Finding> {
    let check = "address";
    let mut findings = Vec::new();
    let name = |index| network.link(index).map_or("?", |link| link.name.as_str());
    let duplicates = network.addresses.iter().filter(|a| a.duplicate);
    for twice in duplicates.filter(|a| !facts.is_excluded(a.index)) {
        let (dev, addr, len) = (name(twice.index), twice.addr, twice.len);
        findings.push(
            Finding::new(Fail, check, format!("another host has {addr}, too"))
                .dev(dev)
                .fix(format!("ip address del {addr}/{len} dev {}", word(dev))),
        );
    }
    let mut owners: HashMap<IpAddr, &str> = HashMap::new();
    let mut seen: Vec<(&Link, &Address)> = Vec::new();
    for (link, addresses) in candidates {
        for &own in addresses {
            if let Some(first) = owners.insert(own.addr, &link.name) {
                let (addr, len) = (own.addr, own.len);
                findings.push(
                    Finding::new(Fail, check, format!("{addr} is an address of {first}, too"))
                        .dev(&link.name)
                        .fix(format!(
                            "ip address del {addr}/{len} dev {}",
                            word(&link.name)
                        )),
                );
                continue;
            }
            let overlaps = |(other, theirs): &&(&Link, &Address)| {
                let len = own.len.min(theirs.len);
                other.index != link.index && len > 0 && same_prefix(own.addr, theirs.addr, len)
            };
            if let Some((other, _)) = seen.iter().find(overlaps) {
                if own.addr.is_ipv4() && !facts.arp_ignore {
                    let text = format!(
                        "same network as {}: each interface answers for the other's address, and all \
                         may come in on one",
                        other.name
                    );
                    let fix =
                        "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2";
                    findings.push(Finding::new(Warn, check, text).dev(&link.name).fix(fix));
                }
            }
            seen.push((link, own));
        }
    }
    if findings.is_empty() && !candidates.is_empty() {
        findings.push(Finding::new(Well, check, "no address is there twice"));
    }
    findings
}
