// SPDX-License-Identifier: GPL-2.0

//! The availability table.

use std::net::IpAddr;

use super::record::record;
use super::Availability;
use super::Protocol;

record! {
    /// What is known of one destination (Table 2 of the paper).
    pub struct Avail: AVAIL by CMD_AVAIL_GET {
        /// Address of the destination.
        addr: IpAddr = AVAIL_ADDR,
        /// Port of the destination.
        port: Option<u16> = AVAIL_PORT,
        /// TCP or UDP.
        protocol: Option<Protocol> = AVAIL_PROTOCOL,
        /// Whether it speaks MPIP.
        availability: Option<Availability> = AVAIL_AVAILABILITY,
        /// How often it was asked.
        queries: Option<u32> = AVAIL_QUERIES,
        /// Time since the last change, milliseconds.
        age_ms: Option<u64> = AVAIL_AGE_MS,
    }
}
