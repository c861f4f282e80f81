// SPDX-License-Identifier: GPL-2.0

//! Paths.

use std::net::IpAddr;

use super::attr::Request;
use super::record::record;
use super::uapi;
use super::EventReason;
use super::LaneReason;
use super::NodeId;
use super::PathState;
use super::PathWay;
use super::PathWish;
use super::Protocol;

record! {
    /// A pair of a local and a remote address of a peer.
    pub struct Path: PATH by CMD_PATH_GET {
        /// Path id, unique on this node for the peer.
        id: u8 = PATH_ID,
        /// Node id of the peer.
        peer: NodeId = PATH_PEER,
        /// Index of the local interface.
        ifindex: Option<u32> = PATH_IFINDEX,
        /// Local address.
        local: Option<IpAddr> = PATH_LOCAL,
        /// Remote address.
        remote: Option<IpAddr> = PATH_REMOTE,
        /// State.
        state: Option<PathState> = PATH_STATE,
        /// The weight a new session starts with, 1 to 1000; if one was set, that of all.
        weight: Option<u32> = PATH_WEIGHT,
        /// Smoothed one-way delay to the peer, microseconds. The clocks' offset is in it, the
        /// same for all paths of a peer.
        delay_us: Option<i32> = PATH_DELAY_US,
        /// Minimum of the one-way delay, with the same offset.
        min_delay_us: Option<i32> = PATH_MIN_DELAY_US,
        /// Queueing delay now, microseconds.
        queue_us: Option<u32> = PATH_QUEUE_US,
        /// Maximum queueing delay, microseconds.
        max_queue_us: Option<u32> = PATH_MAX_QUEUE_US,
        /// Smoothed round-trip time, microseconds; 0 before the first.
        srtt_us: Option<u32> = PATH_SRTT_US,
        /// Path MTU, bytes.
        mtu: Option<u32> = PATH_MTU,
        /// Packets sent.
        tx_packets: Option<u64> = PATH_TX_PACKETS,
        /// Bytes sent.
        tx_bytes: Option<u64> = PATH_TX_BYTES,
        /// Packets received.
        rx_packets: Option<u64> = PATH_RX_PACKETS,
        /// Bytes received.
        rx_bytes: Option<u64> = PATH_RX_BYTES,
        /// Packets the peer reports to have received on the path.
        peer_rx_packets: Option<u64> = PATH_PEER_RX_PACKETS,
        /// Bytes the peer reports to have received on the path.
        peer_rx_bytes: Option<u64> = PATH_PEER_RX_BYTES,
        /// Packets sent and not received, from the peer's reports.
        lost: Option<u64> = PATH_LOST,
        /// Smoothed one-way delay from the peer, with the clocks' offset.
        rx_delay_us: Option<i32> = PATH_RX_DELAY_US,
        /// How packets got through last.
        way: Option<PathWay> = PATH_WAY,
        /// Where the peer sees this node, if there is a NAT.
        observed: Option<IpAddr> = PATH_OBSERVED,
        /// Why the path is not active.
        reason: Option<EventReason> = PATH_REASON,
        /// Why the path is used only when nothing else works.
        unused: Option<LaneReason> = PATH_UNUSED,
        /// The weight that was set, which the scheduler `weighted` uses in place of what it learns.
        set_weight: Option<u32> = PATH_SET_WEIGHT,
        /// What was set to be done with it; `None` for [`PathWish::Active`].
        set_state: Option<PathWish> = PATH_SET_STATE,
        /// What the path carries towards the peer, bytes per second; `None` while unknown.
        rate: Option<u32> = PATH_RATE,
        /// How long the queue was when packets got lost in it lately, microseconds; `None` if
        /// none did.
        queue_limit_us: Option<u32> = PATH_QUEUE_LIMIT_US,
        /// The part of late questions that got no answer, in thousandths.
        unanswered: Option<u32> = PATH_UNANSWERED,
        /// The port that came with the address in `observed`.
        observed_port: Option<u16> = PATH_OBSERVED_PORT,
        /// The port of this node that was observed as that one.
        local_port: Option<u16> = PATH_LOCAL_PORT,
        /// The protocol of that port.
        local_protocol: Option<Protocol> = PATH_LOCAL_PROTOCOL,
    }
}

/// What is to be changed of a path; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathChange {
    /// Path id.
    pub id: u8,
    /// Whose path it is, if several peers have one with this id.
    pub peer: Option<NodeId>,
    /// The weight, [`PathChange::WEIGHTS`]; 0 for what is learnt.
    pub weight: Option<u32>,
    /// What is to be done with it.
    pub state: Option<PathWish>,
}

impl PathChange {
    /// What a weight may be set to.
    pub const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=1000;

    pub(super) fn request(&self) -> Request {
        let mut request = Request::new(uapi::CMD_PATH_SET).u8(uapi::PATH_ID, self.id);
        if let Some(peer) = self.peer {
            request = request.u64(uapi::PATH_PEER, peer.0);
        }
        if let Some(weight) = self.weight {
            request = request.u32(uapi::PATH_SET_WEIGHT, weight);
        }
        match self.state {
            Some(state) => request.u32(uapi::PATH_SET_STATE, state.into()),
            None => request,
        }
    }
}
