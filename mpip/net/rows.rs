// SPDX-License-Identifier: GPL-2.0

//! Keys and rows of an instance's tables.

use crate::{
    net::{
        instance::Instance,
        path::Path,
        peer::Peer,
        session::Session, //
    },
    new_bh_lock,
    proto::{
        addr::{
            Addr,
            Endpoint,
            PortPair,
            Tuple, //
        },
        avail,
        packet::{
            self,
            Packet, //
        },
        seq,
        wrap::Via, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        clock,
        route::FlowRoute,
        socket::{
            self,
            Owner, //
        },
        table::{
            Entry,
            Key,
            Node,
            Placed,
            Secret, //
        }, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

impl Key for Tuple {
    fn hash(&self, secret: &Secret) -> u32 {
        let (Addr::V4(local), Addr::V4(remote)) = (&self.local.addr, &self.remote.addr) else {
            return secret.hash(&self.encode());
        };
        // Each packet needs it, and this much is enough: as for the kernel's own sockets.
        let addrs = u64::from(u32::from_ne_bytes(*local)) << 32;
        let ports = u64::from(self.local.port) << 16 | u64::from(self.remote.port);
        secret.mix(
            addrs | u64::from(u32::from_ne_bytes(*remote)),
            ports | u64::from(self.proto) << 32,
        )
    }
}

/// A key made of two numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ids(pub u64, pub u32);

impl Key for Ids {
    fn hash(&self, secret: &Secret) -> u32 {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.0.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.1.to_ne_bytes());
        secret.hash(&bytes)
    }
}

impl Entry for Arc<Session> {
    type Key = Ids;

    fn key(&self) -> Ids {
        Ids(self.peer.node, self.id)
    }
}

impl Placed for Arc<Session> {
    type Whole = Session;

    fn place(&self) -> Option<(&Arc<Session>, &Node<Arc<Session>>)> {
        Some((self, &self.node))
    }
}

impl Entry for Arc<Peer> {
    type Key = Ids;

    fn key(&self) -> Ids {
        Ids(self.node, 0)
    }
}

/// A destination: protocol, address and port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// IP protocol number.
    pub proto: u8,
    /// Address and port.
    pub end: Endpoint,
}

impl Key for Destination {
    fn hash(&self, secret: &Secret) -> u32 {
        let mut bytes = [0; 20];
        bytes[0] = self.proto;
        bytes[1] = self.end.addr.family();
        bytes[2..4].copy_from_slice(&self.end.port.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.end.addr.to_padded());
        secret.hash(&bytes)
    }
}

/// What a tuple on the wire stands for: a session's lane. What a lookup compares comes first.
#[repr(C)]
pub struct WireEntry {
    /// The path, whose addresses are the tuple's.
    pub path: Arc<Path>,
    // A `PortPair`, whose fourth part of a word is needed.
    local_port: u16,
    remote_port: u16,
    proto: u8,
    /// Index of the lane.
    pub lane: u8,
    /// How its packets travel.
    pub via: Via,
    up: Atomic<bool>,
    /// The session.
    pub session: Arc<Session>,
    rx_packets: Atomic<u64>,
    rx_bytes: Atomic<u64>,
    /// How its packets end here.
    pub route: FlowRoute,
}

// With links, hash and what RCU needs that makes 96 bytes at most.
const _: () = assert!(size_of::<WireEntry>() <= 48);

impl Entry for WireEntry {
    type Key = Tuple;

    fn key(&self) -> Tuple {
        let ports = PortPair {
            proto: self.proto,
            local: self.local_port,
            remote: self.remote_port,
        };
        ports.between(self.path.local, self.path.remote)
    }

    // Each packet asks: what would be put together for `key` is compared where it is.
    fn is_at(&self, key: &Tuple) -> bool {
        self.local_port == key.local.port
            && self.remote_port == key.remote.port
            && self.proto == key.proto
            && self.path.remote == key.remote.addr
            && self.path.local == key.local.addr
    }
}

impl Placed for WireEntry {
    type Whole = Session;

    fn place(&self) -> Option<(&Arc<Session>, &Node<WireEntry>)> {
        (self.lane == 0).then(|| (&self.session, &self.session.wire))
    }
}

