// SPDX-License-Identifier: GPL-2.0

//! Peers and the paths to them.

use crate::{
    net::event::{
        Reason,
        Told, //
    },
    new_bh_lock,
    proto::{
        addr::Addr,
        crypto::Keys,
        earliest::Backlog,
        loss::Sent,
        packet,
        path::{
            self,
            Standing, //
        },
        replay::Window,
        seq,
        session::PathInfo,
        wire::{
            cm::Entry,
            MAX_ADDRS,
            NO_PATH, //
        },
        wrap::Via, //
    },
    sys::{
        bh::BhLock,
        clock, //
    },
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

/// Paths of one peer at most.
pub const MAX_PATHS: usize = 64;

/// How long a lowered path MTU holds, milliseconds (RFC 1191, section 6.3).
const MTU_LIFE_MS: u32 = 600_000;

const NO_REASON: u32 = u32::MAX;

/// A path: what [`path::Path`] knows, and copies for those who cannot wait for its lock.
#[pin_data]
pub struct Path {
    /// This node's id of it, unique for the peer.
    pub id: u8,
    /// The local address.
    pub local: Addr,
    /// The remote address.
    pub remote: Addr,
    ifindex: Atomic<u32>,
    tx_packets: Atomic<u64>,
    tx_bytes: Atomic<u64>,
    rx_packets: Atomic<u64>,
    rx_bytes: Atomic<u64>,
    confirmed: Atomic<bool>,
    // A `Standing`, as far as answers tell.
    standing: Atomic<u32>,
    heard: Atomic<u32>,
    waiting: Atomic<bool>,
    expected: Atomic<u32>,
    // The local, the remote end is not there.
    down: Atomic<bool>,
    gone: Atomic<bool>,
    users: Atomic<u32>,
    // For TCP and for UDP.
    via: [Atomic<u32>; 2],
    strict: Atomic<bool>,
    translated: Atomic<bool>,
    reason: Atomic<u32>,
    watched: Atomic<bool>,
    answered_at: Atomic<u32>,
    answer_in: Atomic<u32>,
    measured: Atomic<bool>,
    queue: Atomic<u32>,
    delay: Atomic<i32>,
    base: Atomic<i32>,
    base_rtt: Atomic<u32>,
    rate: Atomic<u32>,
    loss: Atomic<u32>,
    noise: Atomic<u32>,
    idle_times: Atomic<u32>,
    // A `Backlog`.
    backlog: Atomic<u64>,
    full_queue: Atomic<u32>,
    // Bytes that the scheduler has sent here, and those of them that found the queue full.
    chosen_bytes: Atomic<u64>,
    crowded_bytes: Atomic<u64>,
    weight: Atomic<u32>,
    rx_measured: Atomic<bool>,
    rx_delay: Atomic<i32>,
    rx_deviation: Atomic<u32>,
    rx_crowded: Atomic<bool>,
    asked_at: Atomic<u32>,
    mtu: Atomic<u32>,
    mtu_at: Atomic<u32>,
    /// What listeners were told of it.
    pub told: Told,
    /// What is known of it.
    #[pin]
    pub state: BhLock<path::Path>,
}

impl Path {
    fn new(id: u8, local: Addr, remote: Addr, ifindex: u32) -> impl PinInit<Self> {
        let long_ago = clock::now_us().wrapping_sub(1 << 30);
        pin_init!(Self {
            id,
            local,
            remote,
            ifindex: Atomic::new(ifindex),
            tx_packets: Atomic::new(0),
            tx_bytes: Atomic::new(0),
            rx_packets: Atomic::new(0),
            rx_bytes: Atomic::new(0),
            confirmed: Atomic::new(false),
            standing: Atomic::new(Standing::Good as u32),
            heard: Atomic::new(long_ago),
            waiting: Atomic::new(false),
            expected: Atomic::new(0),
            down: Atomic::new(false),
            gone: Atomic::new(false),
            users: Atomic::new(0),
            via: [const { Atomic::new(0) }; 2],
            strict: Atomic::new(false),
            translated: Atomic::new(false),
            reason: Atomic::new(NO_REASON),
            watched: Atomic::new(false),
            answered_at: Atomic::new(long_ago),
            answer_in: Atomic::new(0),
            measured: Atomic::new(false),
            queue: Atomic::new(0),
            delay: Atomic::new(0),
            base: Atomic::new(0),
            base_rtt: Atomic::new(0),
            rate: Atomic::new(0),
            loss: Atomic::new(0),
            noise: Atomic::new(0),
            idle_times: Atomic::new(1),
            backlog: Atomic::new(0),
            full_queue: Atomic::new(u32::MAX),
            chosen_bytes: Atomic::new(0),
            crowded_bytes: Atomic::new(0),
            weight: Atomic::new(0),
            rx_measured: Atomic::new(false),
            rx_delay: Atomic::new(0),
            rx_deviation: Atomic::new(0),
            rx_crowded: Atomic::new(false),
            asked_at: Atomic::new(long_ago),
            mtu: Atomic::new(u32::MAX),
            mtu_at: Atomic::new(0),
            told: Told::new(),
            state <- new_bh_lock!(path::Path::new(), "mpip_path"),
        })
    }

    /// A lane on this path may carry data.
    pub fn confirm(&self) {
        self.confirmed.store(true, Relaxed);
    }

    /// Whether a lane on this path ever could carry data.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Relaxed)
    }

    /// How far it can be relied on.
    pub fn standing(&self) -> Standing {
        if self.is_down() {
            return Standing::Down;
        }
        match self.standing.load(Relaxed) {
            s if s == Standing::Good as u32 => Standing::Good,
            s if s == Standing::Lossy as u32 => Standing::Lossy,
            s if s == Standing::Doubtful as u32 => Standing::Doubtful,
            _ => Standing::Suspect,
        }
    }

    /// Whether it goes by this interface, as far as that is known.
    fn is_by(&self, ifindex: u32) -> bool {
        let mine = self.ifindex();
        mine == ifindex || mine == 0 || ifindex == 0
    }

    /// Whether the peer has this id for it, as far as that is known.
    fn is_theirs(&self, id: Option<u8>) -> bool {
        let Some(id) = id else { return true };
        self.state.lock().peer_id.is_none_or(|known| known == id)
    }

    /// Whether a session's own tuple does not get through on it while other lanes are used.
    pub fn is_strict(&self) -> bool {
        self.strict.load(Relaxed)
    }

    /// A session's own tuple did not get through while another lane did.
    pub fn set_strict(&self) {
        self.strict.store(true, Relaxed);
    }

    /// Whether the peer sees another address than the local one.
    pub fn is_translated(&self) -> bool {
        self.translated.load(Relaxed)
    }

    /// Says whether the peer sees another address than the local one.
    pub fn set_translated(&self, translated: bool) {
        self.translated.store(translated, Relaxed);
    }

    /// How a lane got through on it last: the most elaborate way, if sessions differ.
    pub fn last_via(&self) -> Via {
        let vias = [packet::TCP, packet::UDP].map(|inner| self.via(inner));
        if vias.contains(&Some(Via::Tcp)) {
            Via::Tcp
        } else if vias.contains(&Some(Via::Udp)) {
            Via::Udp
        } else {
            Via::Raw
        }
    }

    /// Why it does not work, or that it does.
    pub fn set_reason(&self, reason: Option<Reason>) {
        self.reason
            .store(reason.map_or(NO_REASON, Reason::number), Relaxed);
    }

    /// Why it does not work, as netlink knows it.
    pub fn reason(&self) -> Option<u32> {
        Some(self.reason.load(Relaxed)).filter(|reason| *reason != NO_REASON)
    }

    /// How a lane of a session of protocol `inner` got through on it last.
    pub fn via(&self, inner: u8) -> Option<Via> {
        match self.via[usize::from(inner == packet::UDP)].load(Relaxed) {
            1 => Some(Via::Raw),
            2 => Some(Via::Udp),
            3 => Some(Via::Tcp),
            _ => None,
        }
    }

    /// A lane of a session of protocol `inner` has got through like this.
    pub fn set_via(&self, inner: u8, via: Via) {
        self.via[usize::from(inner == packet::UDP)].store(via as u32 + 1, Relaxed);
    }

    /// Whether it answers, as far as is known.
    pub fn is_usable(&self) -> bool {
        self.standing() >= Standing::Doubtful
    }

    /// Whether one of its ends is not there.
    pub fn is_down(&self) -> bool {
        self.down.load(Relaxed) || self.gone.load(Relaxed)
    }

    /// Whether the local end is not there.
    pub fn is_down_here(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// The local address or its interface has gone, or is back. False if that was known.
    pub fn set_down(&self, down: bool) -> bool {
        self.down.xchg(down, Relaxed) != down
    }

    /// The peer says that its end has gone, or is back. False if that was known.
    pub fn set_gone(&self, gone: bool) -> bool {
        self.gone.xchg(gone, Relaxed) != gone
    }

    /// A question of the peer was answered now.
    pub fn answered(&self, now: u32) {
        self.answered_at.store(now, Relaxed);
    }

    /// Whether either end has asked lately: the path is in use.
    pub fn is_busy(&self, now: u32) -> bool {
        const LATELY_US: u32 = 200_000;
        seq::age(now, self.answered_at.load(Relaxed)) < LATELY_US
            || seq::age(now, self.asked_at.load(Relaxed)) < LATELY_US
    }

    /// Claims the path for the worker's list of those with open questions; false if it is there.
    pub fn watch(&self) -> bool {
        !self.watched.xchg(true, Full)
    }

    /// It is not on that list any more. With its state locked, or what is asked now is not watched.
    pub fn unwatch(&self) {
        self.watched.xchg(false, Full);
    }

    /// A lane begins to use it.
    pub fn add_user(&self) {
        self.users.add(1u32, Relaxed);
    }

    /// A lane has gone.
    pub fn remove_user(&self) {
        self.users.fetch_sub(1u32, Relaxed);
    }

    /// Interface of the local address; 0 while none is known.
    pub fn ifindex(&self) -> u32 {
        self.ifindex.load(Relaxed)
    }

    /// Counts sent packets.
    pub fn count_tx(&self, packets: u32, bytes: usize) {
        self.tx_packets.add(u64::from(packets), Relaxed);
        self.tx_bytes.add(bytes as u64, Relaxed);
    }

    /// Counts received packets.
    pub fn count_rx(&self, packets: u32, bytes: usize) {
        self.rx_packets.add(u64::from(packets), Relaxed);
        self.rx_bytes.add(bytes as u64, Relaxed);
    }

    /// How long the queue is thought to be.
    fn backlog(&self) -> Backlog {
        Backlog(self.backlog.load(Relaxed))
    }

    /// Something was lost that had to wait for `wait` microseconds in the queue. Whether it may be
    /// sent again without TCP being told.
    pub fn may_repair(&self, now: u32, lost: u32, wait: u32) -> bool {
        let sent = Sent {
            all: self.chosen_bytes.load(Relaxed),
            full: self.crowded_bytes.load(Relaxed),
        };
        let mut state = self.state.lock();
        let full = wait >= state.full_queue();
        state.losses.may_repair(now, lost, full, sent)
    }

    /// The queue has turned out to be longer by so much, microseconds.
    pub fn correct(&self, now: u32, error: i32) {
        if error != 0 {
            self.set_backlog(self.backlog().correct(now, error));
        }
    }

    /// Nothing is in the queue any more.
    pub fn empty_queue(&self) {
        self.set_backlog(Backlog::default());
    }

    /// Two CPUs may overwrite each other's: the next report tells.
    fn set_backlog(&self, backlog: Backlog) {
        self.backlog.store(backlog.0, Relaxed);
    }

    /// The totals that reports carry.
    pub fn totals(&self, now: u32) -> path::Totals {
        path::Totals {
            tx_packets: self.tx_packets.load(Relaxed),
            rx_packets: self.rx_packets.load(Relaxed),
            rx_bytes: self.rx_bytes.load(Relaxed),
            wait_us: self.backlog().wait(now),
        }
    }

    /// Bytes sent.
    pub fn tx_bytes(&self) -> u64 {
        self.tx_bytes.load(Relaxed)
    }

    /// Copies what the fast paths need; called with the state just changed.
    pub fn publish(&self, state: &path::Path) {
        if state.tx.last().is_some() {
            self.delay.store(state.tx.smoothed(), Relaxed);
            self.queue.store(state.queue(), Relaxed);
            self.base.store(state.tx.min(), Relaxed);
            self.base_rtt.store(state.base_rtt(), Relaxed);
            self.rate.store(state.rate(), Relaxed);
            self.loss.store(state.loss(), Relaxed);
            self.noise.store(state.tx.deviation(), Relaxed);
            self.full_queue.store(state.full_queue(), Relaxed);
            self.measured.store(true, Relaxed);
        }
        if state.rx.last().is_some() {
            self.rx_delay.store(state.rx.smoothed(), Relaxed);
            self.rx_deviation.store(state.rx.deviation(), Relaxed);
            self.rx_crowded.store(state.is_crowded_from_peer(), Relaxed);
            self.rx_measured.store(true, Relaxed);
        }
        if state.rtt.is_sampled() {
            self.answer_in.store(state.rtt.timeout(), Relaxed);
        }
        self.idle_times.store(state.idle_interval(1), Relaxed);
        self.standing.store(state.standing() as u32, Relaxed);
        if let Some(expected) = state.expected() {
            self.expected.store(expected, Relaxed);
        }
        self.waiting.store(state.expected().is_some(), Relaxed);
        if let Some(heard) = state.heard() {
            self.heard.store(heard, Relaxed);
        }
    }

    /// A cheap look whether a question may be due.
    pub fn maybe_due(&self, now: u32, interval: u32) -> bool {
        seq::age(now, self.asked_at.load(Relaxed)) >= interval
    }

    /// A question leaves now.
    pub fn asked(&self, now: u32) {
        self.asked_at.store(now, Relaxed);
    }

    /// One-way delay from the peer and its deviation, microseconds.
    pub fn rx_delay(&self) -> Option<(i32, u32)> {
        self.rx_measured
            .load(Relaxed)
            .then(|| (self.rx_delay.load(Relaxed), self.rx_deviation.load(Relaxed)))
    }

    /// Whether what is lost on the way from the peer is likely to be congestion.
    pub fn is_crowded_from_peer(&self) -> bool {
        self.rx_crowded.load(Relaxed)
    }

    /// How long an answer takes at most, microseconds; `None` while that was not measured.
    pub fn answer_us(&self) -> Option<u32> {
        Some(self.answer_in.load(Relaxed)).filter(|us| *us != 0)
    }

    /// The path MTU that an ICMP error told, bytes.
    pub fn mtu(&self) -> u32 {
        let mtu = self.mtu.load(Relaxed);
        if mtu != u32::MAX && clock::now_ms().wrapping_sub(self.mtu_at.load(Relaxed)) >= MTU_LIFE_MS
        {
            self.mtu.store(u32::MAX, Relaxed);
            return u32::MAX;
        }
        mtu
    }

    /// Takes in a smaller path MTU; false if it is not smaller.
    pub fn lower_mtu(&self, mtu: u32) -> bool {
        let floor = if self.local.family() == 4 { 552 } else { 1280 };
        let mtu = mtu.max(floor);
        if mtu >= self.mtu() {
            return false;
        }
        self.mtu_at.store(clock::now_ms(), Relaxed);
        self.mtu.store(mtu, Relaxed);
        true
    }
}

impl PathInfo for Arc<Path> {
    fn standing(&self) -> Standing {
        Path::standing(self)
    }

    fn is_strict(&self) -> bool {
        Path::is_strict(self)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }

    fn silent_us(&self, now: u32) -> u32 {
        if !self.waiting.load(Relaxed) {
            return 0;
        }
        let overdue = seq::delta(now, self.expected.load(Relaxed)).max(0) as u32;
        overdue.min(seq::age(now, self.heard.load(Relaxed)))
    }

    fn queue_us(&self) -> u32 {
        self.queue.load(Relaxed)
    }

    fn delay_us(&self) -> Option<i32> {
        self.measured
            .load(Relaxed)
            .then(|| self.delay.load(Relaxed))
    }

    fn base_us(&self) -> Option<i32> {
        self.measured.load(Relaxed).then(|| self.base.load(Relaxed))
    }

    fn base_rtt_us(&self) -> u32 {
        self.base_rtt.load(Relaxed)
    }

    fn rate(&self) -> u32 {
        self.rate.load(Relaxed)
    }

    fn is_forgotten(&self, now: u32, interval: u32) -> bool {
        let times = self.idle_times.load(Relaxed);
        self.maybe_due(now, interval.saturating_mul(times))
    }

    fn noise_us(&self) -> u32 {
        self.noise.load(Relaxed)
    }

    fn full_us(&self) -> u32 {
        self.full_queue.load(Relaxed)
    }

    fn loss(&self) -> u32 {
        self.loss.load(Relaxed)
    }

    fn wait_us(&self, now: u32) -> u32 {
        self.backlog().wait(now)
    }

    fn queued(&self, now: u32, len: u32) {
        let backlog = self.backlog();
        self.chosen_bytes.add(u64::from(len), Relaxed);
        if backlog.wait(now) >= self.full_queue.load(Relaxed) {
            self.crowded_bytes.add(u64::from(len), Relaxed);
        }
        let rate = self.rate.load(Relaxed);
        if rate != 0 {
            self.set_backlog(backlog.add(now, len, rate));
        }
    }

    fn weight(&self) -> u16 {
        self.weight.load(Relaxed) as u16
    }

    fn learn(&self, weight: u16) {
        self.weight.store(u32::from(weight), Relaxed);
    }
}

/// How a peer can be reached, from its own announcements.
#[derive(Clone, Copy)]
pub struct Reach {
    /// Number of the newest message that told so.
    pub number: u32,
    /// Number of the newest ADDR.
    pub moved: u32,
    /// Its UDP port for paths of UDP sessions.
    pub udp_port: u16,
    /// Its addresses.
    pub addrs: [Option<Entry>; MAX_ADDRS],
}

/// The announcement of this node's addresses to a peer (ADDR).
#[derive(Clone, Copy)]
pub struct Announcement {
    // Number of the first try; 0 for none.
    first: u32,
    tries: u32,
    next_ms: u32,
    wanted: bool,
}

/// First interval between two announcements, milliseconds; it doubles.
const ANNOUNCE_MS: u32 = 50;
/// How often an announcement is repeated.
const ANNOUNCE_TRIES: u32 = 8;

/// A node that keys are agreed with.
#[pin_data]
pub struct Peer {
    /// Its node id.
    pub node: u64,
    /// The keys.
    pub keys: Keys,
    /// Which exchange the keys came from: a repeated CONFIRM changes nothing.
    pub exchange: (u64, u64),
    /// Whether this end asked.
    pub initiated: bool,
    /// When the keys were agreed, milliseconds since boot.
    pub born_ms: u64,
    heard_ms: Atomic<u64>,
    number: Atomic<u32>,
    /// Number of sessions.
    pub sessions: Atomic<u32>,
    left: Atomic<bool>,
    left_ms: Atomic<u64>,
    /// The goodbye of this end was answered.
    pub goodbye_acked: Atomic<bool>,
    /// What listeners were told of it.
    pub told: Told,
    #[pin]
    window: BhLock<Window>,
    /// Where it can be reached.
    #[pin]
    pub reach: BhLock<Reach>,
    /// It has told of addresses that no paths were looked for with yet.
    pub has_moved: Atomic<bool>,
    /// When paths were looked for because of that, milliseconds.
    pub followed_ms: Atomic<u32>,
    #[pin]
    announcement: BhLock<Announcement>,
    #[pin]
    paths: BhLock<[Option<Arc<Path>>; MAX_PATHS]>,
}

impl Peer {
    /// A peer with fresh keys. Process context.
    pub fn new(node: u64, keys: Keys, exchange: (u64, u64), initiated: bool) -> Result<Arc<Peer>> {
        let now = clock::now_us64() / 1000;
        Arc::pin_init(
            pin_init!(Peer {
                node,
                keys,
                exchange,
                initiated,
                born_ms: now,
                heard_ms: Atomic::new(now),
                number: Atomic::new(0),
                sessions: Atomic::new(0),
                left: Atomic::new(false),
                left_ms: Atomic::new(0),
                goodbye_acked: Atomic::new(false),
                told: Told::new(),
                window <- new_bh_lock!(Window::new(), "mpip_peer_window"),
                reach <- new_bh_lock!(
                    Reach {
                        number: 0,
                        moved: 0,
                        udp_port: 0,
                        addrs: [None; MAX_ADDRS],
                    },
                    "mpip_peer_reach"
                ),
                has_moved: Atomic::new(false),
                followed_ms: Atomic::new(0),
                announcement <- new_bh_lock!(
                    Announcement {
                        first: 0,
                        tries: 0,
                        next_ms: 0,
                        wanted: false,
                    },
                    "mpip_peer_announcement"
                ),
                paths <- new_bh_lock!([const { None }; MAX_PATHS], "mpip_peer_paths"),
            }),
            GFP_KERNEL,
        )
    }

    /// Number of the next control message; never 0.
    pub fn next_number(&self) -> u32 {
        loop {
            let number = self.number.fetch_add(1u32, Relaxed).wrapping_add(1);
            if number != 0 {
                return number;
            }
        }
    }

    /// Whether an authentic control message with this number is new.
    pub fn accept(&self, number: u32) -> bool {
        self.window.lock().check_and_set(number)
    }

    /// An authentic message came.
    pub fn heard(&self) {
        self.heard_ms.store(clock::now_us64() / 1000, Relaxed);
    }

    /// When the last authentic message came, milliseconds since boot.
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Relaxed)
    }

    /// The peer has said goodbye.
    pub fn leave(&self) {
        self.left_ms.store(clock::now_us64() / 1000, Relaxed);
        self.left.store(true, Relaxed);
    }

    /// Whether the peer has said goodbye so long ago that nothing of it is under way.
    pub fn is_long_gone(&self) -> bool {
        const DRAIN_MS: u64 = 500;
        let since = (clock::now_us64() / 1000).saturating_sub(self.left_ms.load(Relaxed));
        self.has_left() && since >= DRAIN_MS
    }

    /// Whether the peer has said goodbye.
    pub fn has_left(&self) -> bool {
        self.left.load(Relaxed)
    }

    /// This node's addresses have changed: the peer has to be told.
    pub fn want_announcement(&self) {
        *self.announcement.lock() = Announcement {
            first: 0,
            tries: 0,
            next_ms: clock::now_ms(),
            wanted: true,
        };
    }

    /// The number under which an announcement is to be sent now, if one is; otherwise how long
    /// that has time, milliseconds, `None` for ever.
    pub fn next_announcement(&self) -> Result<u32, Option<u32>> {
        let now = clock::now_ms();
        let mut a = self.announcement.lock();
        if !a.wanted {
            return Err(None);
        }
        let left = a.next_ms.wrapping_sub(now) as i32;
        if left > 0 && a.tries < ANNOUNCE_TRIES {
            return Err(Some(left as u32));
        }
        if a.tries >= ANNOUNCE_TRIES {
            // There may have been no way: see `announce_again`.
            return Err(None);
        }
        a.next_ms = now.wrapping_add(ANNOUNCE_MS << a.tries);
        a.tries += 1;
        let number = self.next_number();
        if a.first == 0 {
            a.first = number;
        }
        Ok(number)
    }

    /// There is a new way to the peer: what it has not heard of is told at once. True if there is
    /// anything.
    pub fn announce_again(&self) -> bool {
        let mut a = self.announcement.lock();
        a.tries = 0;
        a.next_ms = clock::now_ms();
        a.wanted
    }

    /// The peer has answered the announcement with this number: any try will do.
    pub fn announced(&self, number: u32) {
        let mut a = self.announcement.lock();
        if a.first != 0 && !seq::before(number, a.first) {
            a.wanted = false;
        }
    }

    /// Whether no later ADDR with another list of paths was taken in before.
    pub fn is_newest_move(&self, number: u32) -> bool {
        let mut reach = self.reach.lock();
        if reach.moved != 0 && !seq::after(number, reach.moved) {
            return false;
        }
        reach.moved = number;
        true
    }

    /// The path between two addresses, made if need be; `None` when there are too many or there
    /// is no memory. Any context.
    ///
    /// Both ends may have the same two addresses by several ways: `ifindex` tells them apart here,
    /// `theirs`, the peer's id of the path, where it has asked for the lane.
    pub fn path(
        &self,
        local: Addr,
        remote: Addr,
        ifindex: u32,
        theirs: Option<u8>,
        limit: usize,
    ) -> Option<Arc<Path>> {
        let mut paths = self.paths.lock();
        let mut free = None;
        let mut unused = None;
        for (i, slot) in paths.iter().enumerate() {
            match slot {
                Some(path)
                    if path.local == local
                        && path.remote == remote
                        && path.is_by(ifindex)
                        && path.is_theirs(theirs) =>
                {
                    if ifindex != 0 {
                        path.ifindex.store(ifindex, Relaxed);
                    }
                    return Some(path.clone());
                }
                Some(path) if i < limit && path.users.load(Relaxed) == 0 => unused = Some(i),
                Some(_) => {}
                None if free.is_none() && i < limit => free = Some(i),
                None => {}
            }
        }
        let free = free.or(unused)?;
        let id = u8::try_from(free).ok().filter(|id| *id != NO_PATH)?;
        let path = Arc::pin_init(Path::new(id, local, remote, ifindex), GFP_ATOMIC).ok()?;
        *paths.get_mut(free)? = Some(path.clone());
        Some(path)
    }

    /// The path with this id.
    pub fn path_by_id(&self, id: usize) -> Option<Arc<Path>> {
        self.paths.lock().get(id)?.clone()
    }

    /// Number of paths.
    pub fn path_count(&self) -> u32 {
        self.paths.lock().iter().flatten().count() as u32
    }
}
