// SPDX-License-Identifier: GPL-2.0

//! `stats`.

use super::Context;
use crate::cli::Stats;
use crate::nl::Counter;
use crate::nl::Interface;
use crate::nl::InterfaceRole;
use crate::nl::Node;
use crate::nl::Path;
use crate::nl::PathState;
use crate::out::json;
use crate::out::prometheus::Kind;
use crate::out::prometheus::Metrics;
use crate::out::text::Table;
use crate::Error;

pub(super) fn show(context: &mut Context<'_>, how: &Stats) -> Result<(), Error> {
    if how.prometheus {
        return prometheus(context);
    }
    let counters: Vec<Counter> = context.list()?;
    if context.options.is_json() {
        let members = counters.iter().map(|c| (c.name.replace('-', "_"), c.value));
        return context.write_json(&json::Object(members));
    }
    let mut table = Table::new(vec!["NAME", "VALUE"]);
    for counter in counters {
        table.row(vec![counter.name, counter.value.to_string()], Vec::new());
    }
    context.write_table(&table)
}

/// All numbers there are, in the units that Prometheus wants: seconds and bytes.
fn prometheus(context: &mut Context<'_>) -> Result<(), Error> {
    if context.options.is_json() {
        let text = "--prometheus: a format of its own; leave out -j and -p";
        return Err(Error::Usage(text.to_string()));
    }
    let node = context.client()?.status()?;
    let counters: Vec<Counter> = context.list()?;
    let interfaces: Vec<Interface> = context.list()?;
    let paths: Vec<Path> = match context.options.details {
        true => context.list()?,
        false => Vec::new(),
    };
    let mut metrics = Metrics::new("mpip", &[("netns", &context.system.namespace())]);
    add_node(&mut metrics, &node);
    for counter in &counters {
        let help = format!("Counter {} of the instance.", counter.name);
        let name = format!("{}_total", counter.name);
        metrics.add(Kind::Counter, &name, &help, &[], counter.value);
    }
    for interface in &interfaces {
        add_interface(&mut metrics, interface);
    }
    for path in &paths {
        let index = path.ifindex.filter(|index| *index != 0);
        let dev = index.and_then(|index| context.system.interface(index));
        add_path(&mut metrics, path, dev);
    }
    Ok(metrics.write(context.out)?)
}

fn add_node(metrics: &mut Metrics, node: &Node) {
    let version = node.version.as_deref().unwrap_or_default();
    let labels = [("version", version)];
    metrics.add(Kind::Gauge, "info", "The module.", &labels, 1);
    let enabled = u8::from(node.enabled);
    for (name, help, value) in [
        ("enabled", "1 if the instance is on.", Some(enabled.into())),
        ("peers", "Peers.", node.peers),
        ("sessions", "Sessions.", node.sessions),
        ("paths", "Paths.", node.paths),
        ("paths_active", "Paths that carry data.", node.active_paths),
    ] {
        metrics.add(Kind::Gauge, name, help, &[], value.unwrap_or(0));
    }
}

fn add_interface(metrics: &mut Metrics, interface: &Interface) {
    let labels = [("dev", interface.name.as_str())];
    let is = |roles: &[InterfaceRole]| interface.role.map(|role| roles.contains(&role).into());
    let waits = [
        InterfaceRole::Backup,
        InterfaceRole::Budget,
        InterfaceRole::Energy,
    ];
    let budget = interface.budget.filter(|bytes| *bytes != 0);
    for (name, help, value) in [
        (
            "present",
            "1 if the interface is there.",
            Some(interface.ifindex.is_some().into()),
        ),
        (
            "backup",
            "1 if the interface is used only when nothing else works, for whatever reason.",
            is(&waits),
        ),
        (
            "over_budget",
            "1 if that is because its budget is used up.",
            is(&[InterfaceRole::Budget]),
        ),
        (
            "excluded",
            "1 if the interface is not used for added paths.",
            is(&[InterfaceRole::Excluded]),
        ),
        (
            "cost",
            "Cost of the interface, which rules may limit.",
            interface.cost.map(u64::from),
        ),
        (
            "budget_bytes",
            "Bytes that the interface may carry in a period.",
            budget,
        ),
        (
            "used_bytes",
            "Bytes that the interface has carried in the present period.",
            budget.and(interface.used),
        ),
    ] {
        if let Some(value) = value {
            let name = format!("interface_{name}");
            metrics.add(Kind::Gauge, &name, help, &labels, value);
        }
    }
    if let Some(ms) = budget.and(interface.left_ms) {
        let (name, help) = (
            "interface_period_left_seconds",
            "Time until the next period begins.",
        );
        metrics.add(Kind::Gauge, name, help, &labels, ms as f64 / 1e3);
    }
}

fn add_path(metrics: &mut Metrics, path: &Path, dev: Option<String>) {
    let id = path.id.to_string();
    let peer = path.peer.to_string();
    let [local, remote] =
        [path.local, path.remote].map(|a| a.map(|a| a.to_string()).unwrap_or_default());
    let labels = [
        ("peer", peer.as_str()),
        ("path", &id),
        ("dev", dev.as_deref().unwrap_or_default()),
        ("local", &local),
        ("remote", &remote),
    ];
    for (name, help, value) in [
        ("sent_bytes", "Bytes sent on the path.", path.tx_bytes),
        (
            "received_bytes",
            "Bytes received on the path.",
            path.rx_bytes,
        ),
        ("sent_packets", "Packets sent on the path.", path.tx_packets),
        (
            "received_packets",
            "Packets received on the path.",
            path.rx_packets,
        ),
        ("lost_packets", "Packets lost on the path.", path.lost),
    ] {
        let name = format!("path_{name}_total");
        if let Some(value) = value {
            metrics.add(Kind::Counter, &name, help, &labels, value);
        }
    }
    let active = path
        .state
        .map(|state| u64::from(state == PathState::Active));
    let weight = path.weight.map(u64::from);
    for (name, help, value) in [
        ("path_active", "1 if the path carries data.", active),
        ("path_weight", "Weight of the path, in thousandths.", weight),
        (
            "path_capacity_bytes_per_second",
            "What the path carries, as far as this is known.",
            path.rate.map(u64::from),
        ),
    ] {
        if let Some(value) = value {
            metrics.add(Kind::Gauge, name, help, &labels, value);
        }
    }
    let srtt = path.srtt_us.filter(|us| *us != 0);
    for (name, help, us) in [
        (
            "path_rtt_seconds",
            "Smoothed round-trip time of the path.",
            srtt.map(f64::from),
        ),
        (
            "path_queue_seconds",
            "Queueing delay of the path.",
            path.queue_us.map(f64::from),
        ),
    ] {
        if let Some(us) = us {
            metrics.add(Kind::Gauge, name, help, &labels, us / 1e6);
        }
    }
}
