// SPDX-License-Identifier: GPL-2.0

//! The instance of a network namespace.

use super::record::record;
use super::NodeId;

record! {
    /// One network namespace's instance.
    pub struct Node: NODE {
        /// Version of the module.
        version: Option<String> = NODE_VERSION,
        /// True when the instance works in this namespace.
        enabled: bool = NODE_ENABLED,
        /// Node id, chosen when the instance was enabled.
        id: Option<NodeId> = NODE_ID,
        /// Number of peers.
        peers: Option<u32> = NODE_PEERS,
        /// Number of sessions.
        sessions: Option<u32> = NODE_SESSIONS,
        /// Number of paths.
        paths: Option<u32> = NODE_PATHS,
        /// Number of paths that carry data.
        active_paths: Option<u32> = NODE_ACTIVE_PATHS,
        /// The UDP port reserved for paths of UDP sessions.
        udp_port: Option<u16> = NODE_UDP_PORT,
        /// True when there is a pre-shared key.
        has_psk: Option<bool> = NODE_HAS_PSK,
    }
}
