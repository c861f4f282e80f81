// SPDX-License-Identifier: GPL-2.0

//! A node: what `net/` of the kernel module is, on a single thread with a virtual clock.
//!
//! Each function here has its counterpart of the same name there, and does the same in the same
//! order, so that what is found here holds there. Deviations are marked with "Unlike `net`".

mod control;
mod order;
mod path;
mod resend;
mod rx;
mod tx;
mod watch;
mod work;

use crate::wire::Wire;
use crate::world::Cx;
use crate::world::Timer;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::avail;
use mpip_host::proto::avail::AskPolicy;
use mpip_host::proto::counters;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::crypto::HelloIds;
use mpip_host::proto::crypto::Keys;
use mpip_host::proto::hello::Identity;
use mpip_host::proto::kept::Kept;
use mpip_host::proto::packet;
use mpip_host::proto::packet::TcpHeader;
use mpip_host::proto::params;
use mpip_host::proto::params::Param;
use mpip_host::proto::policy::Treatment;
use mpip_host::proto::replay::Window;
use mpip_host::proto::seq;
use mpip_host::proto::session;
use mpip_host::proto::session::Dispatch;
use mpip_host::proto::session::Scheduler;
use mpip_host::proto::wire::cm::Entry;
use rand_chacha::rand_core::RngCore;
use rand_chacha::ChaCha8Rng;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::rc::Rc;

pub use order::Rx;
pub use path::Path;

use crate::common::Host as Algo;

/// UDP port of the paths of UDP sessions.
pub const UDP_PORT: u16 = 29170;
/// A session without packets for so long is left alone, milliseconds.
const QUIET_MS: u32 = 30_000;

/// Where in the stream carriers of a session go.
#[derive(Copy, Clone, Debug, Default)]
pub struct TcpPosition {
    /// Everything before it was acknowledged by the other end.
    pub una: u32,
    /// What this end has acknowledged last.
    pub ack: u32,
    /// The window of this end, unscaled.
    pub window: u16,
}

/// What output and control messages share.
pub struct Inner {
    /// The protocol's state machine.
    pub s: session::Session<Path, ()>,
    /// CONFIRM takes the place of OPEN.
    confirm: Option<HelloIds>,
    explored: bool,
    /// Time stamp of TCP's latest retransmission.
    repeated: Option<u32>,
    /// Segments that may have to be sent again.
    kept: Kept<Wire, resend::Storage>,
    dead: bool,
}

/// A session.
pub struct Session {
    /// Session id.
    pub id: u32,
    /// The tuple that the sockets know.
    pub tuple: Tuple,
    /// Whether this end opened it.
    pub initiator: bool,
    /// The other end.
    pub peer: Rc<Peer>,
    /// Output side and lanes.
    pub inner: RefCell<Inner>,
    /// Input side.
    pub rx: RefCell<Rx>,
    born_ms: u64,
    used_ms: Cell<u32>,
    closing: Cell<bool>,
    over: Cell<bool>,
    multi: Cell<bool>,
    packets: Cell<u64>,
    una: Cell<u32>,
    sent: Cell<u32>,
    acked: Cell<u32>,
    window: Cell<u16>,
}

impl Session {
    /// Whether there is, or may soon be, a lane besides the original one.
    pub fn is_multi(&self) -> bool {
        self.multi.get()
    }

    /// Time since the last packet, milliseconds.
    fn idle_ms(&self, now_ms: u32) -> u32 {
        now_ms.wrapping_sub(self.used_ms.get())
    }

    /// Whether this is the connection's own SYN-ACK, sent again.
    fn is_syn_ack(&self, tcp: &TcpHeader) -> bool {
        tcp.flags & packet::ACK != 0 && tcp.seq.wrapping_add(1) == self.una.get()
    }

    /// Counts a packet that is sent on the session's own tuple, if the peer counts it, too.
    fn count_tx(&self, path: &Path, bytes: usize) {
        self.packets.set(self.packets.get() + 1);
        if self.inner.borrow().s.state != session::State::Opening {
            path.count_tx(bytes);
        }
    }

