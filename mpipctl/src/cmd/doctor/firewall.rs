// SPDX-License-Identifier: GPL-2.0

//! Rules of nftables that are in the way.
//!
//! MPIP takes its packets after the raw table, before connection tracking and filters see them, and
//! gives them what the sockets know, so that later chains need no rule for it. Only what comes
//! earlier meets wrapped packets: chains at ingress, and those of the raw table at prerouting. The
//! interface remains the one on which a packet came, though, so that a later rule which looks for
//! the way back to the session's sender there finds none. An earlier one sees what was on the wire.

use std::io::ErrorKind;

use serde_json::Value;

use super::facts::Facts;
use super::word;
use super::Finding;
use super::Outcome;

const CHECK: &str = "firewall";
/// The priority of the module's own hook at prerouting.
const OWN_PRIORITY: i64 = -250;

/// A chain, and the objects of the rules in it.
pub(super) struct Chain<'a> {
    family: &'a str,
    table: &'a str,
    name: &'a str,
    pub(super) hook: Option<&'a str>,
    priority: i64,
    pub(super) drops: bool,
    pub(super) rules: Vec<&'a Value>,
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let port = facts.node.as_ref().ok().and_then(|node| node.udp_port);
    let ruleset = match &facts.ruleset {
        Ok(ruleset) => ruleset,
        // Without the tool there are hardly any rules of its kind.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = "not looked at: there is no nft here";
            return vec![Finding::new(Outcome::Ok, CHECK, text)];
        }
        Err(error) => {
            let text = format!("not looked at, nft does not tell: {error}");
            return vec![Finding::new(Outcome::Warn, CHECK, text)];
        }
    };
    let chains = chains(ruleset);
    let mut findings = Vec::new();
    for chain in &chains {
        findings.extend(closed(chain, port.filter(|port| *port != 0)));
        let several = facts
            .network
            .as_ref()
            .is_ok_and(|n| facts.candidates(n).len() > 1);
        if !is_early(chain) {
            let rules = chain.rules.iter().filter(|rule| is_way_back(rule));
            findings.extend(rules.map(|rule| way_back(chain, rule, several)));
        }
        if !facts.liberal {
            findings.extend(chain.rules.iter().filter_map(|rule| strict(chain, rule)));
        }
    }
    if findings.is_empty() {
        let text = match chains.len() {
            0 => "no rules".to_string(),
            1 => "1 chain, and nothing in the way".to_string(),
            count => format!("{count} chains, and nothing in the way"),
        };
        findings.push(Finding::new(Outcome::Ok, CHECK, text));
    }
    findings
}

pub(super) fn chains(ruleset: &Value) -> Vec<Chain<'_>> {
    let objects = ruleset["nftables"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut chains: Vec<Chain<'_>> = Vec::new();
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        chains.push(Chain {
            family: text(chain, "family"),
            table: text(chain, "table"),
            name: text(chain, "name"),
            hook: chain["hook"].as_str(),
            priority: chain["prio"].as_i64().unwrap_or_default(),
            drops: chain["policy"] == "drop",
            rules: Vec::new(),
        });
    }
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let place = (
            text(rule, "family"),
            text(rule, "table"),
            text(rule, "chain"),
        );
        let mut of = chains.iter_mut();
        if let Some(chain) = of.find(|c| (c.family, c.table, c.name) == place) {
            chain.rules.push(rule);
        }
    }
    chains
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A rule that drops what connection tracking calls invalid.
fn strict(chain: &Chain<'_>, rule: &Value) -> Option<Finding> {
    if !matches!(chain.family, "ip" | "ip6" | "inet") {
        return None;
    }
    let mut parts = expressions(rule).iter();
    let drops = verdict(rule) == Some(false);
    let names = |value: &Value| mentions(value, "invalid");
    let found = parts.any(|part| {
        let by_match = part.get("match").is_some_and(|m| {
            drops && m["left"]["ct"]["key"] == "state" && m["op"] != "!=" && names(&m["right"])
        });
        let by_map = part.get("vmap").is_some_and(|map| {
            map["key"]["ct"]["key"] == "state"
                && map["data"]["set"].as_array().is_some_and(|pairs| {
                    let mut pairs = pairs.iter();
                    pairs.any(|pair| names(&pair[0]) && pair[1].get("drop").is_some())
                })
        });
        by_match || by_map
    });
    let text = format!(
        "{} drops what connection tracking calls invalid, which may hit TCP that comes late on a slow path",
        place(chain)
    );
    found.then(|| {
        Finding::new(Outcome::Warn, CHECK, text)
            .fix("sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1")
    })
}

