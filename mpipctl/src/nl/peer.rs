// SPDX-License-Identifier: GPL-2.0

//! Peers and the node address table.

use super::record::record;
use super::Endpoint;
use super::NodeId;

record! {
    /// A peer with its known addresses.
    pub struct Peer: PEER by CMD_PEER_GET {
        /// Node id of the peer.
        id: NodeId = PEER_ID,
        /// Number of sessions with it.
        sessions: Option<u32> = PEER_SESSIONS,
        /// Number of paths to it.
        paths: Option<u32> = PEER_PATHS,
        /// The UDP port it reserves for paths of UDP sessions.
        udp_port: Option<u16> = PEER_UDP_PORT,
        /// Time since the keys were agreed, milliseconds.
        age_ms: Option<u64> = PEER_AGE_MS,
        /// Time since the last authentic message, milliseconds.
        idle_ms: Option<u64> = PEER_IDLE_MS,
        /// Its addresses (Table 3 of the paper).
        address: Vec<Endpoint> = PEER_ADDRESS,
    }
}