impl WireEntry {
    /// A lane's tuple, between the path's addresses. It counts as one of the path's users as long
    /// as it lives.
    pub fn new(
        tuple: &Tuple,
        session: Arc<Session>,
        lane: usize,
        via: Via,
        path: Arc<Path>,
    ) -> WireEntry {
        path.add_user();
        WireEntry {
            session,
            lane: lane as u8,
            via,
            path,
            local_port: tuple.local.port,
            remote_port: tuple.remote.port,
            proto: tuple.proto,
            rx_packets: Atomic::new(0),
            rx_bytes: Atomic::new(0),
            up: Atomic::new(lane == 0),
            route: FlowRoute::default(),
        }
    }

    /// Counts a received packet for the lane and its path.
    pub fn count_rx(&self, packets: u32, bytes: usize) {
        self.rx_packets.add(u64::from(packets), Relaxed);
        self.rx_bytes.add(bytes as u64, Relaxed);
        self.path.count_rx(packets, bytes);
    }

    /// A challenge came back: the tuple is this lane's for certain. False if that was known.
    pub fn set_up(&self) -> bool {
        !self.up.xchg(true, Relaxed)
    }

    /// Whether a challenge came back.
    pub fn is_up(&self) -> bool {
        self.up.read_once()
    }

    /// Whether a packet on a lane that is not up yet belongs to a connection of this host: a
    /// tuple that a peer names may be somebody else's.
    pub fn belongs_to_a_socket(&self, instance: &Instance, packet: &Packet, ifindex: u32) -> bool {
        if packet.tcp.is_some_and(|tcp| tcp.flags & packet::SYN != 0) {
            return true;
        }
        socket::tcp_owner(instance.net, &packet.rx_tuple(), ifindex) != Owner::None
    }

    /// Packets and bytes received.
    pub fn rx(&self) -> (u64, u64) {
        (self.rx_packets.read_once(), self.rx_bytes.read_once())
    }
}

impl Drop for WireEntry {
    fn drop(&mut self) {
        self.path.remove_user();
    }
}

/// A row of the availability table.
#[pin_data]
pub struct AvailEntry {
    /// Its state.
    #[pin]
    pub state: BhLock<avail::Entry>,
    /// Datagrams sent while nothing is known.
    pub sent: Atomic<u32>,
    /// Datagrams in a row behind which a question had no room.
    pub full: Atomic<u32>,
    // Milliseconds since boot; 0 if there is something to ask.
    quiet_from: Atomic<u32>,
    // Which node it is (Table 3 of the paper); 0 if that is not known.
    node: Atomic<u64>,
}

impl AvailEntry {
    /// A destination that nothing is known of. `now_ms` is the time in milliseconds.
    pub fn new(now_ms: u32) -> impl PinInit<AvailEntry> {
        pin_init!(AvailEntry {
            state <- new_bh_lock!(avail::Entry::new(now_ms), "mpip_avail"),
            sent: Atomic::new(0),
            full: Atomic::new(0),
            quiet_from: Atomic::new(0),
            node: Atomic::new(0),
        })
    }

    /// There is nothing to ask for a moment: packets pass without looking at the state.
    pub fn be_quiet(&self, now_ms: u32) {
        self.quiet_from.write_once(now_ms.max(1));
    }

    /// There is something to ask, or to open.
    pub fn be_lively(&self) {
        self.quiet_from.write_once(0);
    }

    /// Whether there is nothing to ask now.
    pub fn is_quiet(&self, now_ms: u32) -> bool {
        const MOMENT_MS: u32 = 100;
        let from = self.quiet_from.read_once();
        from != 0 && seq::age_ms(now_ms, from) < MOMENT_MS
    }

    /// The destination speaks MPIP, and may be known to be this node.
    pub fn be_available(&self, node: Option<u64>) {
        self.state.lock().answered(clock::now_ms());
        if let Some(node) = node {
            self.set_node(node);
        }
        self.be_lively();
    }

    /// Which node the destination is, if that is known.
    pub fn node(&self) -> Option<u64> {
        Some(self.node.read_once()).filter(|node| *node != 0)
    }

    /// Notes which node the destination is; 0 that this is not known any more.
    pub fn set_node(&self, node: u64) {
        self.node.write_once(node);
    }
}

/// A SYN that asked, until its SYN-ACK leaves.
#[derive(Clone, Copy)]
pub struct SynSlot {
    /// The tuple, seen from this node.
    pub tuple: Tuple,
    /// Nonce of the question.
    pub nonce: u64,
    /// Sequence number of the SYN.
    pub isn: u32,
    /// A SYN-ACK with the answer has left.
    pub answered: bool,
}
