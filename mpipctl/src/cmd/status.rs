// SPDX-License-Identifier: GPL-2.0

//! `status`.

use serde::Serialize;

use super::Context;
use crate::nl::Node;
use crate::out::color;
use crate::out::text::or_none;
use crate::Error;

#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    node: &'a Node,
    netns: &'a str,
}

pub(super) fn show(context: &mut Context<'_>) -> Result<(), Error> {
    let node = &context.client()?.status()?;
    let netns = &context.system.namespace();
    if context.options.is_json() {
        return context.write_json(&Status { node, netns });
    }
    writeln!(
        context.out,
        "{}",
        line(node, netns, context.options.details, context.color())
    )?;
    Ok(())
}

pub(super) fn line(node: &Node, netns: &str, details: bool, color: bool) -> String {
    let version = or_none(node.version.as_ref());
    let state = if node.enabled { "enabled" } else { "disabled" };
    let state = color::paint(if color { color::of_state(state) } else { "" }, state);
    let mut line = format!(
        "mpip {version} {state}  netns {netns}  peers {}  sessions {}  paths {} ({} active)",
        node.peers.unwrap_or(0),
        node.sessions.unwrap_or(0),
        node.paths.unwrap_or(0),
        node.active_paths.unwrap_or(0),
    );
    if details {
        let id = node.id.filter(|id| id.is_known());
        let port = node.udp_port.filter(|port| *port != 0);
        line += &format!("  id {}  udp-port {}", or_none(id), or_none(port));
    }
    line
}