    fn set_over(&self) {
        self.over.set(true);
        self.multi.set(false);
    }

    fn saw_ack(&self, una: u32) {
        if seq::after(una, self.una.get()) {
            self.una.set(una);
        }
    }

    /// A segment with data that ends at `end` is sent. Whether that was sent before.
    fn sends(&self, end: u32) -> bool {
        let again = !seq::after(end, self.sent.get());
        if !again {
            self.sent.set(end);
        }
        again
    }

    fn in_flight(&self, end: u32) -> u32 {
        seq::delta(end, self.una.get()).max(0) as u32
    }

    fn sent_ack(&self, ack: u32, window: u16) {
        if seq::after(ack, self.acked.get()) {
            self.acked.set(ack);
        }
        self.window.set(window);
    }

    /// What this end has acknowledged.
    pub fn acked(&self) -> u32 {
        self.acked.get()
    }

    fn position(&self) -> TcpPosition {
        TcpPosition {
            una: self.una.get(),
            ack: self.acked.get(),
            window: self.window.get(),
        }
    }
}

/// How a peer can be reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Number of the newest message that told so.
    pub number: u32,
    /// Its UDP port.
    pub udp_port: u16,
    /// Its addresses.
    pub addrs: Vec<Entry>,
}

/// A node that keys are agreed with.
pub struct Peer {
    /// Its node id.
    pub node: u64,
    /// The keys.
    pub keys: Keys,
    /// Whose HELLO the keys come from, and its nonces.
    pub exchange: (u64, u64),
    /// How it can be reached.
    pub reach: RefCell<Reach>,
    initiated: bool,
    born_ms: u64,
    number: Cell<u32>,
    window: RefCell<Window>,
    paths: RefCell<Vec<Path>>,
    left: Cell<bool>,
    left_ms: Cell<u64>,
    heard_ms: Cell<u64>,
}

impl Peer {
    fn next_number(&self) -> u32 {
        // 0 is never valid.
        self.number.set(self.number.get().wrapping_add(1).max(1));
        self.number.get()
    }

    fn leave(&self, now_ms: u64) {
        self.left_ms.set(now_ms);
        self.left.set(true);
    }

    fn accept(&self, number: u32) -> bool {
        self.window.borrow_mut().check_and_set(number)
    }

    /// The number of the last control message that was accepted.
    pub fn last_number(&self) -> u32 {
        self.window.borrow().top()
    }

    fn path(&self, local: Addr, remote: Addr, limit: usize, now: u32) -> Option<Path> {
        let mut paths = self.paths.borrow_mut();
        if let Some(path) = paths
            .iter()
            .find(|p| p.local == local && p.remote == remote)
        {
            return Some(path.clone());
        }
        if paths.len() >= limit {
            return None;
        }
        let path = Path::new(paths.len() as u8, local, remote, now);
        paths.push(path.clone());
        Some(path)
    }

    /// The paths.
    pub fn paths(&self) -> Vec<Path> {
        self.paths.borrow().clone()
    }
}

/// What a tuple on the wire stands for.
#[derive(Clone)]
pub struct WireEntry {
    /// The session.
    pub session: Rc<Session>,
    /// Index of the lane.
    pub lane: u8,
    /// The path.
    pub path: Path,
    /// Whether a challenge came back.
    up: Rc<Cell<bool>>,
}

/// A destination: protocol and endpoint.
pub type Destination = (u8, Endpoint);

struct AvailEntry {
    state: avail::Entry,
    sent: u32,
    node: Option<u64>,
}

#[derive(Copy, Clone)]
struct SynSlot {
    nonce: u64,
    isn: u32,
}

