// SPDX-License-Identifier: GPL-2.0

//! Sessions as the kernel keeps them.

use crate::{
    net::{
        instance::Instance,
        owner::NO_USER,
        path::Path,
        peer::Peer,
        resend,
        rows::{
            Ids,
            WireEntry, //
        },
        rules::Verdict,
        shared::Shared, //
    },
    new_bh_lock,
    proto::{
        addr::{
            PortPair,
            Tuple, //
        },
        counters::Counter,
        credit::Credit,
        crypto::HelloIds,
        datagrams::Numbers,
        kept::Kept,
        params::Param,
        seq,
        session::{
            self,
            MAX_LANES, //
        },
        wrap::Via, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        cgroup::Cgroup,
        clock,
        net::Net,
        route::{
            self,
            Dst, //
        },
        skb::{
            KeptSkb,
            Skb, //
        },
        socket,
        table::{
            InsertError,
            Node, //
        }, //
    },
};
use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::{
    alloc::flags::GFP_ATOMIC,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
};

mod stream;
use stream::Stream;
pub use stream::TcpPosition;

/// A session without packets for so long is not measured, and its lanes are not looked after,
/// milliseconds.
pub const QUIET_MS: u32 = 30_000;

/// A lane of a session here.
pub type Lane = session::Lane<Arc<Path>, Dst>;

/// A lane in memory of its own.
pub struct LaneBox(KBox<Lane>);

impl Deref for LaneBox {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        &self.0
    }
}

impl DerefMut for LaneBox {
    fn deref_mut(&mut self) -> &mut Lane {
        &mut self.0
    }
}

impl session::Hold<Lane> for LaneBox {
    fn hold(lane: Lane) -> Option<LaneBox> {
        KBox::new(lane, GFP_ATOMIC).ok().map(LaneBox)
    }
}

// What there are many of takes these sizes of the kernel's allocator, the session with its count.
const _: () = assert!(size_of::<Lane>() <= 96);
// Where locks are debugged they are larger.
#[cfg(not(any(CONFIG_DEBUG_SPINLOCK, CONFIG_DEBUG_LOCK_ALLOC)))]
const _: () = assert!(size_of::<Session>() <= 512 - 16 && size_of::<Stream>() <= 96);

/// The state that output and control messages share.
#[repr(C)]
pub struct Inner {
    /// What the rules say of it; `None` if none fits.
    pub verdict: Option<KBox<Verdict>>,
    /// The protocol's state machine.
    pub s: session::Session<Arc<Path>, Dst, LaneBox>,
    /// Segments that may have to be sent again.
    pub kept: Kept<KeptSkb, resend::Storage>,
    /// Time stamp of TCP's latest retransmission (RFC 7323): the other end may take anything older
    /// for a stray of the past.
    pub repeated: Option<u32>,
    /// What TCP may have in flight while something is sent again.
    pub credit: Credit,
    /// What few sessions have.
    pub rare: Option<KBox<Rare>>,
    /// Lanes were looked for at this time, milliseconds.
    pub explored_ms: u32,
    /// Lanes whose packets are to be sent again, one bit each.
    pub lost: u32,
    /// Source port of added lanes, reserved on this node; 0 while none is.
    pub port: u16,
    /// The session's own tuple may not get through: see [`Instance::doubt_original`].
    pub doubted: bool,
    /// Questions on the session's own tuple since one was answered there.
    pub unanswered: u8,
    /// It is over: nobody may add to it.
    pub dead: bool,
}

/// What few sessions have, and so is not part of all.
#[derive(Default)]
pub struct Rare {
    /// CONFIRM takes the place of OPEN while the peer may not have the keys.
    pub confirm: Option<HelloIds>,
    /// Numbers of datagrams, if a rule has wanted them.
    pub numbers: Numbers,
    /// The control group of the socket, if a rule has asked for it.
    pub cgroup: Option<Cgroup>,
}

impl Inner {
    /// What few sessions have, made if need be; `None` without memory.
    pub fn rare(&mut self) -> Option<&mut Rare> {
        if self.rare.is_none() {
            self.rare = KBox::new(Rare::default(), GFP_ATOMIC).ok();
        }
        self.rare.as_deref_mut()
    }
}

