// SPDX-License-Identifier: GPL-2.0

//! The protocol logic of MPIP as a host crate, so that it can be tested
//! without a kernel. The sources are those that the kernel module compiles.

#![warn(missing_docs)]

#[path = "../../proto/mod.rs"]
pub mod proto;