/// A node.
pub struct Node {
    /// Who it is.
    pub identity: Identity,
    /// Its parameters.
    pub params: [u64; params::COUNT],
    /// Its addresses.
    pub addrs: Vec<Addr>,
    /// Tuples on the wire.
    pub wire: HashMap<Tuple, WireEntry>,
    /// Sessions by peer and id.
    pub sessions: BTreeMap<(u64, u32), Rc<Session>>,
    /// Peers by node id.
    pub peers: BTreeMap<u64, Rc<Peer>>,
    /// When paths became suspect and returned, in the world's time: local address, whether it
    /// became suspect.
    pub events: Vec<(u64, Addr, bool)>,
    /// Handles no session any more.
    pub stopping: bool,
    clock: u64,
    counters: [u64; counters::COUNT],
    avail: HashMap<Destination, AvailEntry>,
    syns: HashMap<Tuple, SynSlot>,
    joining: HashMap<Tuple, u32>,
    jobs: Vec<work::Job>,
    attention: Vec<Rc<Session>>,
    /// Those to look at later, and when, milliseconds.
    waiting: Vec<(u32, Rc<Session>)>,
    next_session: u32,
    next_port: u16,
    due_ms: [u32; 2],
    watched: Vec<watch::Watched>,
    work_at: u64,
    used_exchanges: Vec<(u64, u64)>,
}

