// SPDX-License-Identifier: GPL-2.0

//! Tests of the protocol logic, one module for each of its nouns.

mod addr;
mod avail;
mod bits;
mod blackhole;
mod cm;
mod coalesce;
mod common;
mod credit;
mod crypto;
mod datagrams;
mod delay;
mod earliest;
mod hello;
mod interface;
mod kept;
mod loss;
mod mtu;
mod option;
mod packet;
mod path;
mod policy;
mod rate;
mod reorder;
mod reorder_any;
mod replay;
mod seq;
mod session;
mod stamps;
mod surplus;
mod tables;
mod weighted;
mod wrap;