/// True for a strict reverse-path filter made of rules: it drops what came on another interface
/// than the one of the route back.
fn is_way_back(rule: &Value) -> bool {
    let mut matches = expressions(rule)
        .iter()
        .filter_map(|part| part.get("match"));
    verdict(rule) == Some(false)
        && matches.any(|m| {
            let fib = &m["left"]["fib"];
            let asks = |flag| mentions(&fib["flags"], flag);
            // What is missing is false, in some versions 0.
            let is_missing = m["right"] == false || m["right"] == 0;
            fib["result"] == "oif" && asks("saddr") && asks("iif") && is_missing && m["op"] != "!="
        })
}

fn way_back(chain: &Chain<'_>, rule: &Value, several: bool) -> Finding {
    let outcome = if several {
        Outcome::Fail
    } else {
        Outcome::Warn
    };
    let text = format!(
        "{} drops what came on another interface than the route back takes: all that added paths carry",
        place(chain)
    );
    let fix = if chain.table == "firewalld" {
        "sed -i 's/^IPv6_rpfilter=.*/IPv6_rpfilter=no/' /etc/firewalld/firewalld.conf && \
         firewall-cmd --reload"
            .to_string()
    } else {
        let handle = rule["handle"].as_u64().unwrap_or_default();
        format!("nft delete rule {} handle {handle}", words(chain))
    };
    Finding::new(outcome, CHECK, text).fix(fix)
}

/// True for a chain that is asked before MPIP. Which of two with the same priority comes first
/// depends on which was there first: such a chain counts as a later one.
fn is_early(chain: &Chain<'_>) -> bool {
    match chain.hook {
        Some("ingress") => true,
        Some("prerouting") => chain.priority < OWN_PRIORITY,
        _ => false,
    }
}

/// A chain that is asked before MPIP and lets nothing through to the port of wrapped packets.
fn closed(chain: &Chain<'_>, port: Option<u16>) -> Option<Finding> {
    let port = port?;
    if !is_early(chain) {
        return None;
    }
    // The first rule that decides about the port, else the policy.
    let mut rules = chain.rules.iter().filter(|rule| concerns(rule, port));
    let passes = rules.find_map(|rule| verdict(rule)).unwrap_or(!chain.drops);
    if passes {
        return None;
    }
    let text = format!(
        "{} comes before MPIP and drops UDP port {port}, which carries wrapped paths",
        place(chain)
    );
    let fix = format!("nft insert rule {} udp dport {port} accept", words(chain));
    Some(Finding::new(Outcome::Fail, CHECK, text).fix(fix))
}

pub(super) fn place(chain: &Chain<'_>) -> String {
    format!("chain {} {} {}", chain.family, chain.table, chain.name)
}

/// The same for a command.
fn words(chain: &Chain<'_>) -> String {
    [chain.family, chain.table, chain.name].map(word).join(" ")
}

pub(super) fn expressions(rule: &Value) -> &[Value] {
    rule["expr"].as_array().map_or(&[], Vec::as_slice)
}

/// True for accept, false for drop and reject, nothing for all else.
pub(super) fn verdict(rule: &Value) -> Option<bool> {
    expressions(rule).iter().find_map(|part| {
        let has = |name| part.get(name).is_some();
        match (has("accept"), has("drop") || has("reject")) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    })
}

/// True if a rule is about all UDP packets to the port: it looks at protocol and port only.
fn concerns(rule: &Value, port: u16) -> bool {
    let mut matches = expressions(rule)
        .iter()
        .filter_map(|part| part.get("match"));
    matches.all(|m| {
        let (left, right) = (&m["left"], &m["right"]);
        let is_negated = m["op"] == "!=";
        let payload = &left["payload"];
        let is_protocol = left["meta"]["key"] == "l4proto" || payload["field"] == "protocol";
        let is_port = payload["field"] == "dport"
            && matches!(payload["protocol"].as_str(), Some("udp" | "th"));
        let hit = if is_protocol {
            mentions(right, "udp") || mentions_number(right, 17)
        } else if is_port {
            mentions_number(right, port.into())
        } else {
            return false;
        };
        hit != is_negated
    })
}

/// True if a value is this word, or a set with it.
pub(super) fn mentions(value: &Value, word: &str) -> bool {
    match value {
        Value::String(text) => text == word,
        Value::Array(values) => values.iter().any(|value| mentions(value, word)),
        Value::Object(_) => mentions(&value["set"], word),
        _ => false,
    }
}

/// The same for a number, which may be in a range.
fn mentions_number(value: &Value, number: u64) -> bool {
    match value {
        Value::Number(n) => n.as_u64() == Some(number),
        Value::Array(values) => values.iter().any(|value| mentions_number(value, number)),
        Value::Object(map) => match map.get("range").and_then(Value::as_array) {
            Some(ends) => {
                let end = |i: usize| ends.get(i).and_then(Value::as_u64);
                end(0).is_some_and(|low| low <= number) && end(1).is_some_and(|high| number <= high)
            }
            None => map
                .get("set")
                .is_some_and(|set| mentions_number(set, number)),
        },
        _ => false,
    }
}
