// SPDX-License-Identifier: GPL-2.0

//! What interfaces do with packets before the module sees them, and after.

use super::facts::Facts;
use super::word;
use super::Finding;
use super::Outcome;
use crate::network::Network;

const CHECK: &str = "offload";

/// A feature that is not as it is to be.
struct Bad {
    /// As the kernel calls it, and as `ethtool -K` does.
    name: &'static str,
    short: &'static str,
    /// What it must not be.
    on: bool,
    /// Whether it matters for interfaces that have no hardware.
    virtual_too: bool,
    text: &'static str,
}

const BAD: &[Bad] = &[
    Bad {
        name: "rx-lro",
        short: "lro",
        on: true,
        virtual_too: true,
        text: "the card merges segments beyond recognition: wrapped packets are lost then",
    },
    Bad {
        name: "rx-gro-list",
        short: "rx-gro-list",
        on: true,
        virtual_too: true,
        text: "UDP datagrams are merged on receipt: those of wrapped paths, and small ones, come in twice, merged and apart",
    },
    Bad {
        name: "rx-udp-gro-forwarding",
        short: "rx-udp-gro-forwarding",
        on: true,
        virtual_too: true,
        text: "UDP datagrams without a socket are merged on receipt: on wrapped paths, and if small, they come in twice",
    },
    Bad {
        name: "rx-gro",
        short: "gro",
        on: false,
        virtual_too: false,
        text: "segments that belong together are not merged on receipt: each costs as much as all",
    },
    Bad {
        name: "tx-generic-segmentation",
        short: "gso",
        on: false,
        virtual_too: true,
        text: "TCP hands over each segment on its own: each costs as much as a burst",
    },
];

pub(super) fn check(facts: &Facts, network: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut looked_at = false;
    for (link, _) in facts.candidates(network) {
        let Some(features) = &link.features else {
            continue;
        };
        looked_at = true;
        for bad in BAD {
            let is_bad = features.iter().any(|name| name == bad.name) == bad.on;
            if !is_bad || (link.kind.is_some() && !bad.virtual_too) {
                continue;
            }
            let value = if bad.on { "off" } else { "on" };
            let fix = format!("ethtool -K {} {} {value}", word(&link.name), bad.short);
            let finding = Finding::new(Outcome::Warn, CHECK, bad.text);
            findings.push(finding.dev(&link.name).fix(fix));
        }
    }
    if findings.is_empty() && looked_at {
        let text = "nothing is merged that must not be, and bursts stay whole";
        findings.push(Finding::new(Outcome::Ok, CHECK, text));
    }
    findings
}