/// A session (a row of Table 4 of the paper).
///
/// With many sessions none of it is in the processor's cache, and what is found in one line of it
/// comes sooner than what has to be looked for elsewhere. So the tuple that the sockets know has
/// its place in the table of tuples here, and the first lines are in the order of their need: the
/// first one finds a packet's session, the second is all that whatever comes needs of it, the third
/// is for what leaves by one of several lanes.
#[pin_data]
#[repr(C)]
pub struct Session {
    /// The place of its own tuple in the table of tuples.
    pub wire: Node<WireEntry>,
    used_ms: Atomic<u32>,
    // The generation of the rules that it was looked up in.
    pub(super) judged: Atomic<u32>,
    multi: Atomic<bool>,
    closing: Atomic<bool>,
    over: Atomic<bool>,
    attended: Atomic<bool>,
    waking: Atomic<bool>,
    // Every rule that fits leaves it to the original lane.
    pub(super) never: Atomic<bool>,
    // The control group of the socket was looked for.
    pub(super) grouped: Atomic<bool>,
    // The peer knows of it.
    known: Atomic<bool>,
    // Between the addresses of this path and with these ports is the tuple that the sockets know.
    path: Arc<Path>,
    ports: PortPair,
    /// Whether this end opened it.
    pub initiator: bool,
    /// The other end.
    pub peer: Arc<Peer>,
    /// Output side and lanes.
    #[pin]
    pub inner: BhLock<Inner>,
    tx_packets: Atomic<u64>,
    tx_bytes: Atomic<u64>,
    // The user that the socket belongs to, or `NO_USER`.
    pub(super) uid: Atomic<u32>,
    /// Session id, the same on both ends.
    pub id: u32,
    stream: Pin<KBox<Stream>>,
    /// Settings and counters of the namespace.
    pub shared: Arc<Shared>,
    /// The namespace.
    pub net: Net,
    /// When it was made, milliseconds since boot.
    pub born_ms: u64,
    // When the worker is to look at it, milliseconds; 0 if it need not.
    waits_until: Atomic<u32>,
    /// Its place in the table of sessions.
    pub node: Node<Arc<Session>>,
}

impl Session {
    /// A session with its original lane. Any context.
    #[expect(clippy::too_many_arguments)]
    pub fn new(
        net: Net,
        shared: Arc<Shared>,
        id: u32,
        tuple: Tuple,
        initiator: bool,
        peer: Arc<Peer>,
        path: Arc<Path>,
        position: TcpPosition,
        confirm: Option<HelloIds>,
    ) -> Result<Arc<Session>> {
        let now = clock::now_us();
        let s = session::Session::new(tuple, path.clone(), initiator, now);
        let known = !initiator;
        if s.lane(0).is_none() {
            return Err(ENOMEM);
        }
        let rare = match confirm {
            Some(_) => {
                let rare = Rare {
                    confirm,
                    ..Rare::default()
                };
                Some(KBox::new(rare, GFP_ATOMIC)?)
            }
            None => None,
        };
        let stream = KBox::pin_init(Stream::new(position), GFP_ATOMIC)?;
        Arc::pin_init(
            pin_init!(Session {
                wire: Node::default(),
                used_ms: Atomic::new(clock::coarse_ms()),
                judged: Atomic::new(0),
                multi: Atomic::new(false),
                closing: Atomic::new(false),
                over: Atomic::new(false),
                attended: Atomic::new(false),
                waking: Atomic::new(false),
                never: Atomic::new(false),
                grouped: Atomic::new(false),
                known: Atomic::new(known),
                path,
                ports: PortPair::of(&tuple),
                initiator,
                peer,
                inner <- new_bh_lock!(
                    Inner {
                        s,
                        rare,
                        port: 0,
                        explored_ms: 0,
                        doubted: false,
                        unanswered: 0,
                        lost: 0,
                        repeated: None,
                        credit: Credit::new(),
                        verdict: None,
                        kept: Kept::new(),
                        dead: false,
                    },
                    "mpip_session"
                ),
                tx_packets: Atomic::new(0),
                tx_bytes: Atomic::new(0),
                uid: Atomic::new(NO_USER),
                id,
                stream,
                shared,
                net,
                born_ms: clock::now_us64() / 1000,
                waits_until: Atomic::new(0),
                node: Node::default(),
            }),
            GFP_ATOMIC,
        )
    }

    /// The tuple that the sockets know, seen from this node.
    pub fn tuple(&self) -> Tuple {
        self.ports.between(self.path.local, self.path.remote)
    }

    /// Its protocol, a number of IP's.
    pub fn proto(&self) -> u8 {
        self.ports.proto
    }

    /// The family of its addresses, 4 or 6.
    pub fn family(&self) -> u8 {
        self.path.local.family()
    }

    /// Has the processor fetch what a packet needs that leaves, while its entry is read.
    pub fn prefetch_out(&self) {
        clock::prefetch(self, offset_of!(Session, used_ms)..offset_of!(Session, uid));
    }

    /// Has the processor fetch what a packet needs that comes in, while its entry is read.
    pub fn prefetch_in(&self) {
        clock::prefetch(
            self,
            offset_of!(Session, used_ms)..offset_of!(Session, peer),
        );
    }

