// SPDX-License-Identifier: GPL-2.0

//! Looks at an invented kernel, for tests.

use std::time::Duration;

use super::state::Snapshot;
use super::state::Top;
use crate::cli::Column;
use crate::nl::Endpoint;
use crate::nl::Lane;
use crate::nl::Node;
use crate::nl::NodeId;
use crate::nl::Path;
use crate::nl::PathState;
use crate::nl::Protocol;
use crate::nl::Session;
use crate::nl::SessionState;

const PEER: NodeId = NodeId(0xfedc_ba98_7654_3210);

pub(super) fn top() -> Top {
    Top::new("blue".to_string(), Duration::from_secs(1), Column::Tx, "")
}

/// The first path sends 40 Mbit/s, each further one less; the later a session the busier.
pub(super) fn look(second: u64, paths: u8, sessions: u32) -> Snapshot {
    Snapshot {
        at: Duration::from_secs(1000 + second),
        node: Node {
            version: Some("0.1.0".to_string()),
            enabled: true,
            id: None,
            peers: Some(1),
            sessions: Some(sessions),
            paths: Some(paths.into()),
            active_paths: Some(paths.into()),
            udp_port: Some(29170),
            has_psk: Some(false),
        },
        paths: (0..paths).map(|id| path(second, id)).collect(),
        sessions: (0..sessions).map(|n| session(second, n)).collect(),
    }
}

fn path(second: u64, id: u8) -> (Path, Option<String>) {
    let slower = u64::from(id) + 1;
    let path = Path {
        id,
        peer: PEER,
        ifindex: Some(2 + u32::from(id)),
        local: Some([10, 0, id, 1].into()),
        remote: Some([10, 0, id, 2].into()),
        state: Some(PathState::Active),
        weight: Some(1000 / u32::from(id + 1)),
        delay_us: None,
        min_delay_us: None,
        queue_us: Some(900),
        max_queue_us: None,
        srtt_us: Some(12_000 * u32::from(id + 1)),
        mtu: Some(1500),
        tx_packets: Some(second * 4000 / slower),
        tx_bytes: Some(second * 5_000_000 / slower),
        rx_packets: Some(second * 2000),
        rx_bytes: Some(second * 100_000),
        peer_rx_packets: None,
        peer_rx_bytes: None,
        lost: Some(second * 40 / slower),
        rx_delay_us: None,
        rate: None,
        queue_limit_us: None,
        unanswered: None,
        way: None,
        observed: None,
        observed_port: None,
        local_port: None,
        local_protocol: None,
        reason: None,
        unused: None,
        set_weight: None,
        set_state: None,
    };
    (path, (id != 3).then(|| format!("eth{id}")))
}

fn session(second: u64, n: u32) -> Session {
    let end = |addr: [u8; 4], port| {
        let addr = addr.into();
        let port = Some(port);
        Some(Endpoint { addr, port })
    };
    let lane = |path, tx| Lane {
        path,
        original: Some(path == 0),
        local: None,
        remote: None,
        state: Some(PathState::Active),
        weight: Some(500),
        tx_packets: None,
        tx_bytes: Some(tx),
        rx_packets: None,
        rx_bytes: Some(0),
        unused: None,
    };
    let bytes = u64::from(n + 1) * second * 5000;
    let closing = n % 5 == 4;
    Session {
        id: 7000 + n,
        peer: Some(PEER),
        protocol: Some(Protocol(if n % 2 == 0 { 6 } else { 17 })),
        local: end([10, 0, 0, 2], 5000 + (2 * n % 50_000) as u16),
        remote: end([192, 0, 2, 9], 443),
        state: Some(if closing {
            SessionState::Closing
        } else {
            SessionState::Open
        }),
        initiator: Some(true),
        next_seq: None,
        age_ms: Some(1000 * second),
        idle_ms: Some(u64::from(n % 7) * 300),
        held: Some(n % 3),
        held_bytes: None,
        lane: vec![lane(0, bytes), lane(1, bytes)],
        rule: Vec::new(),
    }
}
