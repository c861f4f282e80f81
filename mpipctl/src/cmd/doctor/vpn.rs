// SPDX-License-Identifier: GPL-2.0

//! Tunnels that take everything, and what keeps packets from leaving beside them.

use serde_json::Value;

use super::facts::Facts;
use super::firewall;
use super::firewall::Chain;
use super::word;
use super::Finding;
use super::Outcome;
use crate::network::Link;
use crate::network::Network;
use crate::nl::PathState;

const CHECK: &str = "vpn";

pub(super) fn check(facts: &Facts, network: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    for v6 in [false, true] {
        findings.extend(barrier(network, v6));
        findings.extend(swallowed(network, v6));
    }
    let tunnels = network.tunnels();
    if let Ok(ruleset) = &facts.ruleset {
        let chains = firewall::chains(ruleset);
        let mut chains = chains.iter();
        findings.extend(chains.find_map(|chain| kill_switch(facts, network, chain, &tunnels)));
    }
    if findings.is_empty() && !tunnels.is_empty() {
        let names: Vec<&str> = tunnels.iter().map(|link| link.name.as_str()).collect();
        let text = format!("what goes through {} stays in it", names.join(", "));
        findings.push(Finding::new(Outcome::Ok, CHECK, text));
    }
    findings
}

fn family(v6: bool) -> (&'static str, &'static str) {
    match v6 {
        true => ("IPv6", "-6 "),
        false => ("IPv4", ""),
    }
}

/// Routes of paths are looked up by address and interface. What throws packets away before the main
/// table does so with these as well.
fn barrier(network: &Network, v6: bool) -> Option<Finding> {
    let barrier = network.barrier(v6)?;
    let (family, option) = family(v6);
    let what = match barrier.table {
        Some(table) => format!("the default route of table {table}"),
        None => format!("the rule with priority {}", barrier.priority),
    };
    let text = format!(
        "{what} throws away what does not go through a tunnel (a kill switch): paths have no \
         {family} route; the fix ends that protection, and what is to be hidden may leak"
    );
    let fix = match barrier.table {
        Some(table) => format!(
            "ip {option}route del {} default table {table}",
            barrier.kind
        ),
        None => format!("ip {option}rule del priority {}", barrier.priority),
    };
    Some(Finding::new(Outcome::Warn, CHECK, text).fix(fix))
}

/// As wg-quick does for AllowedIPs = 0.0.0.0/0. MPIP leaves marked packets alone.
fn swallowed(network: &Network, v6: bool) -> Option<Finding> {
    let (rule, tunnel) = network.swallowed(v6)?;
    let (family, _) = family(v6);
    let mark = rule.without_mark.unwrap_or_default();
    let text = format!(
        "all {family} traffic goes into the tunnel, and the tunnel's own has the mark {mark:#x}: \
         both keep to one path; after the fix all else leaves beside the tunnel"
    );
    let dev = word(&tunnel.name);
    let fix = format!(
        "wg-quick down {dev} && wg-quick up {dev}, with the networks behind it in AllowedIPs"
    );
    let finding = Finding::new(Outcome::Warn, CHECK, text).fix(fix);
    Some(finding.dev(&tunnel.name))
}

/// A chain that lets packets out through a tunnel only. What MPIP sends on added paths passes no
/// filter of the host.
fn kill_switch(
    facts: &Facts,
    network: &Network,
    chain: &Chain<'_>,
    tunnels: &[&Link],
) -> Option<Finding> {
    if !matches!(chain.hook, Some("output" | "postrouting")) {
        return None;
    }
    let spared = |rule: &&Value, negated: bool| {
        let matches = firewall::expressions(rule).iter();
        let mut matches = matches.filter_map(|part| part.get("match"));
        matches.any(|m| {
            let key = &m["left"]["meta"]["key"];
            let is_interface = key == "oifname" || key == "oif";
            is_interface && (m["op"] == "!=") == negated && names_one(&m["right"], tunnels)
        })
    };
    let mut rules = chain.rules.iter().copied();
    let is_open = rules.clone().any(|rule| opens(rule, network, tunnels));
    let is_switch = rules.any(|rule| match firewall::verdict(rule) {
        Some(true) => chain.drops && !is_open && spared(&rule, false),
        Some(false) => spared(&rule, true),
        None => false,
    });
    if !is_switch {
        return None;
    }
    let place = firewall::place(chain);
    let is_outside = |index: u32| {
        network
            .link(index)
            .is_some_and(|link| !tunnels.contains(&link))
    };
    let beside = facts.told.paths.iter().filter(|path| {
        path.state == Some(PathState::Active) && path.ifindex.is_some_and(is_outside)
    });
    Some(match beside.count() {
        0 => {
            let text = format!("{place} is a kill switch, and no path is beside the tunnel");
            Finding::new(Outcome::Ok, CHECK, text)
        }
        count => {
            let text = format!(
                "{place} is a kill switch, but added paths pass no filter: what is older than the \
                 tunnel may leave beside it ({count} active {} outside)",
                if count == 1 { "path" } else { "paths" }
            );
            Finding::new(Outcome::Warn, CHECK, text).fix("mpipctl disable && mpipctl enable")
        }
    })
}

/// True for a rule that accepts whatever leaves through an interface that is no tunnel.
fn opens(rule: &Value, network: &Network, tunnels: &[&Link]) -> bool {
    let loops = network.links.iter().filter(|link| link.loopback);
    let inside: Vec<&Link> = loops.chain(tunnels.iter().copied()).collect();
    let is_wide = firewall::expressions(rule).iter().all(|part| {
        let Some(m) = part.get("match") else {
            // All else, such as limits and what came from iptables, may be a condition.
            return part.get("accept").is_some() || part.get("counter").is_some();
        };
        let key = &m["left"]["meta"]["key"];
        let right = &m["right"];
        let names = right["set"].as_array().or(right.as_array());
        let names = names.map_or(std::slice::from_ref(right), Vec::as_slice);
        let is_outside = m["op"] == "!=" || names.iter().any(|name| !names_one(name, &inside));
        (key == "oifname" || key == "oif") && is_outside
    });
    is_wide && firewall::verdict(rule) == Some(true)
}

/// True if a value is the name of a tunnel, a beginning of one, or a set with it.
fn names_one(value: &Value, tunnels: &[&Link]) -> bool {
    match value {
        Value::String(text) => tunnels.iter().any(|link| match text.strip_suffix('*') {
            Some(beginning) => link.name.starts_with(beginning),
            None => link.name == *text,
        }),
        Value::Array(values) => values.iter().any(|value| names_one(value, tunnels)),
        Value::Object(_) => names_one(&value["set"], tunnels),
        _ => false,
    }
}