    /// A packet of the session was seen. True if it was quiet for long before.
    pub fn touch(&self) -> bool {
        let now = clock::coarse_ms();
        let before = self.used_ms.read_once();
        if now != before {
            self.used_ms.write_once(now);
        }
        seq::age_ms(now, before) > QUIET_MS
    }

    /// Counts a packet that was sent on the original lane without a choice, for the session and
    /// the lane's path.
    pub fn count_tx(&self, path: &Path, skb: &Skb<'_>) {
        let (packets, bytes) = (skb.segments(), skb.len());
        self.tx_packets.add(u64::from(packets), Relaxed);
        self.tx_bytes.add(bytes as u64, Relaxed);
        // What the peer does not count would look lost.
        if self.known.read_once() {
            path.count_tx(packets, bytes, || skb.fits(skb.dst_mtu().min(path.mtu())));
        }
    }

    /// Whether an added lane on this path has taken the place of the session's own tuple.
    pub fn replaces_own(&self, path: &Arc<Path>) -> bool {
        let inner = self.inner.lock();
        let own = inner.s.lane(0);
        own.is_some_and(|lane| Arc::ptr_eq(&lane.path, path)) && inner.s.is_replaced()
    }

    /// The peer knows the session, and counts what comes.
    pub fn set_known(&self) {
        self.known.write_once(true);
    }

    /// Packets and bytes counted by [`Session::count_tx`].
    pub fn tx(&self) -> (u64, u64) {
        (self.tx_packets.read_once(), self.tx_bytes.read_once())
    }

    /// Time since the last packet, milliseconds.
    pub fn idle_ms(&self) -> u32 {
        seq::age_ms(clock::coarse_ms(), self.used_ms.read_once())
    }

    /// Time since it was made, milliseconds.
    pub fn age_ms(&self) -> u64 {
        (clock::now_us64() / 1000).saturating_sub(self.born_ms)
    }

    /// The transport is finishing.
    pub fn set_closing(&self) {
        self.closing.write_once(true);
    }

    /// The transport seemed to be finishing, but it goes on.
    pub fn set_going_on(&self) {
        self.closing.write_once(false);
    }

    /// Whether the transport is finishing.
    pub fn is_closing(&self) -> bool {
        self.closing.read_once()
    }

    /// It is to be removed at once.
    pub fn set_over(&self) {
        self.over.write_once(true);
        self.set_multi(false);
    }

    /// Whether it is to be removed at once.
    pub fn is_over(&self) -> bool {
        self.over.read_once()
    }

    /// Whether there is, or may soon be, a lane besides the original one that may be used: a peer
    /// that leaves has none.
    pub fn is_multi(&self) -> bool {
        self.multi.read_once() && !self.peer.has_left()
    }

    /// Says whether there is a lane besides the original one.
    pub fn set_multi(&self, multi: bool) {
        self.multi.write_once(multi);
    }

    /// What is in flight on a lane is lost: the worker has to send it again.
    pub fn wants_resend(&self, lane: usize) {
        self.inner.lock().lost |= 1 << lane.min(31);
    }

    /// The lanes whose packets are to be sent again, one bit each; it is left to the caller now.
    pub fn take_resend(&self) -> u32 {
        core::mem::take(&mut self.inner.lock().lost)
    }

    /// A way is open again, and nothing may come to tell the socket so.
    pub fn wants_wake(&self) {
        self.waking.write_once(true);
    }

    /// Whether the socket has to be told; it is left to the caller now.
    pub fn take_wake(&self) -> bool {
        self.waking.xchg(false, Relaxed)
    }

    /// Claims the session for the worker's list; false if it is there already.
    pub fn attend(&self) -> bool {
        !self.attended.xchg(true, Full)
    }

    /// The worker has taken it from its list.
    pub fn unattend(&self) {
        // What was written before the next look must be seen by it.
        self.attended.xchg(false, Full);
    }

    /// The worker is to look at it at this time, milliseconds; 0 if it need not. For the worker
    /// only, as are the next two.
    pub fn wait_until(&self, until: u32) {
        self.waits_until.write_once(until);
    }

    /// Whether that is this time.
    pub fn is_due_at(&self, until: u32) -> bool {
        self.waits_until.read_once() == until
    }

    /// Whether that is later than this, or not at all.
    pub fn waits_longer_than(&self, until: u32) -> bool {
        match self.waits_until.read_once() {
            0 => true,
            other => seq::delta(until, other) < 0,
        }
    }
}

/// Sessions come and go.
impl Instance {
    /// An id for a session that this end opens. The highest bit tells which end chose it.
    pub fn new_session_id(&self, peer: u64) -> u32 {
        let high = u32::from(self.identity.node > peer) << 31;
        loop {
            let id = self.next_session.fetch_add(1u32, Relaxed) & 0x7fff_ffff;
            if id != 0 {
                return id | high;
            }
        }
    }