impl Node {
    /// A node with these addresses, whose clock is ahead of the world's by `clock`.
    pub fn new(addrs: Vec<Addr>, clock: u64, rng: &mut ChaCha8Rng) -> Node {
        let (mut secret, mut cookie) = ([0; 32], [0; 16]);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut cookie);
        Node {
            identity: Identity::new(&Algo, secret, cookie),
            params: params::defaults(),
            addrs,
            wire: HashMap::new(),
            sessions: BTreeMap::new(),
            peers: BTreeMap::new(),
            events: Vec::new(),
            stopping: false,
            clock,
            counters: [0; counters::COUNT],
            avail: HashMap::new(),
            syns: HashMap::new(),
            joining: HashMap::new(),
            jobs: Vec::new(),
            attention: Vec::new(),
            waiting: Vec::new(),
            next_session: rng.next_u32(),
            next_port: 40_000,
            due_ms: [0; 2],
            watched: Vec::new(),
            work_at: u64::MAX,
            used_exchanges: Vec::new(),
        }
    }

    /// Starts the worker.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let now = self.now_ms(cx);
        self.due_ms = [now; 2];
        self.kick(cx, 100);
    }

    fn now64(&self, cx: &Cx<'_>) -> u64 {
        cx.now.wrapping_add(self.clock)
    }

    fn now_us(&self, cx: &Cx<'_>) -> u32 {
        self.now64(cx) as u32
    }

    fn now_ms(&self, cx: &Cx<'_>) -> u32 {
        (self.now64(cx) / 1000) as u32
    }

    fn now_s(&self, cx: &Cx<'_>) -> u64 {
        self.now64(cx) / 1_000_000
    }

    /// The value of a parameter.
    pub fn param(&self, param: Param) -> u64 {
        self.params[param.index()]
    }

    /// Sets a parameter.
    pub fn set(&mut self, param: Param, value: u64) {
        assert!(param.spec().allows(value));
        self.params[param.index()] = value;
    }

    fn count(&mut self, counter: Counter) {
        self.counters[counter.index()] += 1;
    }

    /// The value of a counter.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter.index()]
    }

    /// All that must not change because of a message that is not authentic and new: sizes of the
    /// tables, and of each session and path what messages change.
    pub fn state(&self) -> Vec<String> {
        let mut out = vec![format!(
            "{} tuples, {} peers, {} joining, {} jobs",
            self.wire.len(),
            self.peers.len(),
            self.joining.len(),
            self.jobs.len(),
        )];
        let mut avail: Vec<_> = self
            .avail
            .iter()
            // Whatever a socket answers makes a row.
            .filter(|(_, entry)| entry.state.state() != avail::Availability::Unknown)
            .map(|(dest, entry)| format!("{dest:?}: {:?}", entry.state.state()))
            .collect();
        avail.sort();
        out.extend(avail);
        for ((node, id), session) in &self.sessions {
            let inner = session.inner.borrow();
            out.push(format!(
                "session {node:x}/{id:x} {:?} {:?} multi {} closing {} over {}",
                session.tuple,
                inner.s.state,
                session.multi.get(),
                session.closing.get(),
                session.over.get(),
            ));
            for (i, lane) in inner.s.lanes.iter().enumerate() {
                if let Some(lane) = lane {
                    out.push(format!(
                        "lane {i} {:?} {:?} {:x} {:x}",
                        lane.tuple(),
                        lane.state,
                        lane.challenge,
                        lane.echo
                    ));
                }
            }
        }
        for peer in self.peers.values() {
            out.push(format!(
                "peer {:x} {:?} left {} number {} reach {:?}",
                peer.node,
                peer.exchange,
                peer.left.get(),
                peer.last_number(),
                peer.reach.borrow(),
            ));
            for path in peer.paths.borrow().iter() {
                let state = path.state.borrow();
                out.push(format!(
                    "path {} {:?} tx {:?} rx {:?} rtt {:?} peer {:?} {}/{} lost {} {:?}",
                    path.id,
                    path.local,
                    state.tx,
                    state.rx,
                    state.rtt,
                    state.peer_id,
                    state.peer_rx_packets,
                    state.peer_rx_bytes,
                    state.lost,
                    state.standing(),
                ));
            }
        }
        out
    }

    /// The only session.
    pub fn only(&self) -> Rc<Session> {
        assert_eq!(self.sessions.len(), 1, "sessions");
        self.sessions.values().next().expect("a session").clone()
    }

    /// Lanes of all sessions that may carry data, original ones included.
    pub fn active_lanes(&self) -> usize {
        let sessions = self.sessions.values();
        sessions.map(|s| s.inner.borrow().s.active_lanes()).sum()
    }

    /// What is known of a destination.
    pub fn availability(&self, dest: &Destination) -> Option<avail::Availability> {
        self.avail.get(dest).map(|entry| entry.state.state())
    }

    fn ask_policy(&self) -> AskPolicy {
        AskPolicy {
            threshold: self.param(Param::QueryThreshold) as u8,
            retry_ms: self.param(Param::QueryRetry) as u32,
            ttl_ms: self.param(Param::NegativeTtl) as u32,
        }
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch {
            scheduler: match self.param(Param::Scheduler) {
                0 => Scheduler::Earliest,
                _ => Scheduler::Weighted,
            },
            step: self.param(Param::WeightStep) as u16,
            interval: self.param(Param::WeightInterval) as u32 * 1000,
            treatment: Treatment::PLAIN,
            passing: false,
        }
    }

    fn kick(&mut self, cx: &mut Cx<'_>, ms: u32) {
        // The worker is a thread: it takes a moment to be there.
        let at = cx.now + u64::from(ms) * 1000 + 30;
        if at < self.work_at {
            self.work_at = at;
            cx.timers.push((at, Timer::Work));
        }
    }

    fn submit(&mut self, cx: &mut Cx<'_>, job: work::Job) {
        self.jobs.push(job);
        self.kick(cx, 0);
    }

    fn start_joining(&mut self, cx: &Cx<'_>, tuple: &Tuple) -> bool {
        let now = self.now_ms(cx);
        if let Some(since) = self.joining.get(tuple) {
            if now.wrapping_sub(*since) < 100 {
                return false;
            }
        }
        self.joining.insert(*tuple, now);
        true
    }

    fn attend(&mut self, cx: &mut Cx<'_>, session: &Rc<Session>) {
        if !self.attention.iter().any(|s| Rc::ptr_eq(s, session)) {
            self.attention.push(session.clone());
        }
        self.kick(cx, 0);
    }

    fn avail_entry(&mut self, now_ms: u32, dest: &Destination) -> &mut AvailEntry {
        self.avail.entry(*dest).or_insert_with(|| AvailEntry {
            state: avail::Entry::new(now_ms),
            sent: 0,
            node: None,
        })
    }

    fn note_available(&mut self, cx: &Cx<'_>, dest: &Destination, node: Option<u64>) {
        let now = self.now_ms(cx);
        let entry = self.avail_entry(now, dest);
        entry.state.answered(now);
        entry.node = node.or(entry.node);
    }

    fn note_caller(&mut self, cx: &Cx<'_>, dest: &Destination, node: u64) {
        if self.avail.contains_key(dest) {
            self.note_available(cx, dest, Some(node));
        }
    }

    fn peer_of(&self, dest: &Destination) -> Option<Rc<Peer>> {
        let peer = self.peers.get(&self.avail.get(dest)?.node?)?;
        (!peer.left.get()).then(|| peer.clone())
    }

    fn new_session_id(&mut self, peer: u64) -> u32 {
        let high = u32::from(self.identity.node > peer) << 31;
        loop {
            let id = self.next_session & 0x7fff_ffff;
            self.next_session = self.next_session.wrapping_add(1);
            if id != 0 {
                return id | high;
            }
        }
    }

    #[expect(clippy::too_many_arguments)]
    fn add_session(
        &mut self,
        cx: &Cx<'_>,
        id: u32,
        tuple: Tuple,
        initiator: bool,
        peer: &Rc<Peer>,
        position: TcpPosition,
        confirm: Option<HelloIds>,
    ) -> Option<Rc<Session>> {
        let ids = (peer.node, id);
        if self.stopping || self.sessions.contains_key(&ids) || self.wire.contains_key(&tuple) {
            return None;
        }
        let limit = self.param(Param::MaxPaths) as usize;
        let now = self.now_us(cx);
        let path = peer.path(tuple.local.addr, tuple.remote.addr, limit, now)?;
        let session = Rc::new(Session {
            id,
            tuple,
            initiator,
            peer: peer.clone(),
            inner: RefCell::new(Inner {
                s: session::Session::new(tuple, path.clone(), initiator, now),
                confirm,
                explored: false,
                repeated: None,
                kept: Kept::new(),
                dead: false,
            }),
            rx: RefCell::new(Rx::new(position.ack)),
            born_ms: self.now64(cx) / 1000,
            used_ms: Cell::new(self.now_ms(cx)),
            closing: Cell::new(false),
            over: Cell::new(false),
            multi: Cell::new(false),
            packets: Cell::new(0),
            una: Cell::new(position.una),
            sent: Cell::new(position.una),
            acked: Cell::new(position.ack),
            window: Cell::new(position.window),
        });
        self.sessions.insert(ids, session.clone());
        self.add_wire(tuple, &session, 0, path);
        Some(session)
    }

    fn add_wire(&mut self, tuple: Tuple, session: &Rc<Session>, lane: usize, path: Path) -> bool {
        if self.wire.contains_key(&tuple) {
            return false;
        }
        let entry = WireEntry {
            session: session.clone(),
            lane: lane as u8,
            path,
            up: Rc::new(Cell::new(lane == 0)),
        };
        self.wire.insert(tuple, entry);
        true
    }

    /// Takes away what is in a lane's place, if anything is.
    fn evict_lane(&mut self, session: &Rc<Session>, inner: &mut Inner, index: usize) {
        if let Some(tuple) = inner.s.lane(index).map(|l| l.tuple()) {
            inner.s.remove_lane(index);
            self.wire
                .retain(|t, entry| *t != tuple || !Rc::ptr_eq(&entry.session, session));
        }
    }

    fn remove_session(&mut self, session: &Rc<Session>) -> Vec<Wire> {
        {
            let mut inner = session.inner.borrow_mut();
            if inner.dead {
                return Vec::new();
            }
            inner.dead = true;
        }
        session.multi.set(false);
        self.wire
            .retain(|_, entry| !Rc::ptr_eq(&entry.session, session));
        self.sessions.remove(&(session.peer.node, session.id));
        session.forget_kept();
        session.end_ordering()
    }

    /// Loses a session, as if it had expired here alone.
    pub fn lose(&mut self, session: &Rc<Session>) {
        self.remove_session(session);
    }
}
