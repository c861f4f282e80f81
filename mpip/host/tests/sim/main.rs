// SPDX-License-Identifier: GPL-2.0

//! Two nodes, links between them and a virtual clock: the protocol logic as the kernel module
//! drives it, with real packets on simulated links.

#[path = "../proto/common.rs"]
#[allow(dead_code)]
mod common;

mod app;
mod link;
mod node;
mod wire;
mod world;

mod scene;

mod arrival;
mod clock;
mod failure;
mod handshake;
mod hostile;
mod lanes;
mod plain;
mod schedule;
