// SPDX-License-Identifier: GPL-2.0

//! The protocol logic of MPIP.
//!
//! Nothing in here knows of the kernel: `core` only, no clock, no randomness
//! and no allocation of its own. Callers pass in the time, random numbers and
//! storage. The kernel module and the host tests compile these same sources.
//!
//! Conventions: times are microseconds modulo 2^32 in a `u32` unless a name
//! ends in `_ms`; every operation on sequence numbers, times and counters
//! wraps or saturates explicitly; everything that comes from the peer is
//! `Option`ally parsed and never indexed.

#![forbid(unsafe_code)]

pub mod addr;
pub mod avail;
pub mod bits;
pub mod blackhole;
pub mod coalesce;
pub mod counters;
pub mod credit;
pub mod crypto;
pub mod datagrams;
pub mod delay;
pub mod earliest;
pub mod hello;
pub mod interface;
pub mod kept;
pub mod loss;
pub mod mtu;
pub mod packet;
pub mod params;
pub mod path;
pub mod policy;
pub mod rate;
pub mod reorder;
pub mod replay;
pub mod seq;
pub mod session;
pub mod stamps;
pub mod weighted;
pub mod wire;
pub mod wrap;