    /// Adds a session to the tables. `theirs` is the peer's id of the original path. Any context.
    #[expect(clippy::too_many_arguments)]
    pub fn add_session(
        &self,
        id: u32,
        tuple: Tuple,
        initiator: bool,
        peer: &Arc<Peer>,
        position: TcpPosition,
        confirm: Option<HelloIds>,
        theirs: Option<u8>,
    ) -> Option<Arc<Session>> {
        if self.is_stopping() || self.is_never(&tuple, None) {
            return None;
        }
        let limit = self.param(Param::MaxPaths) as usize;
        // The address may be that of several interfaces, or of a VPN that only some users have.
        let ifindex = match Dst::lookup(self.net, 0, &tuple) {
            Some(route) => route.ifindex(),
            None => self.ifindex_of(&tuple.local.addr),
        };
        let (local, remote) = (tuple.local.addr, tuple.remote.addr);
        let Some(path) = peer.path(local, remote, ifindex, theirs, limit) else {
            self.count(Counter::PathRefusedCap);
            return None;
        };
        if route::is_tunnel(self.net, path.ifindex()) {
            path.set_tunnel();
        }
        self.assign_role(&path);
        let Ok(session) = Session::new(
            self.net,
            self.shared.clone(),
            id,
            tuple,
            initiator,
            peer.clone(),
            path.clone(),
            position,
            confirm,
        ) else {
            self.count(Counter::NoMemory);
            return None;
        };
        let rules = &self.shared.rules;
        if rules.ask_owners() {
            if let Some((uid, group)) = socket::user_of(self.net, &tuple) {
                session.set_owner(uid, rules.ask_groups().then_some(group));
            }
        }
        // Before a packet finds it. Rules that change meanwhile are seen by the first one that
        // does.
        self.judge(&session);
        let ids = Ids(peer.node, id);
        match self.sessions.insert_placed(session.clone()) {
            Ok(()) => {}
            Err(InsertError::Exists) => return None,
            Err(InsertError::Full) => {
                self.count(Counter::SessionRefusedCap);
                return None;
            }
            Err(InsertError::NoMemory) => {
                self.count(Counter::NoMemory);
                return None;
            }
        }
        if !self.add_wire(tuple, &session, 0, Via::Raw, path) {
            self.sessions.remove(&ids);
            return None;
        }
        peer.sessions.add(1u32, Relaxed);
        Some(session)
    }

    /// Makes a tuple on the wire stand for a lane; false if it stands for something else.
    pub fn add_wire(
        &self,
        tuple: Tuple,
        session: &Arc<Session>,
        lane: usize,
        via: Via,
        path: Arc<Path>,
    ) -> bool {
        let entry = WireEntry::new(&tuple, session.clone(), lane, via, path);
        self.gate.count_up(lane != 0);
        if self.wire.insert_placed(entry).is_err() {
            self.gate.count_down(lane != 0);
            return false;
        }
        self.gate.stop(&tuple);
        true
    }

    /// Makes a tuple on the wire stand for nothing, if it stands for a lane of this session.
    pub fn remove_wire(&self, tuple: &Tuple, session: &Arc<Session>) {
        let mut added = false;
        let removed = self.wire.remove_if(tuple, |entry| {
            added = entry.lane != 0;
            Arc::ptr_eq(&entry.session, session)
        });
        if removed {
            self.gate.count_down(added);
        }
    }

    /// Takes a session out of the tables. Process context: waits for its timer.
    pub fn remove_session(&self, session: &Arc<Session>) {
        let mut tuples = [None; MAX_LANES];
        let mut routes = [const { None }; MAX_LANES];
        {
            let mut inner = session.inner.lock();
            if inner.dead {
                return;
            }
            inner.dead = true;
            session.set_multi(false);
            inner.s.state = session::State::Closing;
            let lanes = inner.s.lanes.iter_mut();
            for ((tuple, route), lane) in tuples.iter_mut().zip(&mut routes).zip(lanes) {
                *tuple = lane.as_ref().map(|l| l.tuple());
                *route = lane.as_mut().and_then(|l| l.route.take());
            }
        }
        // Now and not with the session, whose memory outlives the namespace by a grace period.
        drop(routes);
        for tuple in tuples.into_iter().flatten() {
            self.remove_wire(&tuple, session);
        }
        if self.sessions.remove(&Ids(session.peer.node, session.id)) {
            session.peer.sessions.fetch_sub(1u32, Relaxed);
        }
        session.end_ordering();
        session.forget_kept();
    }
}
