// SPDX-License-Identifier: GPL-2.0

//! `monitor`.

use serde::Serialize;

use super::Context;
use crate::cli;
use crate::nl;
use crate::nl::Event;
use crate::nl::EventKind;
use crate::nl::Monitor;
use crate::nl::Notice;
use crate::Error;

/// The `kind` of the record that stands where events are missing; the kernel has no such event.
const LOST: &str = "lost";

/// An event with what only the system can tell: indices mean nothing outside the namespace.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
}

#[derive(Serialize)]
struct Gap {
    kind: &'static str,
}

/// Ends with an error only: whoever has seen enough interrupts it or closes its output.
pub(super) fn run(context: &mut Context<'_>, what: &cli::Monitor) -> Result<(), Error> {
    check(&what.events)?;
    context.system.end_when_told();
    let mut monitor = context.system.connect()?.monitor()?;
    loop {
        match monitor.receive()? {
            Notice::Lost => lost(context, &monitor)?,
            Notice::Event(event) if is_wanted(&what.events, &event.kind) => {
                show(context, event, what.timestamps)?;
            }
            Notice::Event(_) => {}
        }
    }
}

fn show(context: &mut Context<'_>, event: Event, timestamps: bool) -> Result<(), Error> {
    let ifindex = event.ifindex;
    let dev = ifindex.and_then(|index| context.system.interface(index));
    let row = Row { event, dev };
    if context.options.is_json() {
        context.write_json(&row)?;
    } else {
        writeln!(context.out, "{}", line(&row, timestamps))?;
    }
    // Whoever reads it waits for it.
    Ok(context.out.flush()?)
}

/// What is missing may be that the module went, and came again.
fn lost(context: &mut Context<'_>, monitor: &Monitor) -> Result<(), Error> {
    context
        .system
        .warn("events were lost: the listener is too slow, or the kernel had no memory");
    if context.options.is_json() {
        context.write_json(&Gap { kind: LOST })?;
        context.out.flush()?;
    }
    if monitor.outlived(&context.system.connect()?) {
        return Err(nl::Error::FamilyGone.into());
    }
    Ok(())
}

/// Name and value by turns, so that nothing has to be counted.
fn line(row: &Row, timestamps: bool) -> String {
    let Row { event, dev } = row;
    let mut words = Vec::new();
    if let Some(us) = event.time_us.filter(|_| timestamps) {
        words.push(format!("[{}.{:06}]", us / 1_000_000, us % 1_000_000));
    }
    words.push(event.kind.to_string());
    let dev = dev.clone();
    let fields = [
        ("peer", event.peer.map(|peer| peer.to_string())),
        ("path", event.path.map(|path| path.to_string())),
        (
            "dev",
            // A name says more than an index.
            dev.or(event.ifindex.map(|index| format!("if{index}")))
                .filter(|_| event.interface.is_none()),
        ),
        ("local", event.local.map(|addr| addr.to_string())),
        ("remote", event.remote.map(|addr| addr.to_string())),
        ("interface", event.interface.clone()),
        ("used", event.used.map(|bytes| bytes.to_string())),
        ("budget", event.budget.map(|bytes| bytes.to_string())),
        ("addresses", event.addresses.map(|count| count.to_string())),
        ("reason", event.reason.map(|reason| reason.to_string())),
    ];
    for (name, value) in fields {
        words.extend(value.map(|value| format!("{name} {value}")));
    }
    words.join(" ")
}

/// True if `name` is an event, or what it is about.
fn selects(name: &str, event: &str) -> bool {
    match event.strip_prefix(name) {
        Some(rest) => !name.is_empty() && (rest.is_empty() || rest.starts_with('-')),
        None => false,
    }
}

fn is_wanted(names: &[String], kind: &EventKind) -> bool {
    let kind = kind.to_string();
    names.is_empty() || names.iter().any(|name| selects(name, &kind))
}

fn check(names: &[String]) -> Result<(), Error> {
    let all = EventKind::NAMES;
    match names
        .iter()
        .find(|name| !all.iter().any(|event| selects(name, event)))
    {
        Some(name) => Err(Error::Usage(format!(
            "monitor: no such event: \"{name}\"; there are peer, path, address, interface, {}",
            all.join(", ")
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_events() {
        for (name, event, selected) in [
            ("path", "path-down", true),
            ("path-down", "path-down", true),
            ("path", "peer-down", false),
            ("pa", "path-down", false),
            ("path-", "path-down", false),
            ("path-down-", "path-down", false),
            ("down", "path-down", false),
            ("", "path-down", false),
        ] {
            assert_eq!(selects(name, event), selected, "{name} {event}");
        }
        assert!(is_wanted(&[], &EventKind::Other(99)));
        assert!(!is_wanted(&["path".to_string()], &EventKind::Other(99)));
        assert!(!EventKind::NAMES.contains(&LOST));
    }
}
