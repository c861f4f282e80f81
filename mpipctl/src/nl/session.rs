// SPDX-License-Identifier: GPL-2.0

//! Sessions and their lanes.

use super::record::record;
use super::Endpoint;
use super::LaneReason;
use super::NodeId;
use super::PathState;
use super::Protocol;
use super::SessionState;

record! {
    /// A session (Table 4 of the paper).
    pub struct Session: SESSION by CMD_SESSION_GET {
        /// Session id.
        id: u32 = SESSION_ID,
        /// Node id of the peer; 0 before the keys are agreed.
        peer: Option<NodeId> = SESSION_PEER,
        /// TCP or UDP.
        protocol: Option<Protocol> = SESSION_PROTOCOL,
        /// This end as the application sees it.
        local: Option<Endpoint> = SESSION_LOCAL,
        /// The other end as the application sees it.
        remote: Option<Endpoint> = SESSION_REMOTE,
        /// State.
        state: Option<SessionState> = SESSION_STATE,
        /// True when this end opened the session.
        initiator: Option<bool> = SESSION_INITIATOR,
        /// Next TCP sequence number expected in order; 0 for UDP.
        next_seq: Option<u32> = SESSION_NEXT_SEQ,
        /// Time since the session was made, milliseconds.
        age_ms: Option<u64> = SESSION_AGE_MS,
        /// Time since the last packet, milliseconds.
        idle_ms: Option<u64> = SESSION_IDLE_MS,
        /// Packets in the reordering buffer.
        held: Option<u32> = SESSION_HELD,
        /// Bytes in the reordering buffer.
        held_bytes: Option<u32> = SESSION_HELD_BYTES,
        /// Its use of paths (Table 5 of the paper).
        lane: Vec<Lane> = SESSION_LANE,
        /// Numbers of the rules that may decide over its packets, in their order.
        rule: Vec<u32> = SESSION_RULE,
    }
}

record! {
    /// A session's use of one path: its tuple on the wire.
    pub struct Lane: nested LANE {
        /// Id of the path, unique on this node for the peer.
        path: u8 = LANE_PATH,
        /// True when the tuple on the wire equals the session's own.
        original: Option<bool> = LANE_ORIGINAL,
        /// This end on the wire.
        local: Option<Endpoint> = LANE_LOCAL,
        /// The other end on the wire.
        remote: Option<Endpoint> = LANE_REMOTE,
        /// State.
        state: Option<PathState> = LANE_STATE,
        /// 1 to 1000 (Algorithm 1 of the paper).
        weight: Option<u32> = LANE_WEIGHT,
        /// Packets sent.
        tx_packets: Option<u64> = LANE_TX_PACKETS,
        /// Bytes sent.
        tx_bytes: Option<u64> = LANE_TX_BYTES,
        /// Packets received.
        rx_packets: Option<u64> = LANE_RX_PACKETS,
        /// Bytes received.
        rx_bytes: Option<u64> = LANE_RX_BYTES,
        /// Why it carries no data although it is active.
        unused: Option<LaneReason> = LANE_UNUSED,
    }
}
