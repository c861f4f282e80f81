// SPDX-License-Identifier: GPL-2.0

//! Events.

use std::net::IpAddr;

use super::record::record;
use super::EventKind;
use super::EventReason;
use super::NodeId;

record! {
    /// Something that happened to a peer, a path or the local addresses.
    pub struct Event: EVENT {
        /// What happened.
        kind: EventKind = EVENT_KIND,
        /// When it was noticed, microseconds of `CLOCK_MONOTONIC`.
        time_us: Option<u64> = EVENT_TIME_US,
        /// Node id of the peer.
        peer: Option<NodeId> = EVENT_PEER,
        /// Path id, unique on this node for the peer.
        path: Option<u8> = EVENT_PATH,
        /// Index of the interface that has the local address.
        ifindex: Option<u32> = EVENT_IFINDEX,
        /// Local address of the path.
        local: Option<IpAddr> = EVENT_LOCAL,
        /// Remote address of the path.
        remote: Option<IpAddr> = EVENT_REMOTE,
        /// Why it happened.
        reason: Option<EventReason> = EVENT_REASON,
        /// Number of usable local addresses after a change.
        addresses: Option<u32> = EVENT_ADDRESSES,
        /// Name of the interface that was demoted or promoted.
        interface: Option<String> = EVENT_INTERFACE,
        /// Bytes that it has carried in the period.
        used: Option<u64> = EVENT_USED,
        /// Bytes that it may carry in a period.
        budget: Option<u64> = EVENT_BUDGET,
    }
}
