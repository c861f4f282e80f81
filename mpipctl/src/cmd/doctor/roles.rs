// SPDX-License-Identifier: GPL-2.0

//! What is wanted of interfaces and paths, where that is why they carry little or nothing, or is in
//! vain.

use super::facts::Facts;
use super::word;
use super::Finding;
use super::Outcome;
use crate::cmd::interface::bytes;
use crate::cmd::interface::size;
use crate::network::Network;
use crate::nl::Interface;
use crate::nl::InterfaceRole;
use crate::nl::Interfaces;
use crate::nl::Names;
use crate::nl::Path;
use crate::nl::PathState;
use crate::out::text::milliseconds;

const CHECK: &str = "use";

pub(super) fn check(facts: &Facts, network: &Network) -> Vec<Finding> {
    let left = facts.candidates(network).len();
    let all = network.candidates();
    let found = all.iter().filter_map(|(link, _)| {
        let interface = facts.interface(link.index)?;
        match interface.role? {
            InterfaceRole::Excluded => Some(left_out(interface, left)),
            role => in_reserve(interface, role),
        }
    });
    found.collect()
}

/// Paths that were disabled, each of which is missed if nothing else leads to its peer.
pub(super) fn paths(facts: &Facts, network: &Network) -> Vec<Finding> {
    let all = &facts.told.paths;
    let disabled = |path: &&Path| path.state == Some(PathState::Disabled);
    let found = all.iter().filter(disabled).map(|path| {
        let (id, peer) = (path.id, path.peer);
        let others = all.iter().any(|other| {
            let works = matches!(other.state, Some(PathState::Active | PathState::Standby));
            other.peer == peer && works
        });
        let text = format!("path {id} to peer {peer} is disabled: it carries nothing");
        let finding = match others {
            true => Finding::new(Outcome::Ok, CHECK, text),
            false => Finding::new(
                Outcome::Warn,
                CHECK,
                format!("{text} but what has no other path, and no other works"),
            )
            .fix(format!("mpipctl path set {id} state active peer {peer}")),
        };
        match path.ifindex.and_then(|index| network.link(index)) {
            Some(link) => finding.dev(&link.name),
            None => finding,
        }
    });
    found.collect()
}

/// Control groups and interfaces of rules that are not there. One that a rule knows by number has another if it comes
/// again.
pub(super) fn rules(facts: &Facts, network: &Network) -> Vec<Finding> {
    let gone = facts.told.rules.iter().filter_map(|rule| {
        let number = rule.number?;
        let path = facts.groups.get(&rule.cgroup?)?;
        let text = format!(
            "rule {number} is for a control group that has gone: one that comes again, when its \
             service starts, is another"
        );
        let fix = format!("mpipctl rule change {number} cgroup PATH");
        path.is_none()
            .then(|| Finding::new(Outcome::Warn, "rule", text).fix(fix))
    });
    let found = facts.told.rules.iter().filter_map(|rule| {
        let number = rule.number?;
        if let Some(Names(names)) = &rule.dev {
            let is_there = |name: &String| network.links.iter().any(|link| link.name == *name);
            let absent = names.iter().filter(|name| !is_there(name));
            let absent: Vec<String> = absent.map(|name| word(name)).collect();
            let text = format!(
                "rule {number} names {}: it counts when there is such an interface",
                absent.join(" and ")
            );
            return (!absent.is_empty()).then(|| Finding::new(Outcome::Ok, "rule", text));
        }
        let Interfaces(list) = rule.interfaces.as_ref()?;
        let name = |index: &u32| network.link(*index).map(|link| word(&link.name));
        let there: Vec<String> = list.iter().filter_map(name).collect();
        let gone = list.iter().filter(|index| name(index).is_none());
        let gone: Vec<String> = gone.map(|index| format!("if{index}")).collect();
        if gone.is_empty() {
            return None;
        }
        let text = format!(
            "rule {number} names {}, gone by now: an interface that comes again has another number",
            gone.join(" and ")
        );
        let dev = [there, vec!["DEV".to_string()]].concat().join(",");
        let fix = format!("mpipctl rule change {number} dev {dev}");
        Some(Finding::new(Outcome::Warn, "rule", text).fix(fix))
    });
    gone.chain(found).collect()
}

/// Why it carries nothing while another one works. What its owner wants is all well.
fn in_reserve(interface: &Interface, role: InterfaceRole) -> Option<Finding> {
    let well = |text: &str| Finding::new(Outcome::Ok, CHECK, text);
    let finding = match role {
        InterfaceRole::Backup => well("a backup: carries nothing while another interface works"),
        InterfaceRole::Energy => well(
            "carries nothing for now: to save energy, another interface does that has more bits \
             per joule",
        ),
        InterfaceRole::Budget => {
            let budget = interface.budget.map_or_else(String::new, bytes);
            let used = interface.used.map_or_else(String::new, size);
            let left = interface.left_ms.map_or_else(String::new, |ms| {
                format!("; the next period begins in {}", milliseconds(ms))
            });
            let text = format!(
                "carries nothing while another interface works: its budget of {budget} is used up \
                 ({used}){left}"
            );
            let fix = format!(
                "mpipctl interface set {} budget BYTES",
                word(&interface.name)
            );
            Finding::new(Outcome::Warn, CHECK, text).fix(fix)
        }
        _ => return None,
    };
    Some(finding.dev(&interface.name))
}

/// An interface at which nothing else is looked. It is missed if only so few are left.
fn left_out(interface: &Interface, left: usize) -> Finding {
    let text = match interface.excluded {
        Some(true) => "excluded: it gets no added paths",
        _ => "not enrolled, and only enrolled interfaces get added paths",
    };
    let finding = match left {
        0 | 1 => Finding::new(Outcome::Warn, CHECK, text).fix(including(interface)),
        _ => Finding::new(Outcome::Ok, CHECK, text),
    };
    finding.dev(&interface.name)
}

/// The command that has it used again.
pub(super) fn including(interface: &Interface) -> String {
    let setting = match interface.excluded {
        Some(true) => "exclude off",
        _ => "enrol on",
    };
    format!("mpipctl interface set {} {setting}", word(&interface.name))
}
