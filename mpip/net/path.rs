// SPDX-License-Identifier: GPL-2.0

//! Paths as the kernel keeps them.

mod info;

use crate::{
    net::event::{
        Reason,
        Told, //
    },
    new_bh_lock,
    proto::{
        addr::{
            Addr,
            Endpoint,
            Tuple, //
        },
        blackhole::{
            self,
            SMALL, //
        },
        earliest::Backlog,
        interface::{
            Reserve,
            Role,
            Wish, //
        },
        loss::Sent,
        mtu::LearntMtu,
        packet,
        path::{
            self,
            Observed,
            Standing, //
        },
        rate,
        seq,
        wire::cm,
        wrap::Via, //
    },
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        clock, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        }, //
    },
};

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
    tx_long_packets: Atomic<u64>,
    tx_long_bytes: Atomic<u64>,
    tx_large_packets: Atomic<u64>,
    rx_packets: Atomic<u64>,
    rx_bytes: Atomic<u64>,
    confirmed: Atomic<bool>,
    // A `Standing`, as far as answers tell.
    standing: Atomic<u32>,
    heard: Atomic<u32>,
    waiting: Atomic<bool>,
    expected: Atomic<u32>,
    aged: Atomic<u32>,
    // The local, the remote end is not there.
    down: Atomic<bool>,
    gone: Atomic<bool>,
    users: Atomic<u32>,
    // For TCP and for UDP.
    via: [Atomic<u32>; 2],
    strict: Atomic<bool>,
    tunnel: Atomic<bool>,
    // What this end wants of its interface: see `Role`.
    excluded: Atomic<bool>,
    reserve: Atomic<u32>,
    cost: Atomic<u32>,
    // And what it wants of the path itself: a `Wish`, and a weight, 0 for none.
    wish: Atomic<u32>,
    fixed_weight: Atomic<u32>,
    peer_reserve: Atomic<bool>,
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
    prospect: Atomic<u32>,
    asks_after: Atomic<u32>,
    new: Atomic<bool>,
    loss: Atomic<u32>,
    random_loss: Atomic<u32>,
    noise: Atomic<u32>,
    idle_times: Atomic<u32>,
    // How often it is asked at most, microseconds.
    pace: Atomic<u32>,
    // A `Backlog`.
    backlog: Atomic<u64>,
    // The longest wait that something was sent with since the last question, microseconds.
    longest: Atomic<u32>,
    urgent_at: Atomic<u32>,
    full_queue: Atomic<u32>,
    queue_limit: Atomic<u32>,
    // Bytes that the scheduler has sent here, and those of them that found the queue full.
    chosen_bytes: Atomic<u64>,
    crowded_bytes: Atomic<u64>,
    weight: Atomic<u32>,
    rx_measured: Atomic<bool>,
    rx_delay: Atomic<i32>,
    rx_deviation: Atomic<u32>,
    rx_crowded: Atomic<bool>,
    asked_at: Atomic<u32>,
    // What `chosen_bytes` was then, and when it was last asked because of what was sent since.
    asked_bytes: Atomic<u64>,
    behind_at: Atomic<u32>,
    solicited_at: Atomic<u32>,
    // For which protocol and port of the peer no port was free, and when, milliseconds.
    no_port: Atomic<u64>,
    // A word of `LearntMtu`.
    learnt_mtu: Atomic<u64>,
    // When it was found to be one last, and for how long it was taken for one; 0 if it never was.
    black_hole_at: Atomic<u32>,
    black_hole_ms: Atomic<u32>,
    /// What listeners were told of it.
    pub told: Told,
    /// What is known of it.
    #[pin]
    pub state: BhLock<path::Path>,
}

impl Path {
    pub(super) fn new(id: u8, local: Addr, remote: Addr, ifindex: u32) -> impl PinInit<Self> {
        let long_ago = clock::now_us().wrapping_sub(path::LONG_AGO_US);
        pin_init!(Self {
            id,
            local,
            remote,
            ifindex: Atomic::new(ifindex),
            tx_packets: Atomic::new(0),
            tx_bytes: Atomic::new(0),
            tx_long_packets: Atomic::new(0),
            tx_long_bytes: Atomic::new(0),
            tx_large_packets: Atomic::new(0),
            rx_packets: Atomic::new(0),
            rx_bytes: Atomic::new(0),
            confirmed: Atomic::new(false),
            standing: Atomic::new(Standing::Good as u32),
            heard: Atomic::new(long_ago),
            waiting: Atomic::new(false),
            expected: Atomic::new(0),
            aged: Atomic::new(clock::now_us()),
            down: Atomic::new(false),
            gone: Atomic::new(false),
            users: Atomic::new(0),
            via: [const { Atomic::new(0) }; 2],
            strict: Atomic::new(false),
            tunnel: Atomic::new(false),
            excluded: Atomic::new(false),
            reserve: Atomic::new(0),
            cost: Atomic::new(0),
            wish: Atomic::new(Wish::Active as u32),
            fixed_weight: Atomic::new(0),
            peer_reserve: Atomic::new(false),
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
            prospect: Atomic::new(0),
            asks_after: Atomic::new(0),
            new: Atomic::new(true),
            loss: Atomic::new(0),
            random_loss: Atomic::new(0),
            noise: Atomic::new(0),
            idle_times: Atomic::new(1),
            pace: Atomic::new(0),
            backlog: Atomic::new(0),
            longest: Atomic::new(0),
            urgent_at: Atomic::new(long_ago),
            full_queue: Atomic::new(u32::MAX),
            queue_limit: Atomic::new(0),
            chosen_bytes: Atomic::new(0),
            crowded_bytes: Atomic::new(0),
            weight: Atomic::new(0),
            rx_measured: Atomic::new(false),
            rx_delay: Atomic::new(0),
            rx_deviation: Atomic::new(0),
            rx_crowded: Atomic::new(false),
            asked_at: Atomic::new(long_ago),
            asked_bytes: Atomic::new(0),
            behind_at: Atomic::new(long_ago),
            solicited_at: Atomic::new(long_ago),
            no_port: Atomic::new(0),
            learnt_mtu: Atomic::new(LearntMtu::NONE),
            black_hole_at: Atomic::new(0),
            black_hole_ms: Atomic::new(0),
            told: Told::new(),
            state <- new_bh_lock!(path::Path::new(), "mpip_path"),
        })
    }

    /// A lane on this path may carry data.
    pub fn confirm(&self) {
        self.confirmed.write_once(true);
    }

    /// Whether a lane on this path ever could carry data.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.read_once()
    }

    /// How far it can be relied on.
    pub fn standing(&self) -> Standing {
        if self.is_down() {
            return Standing::Down;
        }
        match self.standing.read_once() {
            s if s == Standing::Good as u32 => Standing::Good,
            s if s == Standing::Lossy as u32 => Standing::Lossy,
            s if s == Standing::Doubtful as u32 => Standing::Doubtful,
            _ => Standing::Suspect,
        }
    }

    /// Whether it goes by this interface, as far as that is known.
    pub(super) fn is_by(&self, ifindex: u32) -> bool {
        let mine = self.ifindex();
        mine == ifindex || mine == 0 || ifindex == 0
    }

    /// Whether the peer has this id for it, as far as that is known.
    pub(super) fn is_theirs(&self, id: Option<u8>) -> bool {
        let Some(id) = id else { return true };
        self.state.lock().peer_id.is_none_or(|known| known == id)
    }

    /// Whether a session's own tuple does not get through on it while other lanes are used.
    pub fn is_strict(&self) -> bool {
        self.strict.read_once()
    }

    /// A session's own tuple did not get through while another lane did.
    pub fn set_strict(&self) {
        self.strict.write_once(true);
    }

    /// Whether it goes, or once went, through a tunnel of this host.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.read_once()
    }

    /// It goes through a tunnel of this host.
    pub fn set_tunnel(&self) {
        self.tunnel.write_once(true);
    }

    /// Takes in what is wanted of its interface. True if the peer has to be told.
    pub fn set_role(&self, role: &Role) -> bool {
        let number = role.reserve.map_or(0, |reason| reason as u32);
        self.excluded.write_once(role.excluded);
        self.cost.write_once(role.cost);
        self.reserve.write_once(number);
        self.note_reserve()
    }

    /// Takes in what is wanted of the path itself. True if the peer has to be told.
    pub fn set_wish(&self, wish: Wish) -> bool {
        self.wish.write_once(wish as u32);
        self.note_reserve()
    }

    /// Whoever comes last has seen both.
    fn note_reserve(&self) -> bool {
        let mut state = self.state.lock();
        let reserve = self.is_reserve_here();
        core::mem::replace(&mut state.reserve, reserve) != reserve
    }

    /// What is wanted of the path itself.
    pub fn wish(&self) -> Wish {
        Wish::from_number(self.wish.read_once()).unwrap_or(Wish::Active)
    }

    /// Sets a weight that counts in place of what is learnt; 0 for none.
    pub fn fix_weight(&self, weight: u16) {
        self.fixed_weight.write_once(weight.into());
    }

    /// Whether anything was set for the path itself.
    pub(super) fn is_set(&self) -> bool {
        self.wish() != Wish::Active || self.fixed_weight.read_once() != 0
    }

    /// Whether its interface is not to be used for lanes.
    pub fn is_excluded(&self) -> bool {
        self.excluded.read_once()
    }

    /// Whether the path itself is not to be used.
    pub fn is_disabled(&self) -> bool {
        self.wish() == Wish::Disabled
    }

    /// Whether this end does not want to use it, be both ends there or not.
    pub fn is_shut(&self) -> bool {
        self.is_excluded() || self.is_disabled()
    }

    /// Whether this end wants to use it only when nothing else works.
    pub fn is_reserve_here(&self) -> bool {
        self.reserve.read_once() != 0 || self.wish() == Wish::Standby
    }

    /// Why it is used only when nothing else works.
    pub fn reserve(&self) -> Option<Reserve> {
        let mine = || (self.wish() == Wish::Standby).then_some(Reserve::Standby);
        let theirs = || self.peer_reserve.read_once().then_some(Reserve::Peer);
        let links = Reserve::from_number(self.reserve.read_once());
        links.or_else(mine).or_else(theirs)
    }

    /// A message of the lane exchange tells what the peer calls it, and whether it wants to use it
    /// only when nothing else works.
    pub fn bind(&self, lane: &cm::Lane) {
        let mut state = self.state.lock();
        state.bind(lane.path);
        state.set_peer_reserve(lane.flags & cm::LANE_RESERVE != 0);
        self.publish(&state);
    }

    /// Whether the peer sees another address than the local one.
    pub fn is_translated(&self) -> bool {
        self.translated.read_once()
    }

    /// The peer has told what it sees packets come from that leave on this path by a tuple: with
    /// another address there is a NAT on this side.
    pub fn saw_translation(&self, tuple: &Tuple, observed: Option<Endpoint>) {
        let Some(end) = observed else { return };
        let seen = Observed {
            end,
            port: tuple.local.port,
            proto: tuple.proto,
        };
        let other = Some(seen).filter(|_| end.addr != self.local);
        self.state.lock().observed = other;
        self.translated.write_once(other.is_some());
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
            .write_once(reason.map_or(NO_REASON, Reason::number));
    }

    /// Why it does not work, as netlink knows it.
    pub fn reason(&self) -> Option<u32> {
        Some(self.reason.read_once()).filter(|reason| *reason != NO_REASON)
    }

    /// How a lane of a session of protocol `inner` got through on it last.
    pub fn via(&self, inner: u8) -> Option<Via> {
        match self.via[usize::from(inner == packet::UDP)].read_once() {
            1 => Some(Via::Raw),
            2 => Some(Via::Udp),
            3 => Some(Via::Tcp),
            _ => None,
        }
    }

    /// A lane of a session of protocol `inner` has got through like this.
    pub fn set_via(&self, inner: u8, via: Via) {
        self.via[usize::from(inner == packet::UDP)].write_once((via as u32).wrapping_add(1));
    }

    /// Whether it answers, as far as is known.
    pub fn is_usable(&self) -> bool {
        self.standing() >= Standing::Doubtful
    }

    /// Whether one of its ends is not there.
    pub fn is_down(&self) -> bool {
        self.down.read_once() || self.gone.read_once()
    }

    /// Whether the local end is not there.
    pub fn is_down_here(&self) -> bool {
        self.down.read_once()
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
        self.answered_at.write_once(now);
    }

    /// Whether either end has asked lately: the path is in use.
    pub fn is_busy(&self, now: u32) -> bool {
        const LATELY_US: u32 = 200_000;
        seq::age(now, self.answered_at.read_once()) < LATELY_US
            || seq::age(now, self.asked_at.read_once()) < LATELY_US
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

    /// No port of this end was free for a lane of protocol `proto` to this port: all have one like
    /// that already. Others need not search for one at once.
    pub fn found_no_port(&self, proto: u8, port: u16, now_ms: u32) {
        let ends = u64::from(proto) << 16 | u64::from(port);
        self.no_port.write_once(ends << 32 | u64::from(now_ms));
    }

    /// Whether that was lately, milliseconds.
    pub fn lacks_ports(&self, proto: u8, port: u16, now_ms: u32) -> bool {
        const FOR_MS: u32 = 1_000;
        let known = self.no_port.read_once();
        let ends = u64::from(proto) << 16 | u64::from(port);
        known >> 32 == ends && seq::age_ms(now_ms, known as u32) < FOR_MS
    }

    /// Whether any lane uses it.
    pub fn is_used(&self) -> bool {
        self.users.read_once() != 0
    }

    /// Says that it leaves by another interface now.
    pub fn set_ifindex(&self, ifindex: u32) {
        self.ifindex.write_once(ifindex);
    }

    /// Interface of the local address; 0 while none is known.
    pub fn ifindex(&self) -> u32 {
        self.ifindex.read_once()
    }

    /// Counts sent packets. `fits` is asked of those that are not small: whether nobody on the way
    /// should have to cut them, as far as is known.
    pub fn count_tx(&self, packets: u32, bytes: usize, fits: impl FnOnce() -> bool) {
        self.tx_packets.add(u64::from(packets), Relaxed);
        self.tx_bytes.add(bytes as u64, Relaxed);
        if bytes > SMALL.saturating_mul(packets as usize) {
            self.tx_long_packets.add(u64::from(packets), Relaxed);
            self.tx_long_bytes.add(bytes as u64, Relaxed);
            if fits() {
                self.tx_large_packets.add(u64::from(packets), Relaxed);
            }
        }
    }

    /// How long its link needs for so many bytes, microseconds; 0 while its rate is unknown.
    pub fn service_us(&self, len: u32) -> u32 {
        rate::service(len, self.sure_rate())
    }

    /// What its link carries for certain, bytes per second; 0 while that is unknown.
    fn sure_rate(&self) -> u32 {
        rate::surely(self.rate.read_once(), self.prospect.read_once())
    }

    /// Counts received packets.
    pub fn count_rx(&self, packets: u32, bytes: usize) {
        self.rx_packets.add(u64::from(packets), Relaxed);
        self.rx_bytes.add(bytes as u64, Relaxed);
    }

    /// How long the queue is thought to be.
    fn backlog(&self) -> Backlog {
        Backlog(self.backlog.read_once())
    }

    /// Something was lost that had to wait for `wait` microseconds in the queue. Whether it may be
    /// sent again without TCP being told.
    pub fn may_repair(&self, now: u32, lost: u32, wait: u32) -> bool {
        let sent = Sent {
            all: self.chosen_bytes.read_once(),
            full: self.crowded_bytes.read_once(),
        };
        let mut state = self.state.lock();
        let full = wait >= state.full_queue();
        let may = state.losses.may_repair(now, lost, full, sent);
        self.random_loss.write_once(state.losses.random());
        may
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
        self.ask_anew(0);
    }

    /// Two CPUs may overwrite each other's: the next report tells.
    fn set_backlog(&self, backlog: Backlog) {
        self.backlog.write_once(backlog.0);
    }

    /// The totals that reports carry.
    pub fn totals(&self, now: u32) -> path::Totals {
        path::Totals {
            tx_packets: self.tx_packets.read_once(),
            tx_bytes: self.tx_bytes.read_once(),
            tx_long_packets: self.tx_long_packets.read_once(),
            tx_long_bytes: self.tx_long_bytes.read_once(),
            tx_large_packets: self.tx_large_packets.read_once(),
            rx_packets: self.rx_packets.read_once(),
            rx_bytes: self.rx_bytes.read_once(),
            wait_us: self.backlog().wait(now),
            longest_us: self.longest.read_once(),
        }
    }

    /// A question leaves; what follows it waits for `wait` microseconds.
    pub fn ask_anew(&self, wait: u32) {
        self.longest.write_once(wait);
    }

    /// Bytes sent.
    pub fn tx_bytes(&self) -> u64 {
        self.tx_bytes.read_once()
    }

    /// What was lost on it says nothing of it, see [`path::Path::forgive`]. Any context.
    pub fn forgive(&self) {
        let mut state = self.state.lock();
        state.forgive(clock::now_us());
        self.publish(&state);
    }

    /// Keeps times of long ago in their place, now and then. Any context, about once a second.
    pub fn age(&self, now: u32) {
        const OFTEN_US: u32 = 1 << 28;
        if seq::age(now, self.aged.read_once()) < OFTEN_US {
            return;
        }
        self.aged.write_once(now);
        let mut state = self.state.lock();
        state.age(now);
        if state.heard().is_none() {
            // One that never answered has been silent for ever.
            self.heard.write_once(now.wrapping_sub(path::LONG_AGO_US));
        }
        self.publish(&state);
    }

    /// Copies what the fast paths need; called with the state just changed.
    pub fn publish(&self, state: &path::Path) {
        if state.tx.last().is_some() {
            self.delay.write_once(state.tx.smoothed());
            self.queue.write_once(state.queue());
            self.base.write_once(state.tx.min());
            self.base_rtt.write_once(state.base_rtt());
            self.rate.write_once(state.rate());
            self.prospect.write_once(state.prospect());
            self.asks_after.write_once(state.asks_after());
            self.new.write_once(state.is_new());
            self.loss.write_once(state.loss());
            self.random_loss.write_once(state.losses.random());
            self.noise.write_once(state.tx.deviation());
            self.full_queue.write_once(state.full_queue());
            self.queue_limit.write_once(state.queue_limit());
            self.measured.write_once(true);
        }
        if state.rx.last().is_some() {
            self.rx_delay.write_once(state.rx.smoothed());
            self.rx_deviation.write_once(state.rx.deviation());
            self.rx_crowded.write_once(state.is_crowded_from_peer());
            self.rx_measured.write_once(true);
        }
        if state.rtt.is_sampled() {
            self.answer_in.write_once(state.rtt.timeout());
        }
        self.peer_reserve.write_once(state.is_peer_reserve());
        self.idle_times.write_once(state.idle_interval(1));
        self.pace.write_once(state.pace());
        self.standing.write_once(state.standing() as u32);
        if let Some(expected) = state.expected() {
            self.expected.write_once(expected);
        }
        self.waiting.write_once(state.expected().is_some());
        if let Some(heard) = state.heard() {
            self.heard.write_once(heard);
        }
    }

    /// A cheap look whether a question may be due.
    pub fn maybe_due(&self, now: u32, interval: u32) -> bool {
        seq::age(now, self.asked_at.read_once()) >= interval.max(self.pace.read_once())
    }

    /// Whether the next hop's link address may be asked for again, `interval` after the last time;
    /// it is done then.
    pub fn may_solicit(&self, now: u32, interval: u32) -> bool {
        let may = seq::age(now, self.solicited_at.read_once()) >= interval;
        if may {
            self.solicited_at.write_once(now);
        }
        may
    }

    /// How long ago it was asked last, microseconds.
    pub fn asked_ago(&self, now: u32) -> u32 {
        seq::age(now, self.asked_at.read_once())
    }

    /// A question leaves now, before `behind` bytes that have been taken into account already.
    pub fn asked(&self, now: u32, behind: u32) {
        self.asked_at.write_once(now);
        let before = self.chosen_bytes.read_once();
        let before = before.saturating_sub(behind.into());
        self.asked_bytes.write_once(before);
    }

    /// Bytes that the scheduler has sent here since the last question.
    fn unasked(&self) -> u32 {
        let all = self.chosen_bytes.read_once();
        let unasked = all.saturating_sub(self.asked_bytes.read_once());
        u32::try_from(unasked).unwrap_or(u32::MAX)
    }

    /// Whether nobody has asked for `interval` though much was sent. Who waits for
    /// acknowledgments sends nothing that a question could leave with.
    pub fn is_unasked(&self, now: u32, interval: u32) -> bool {
        self.unasked() >= rate::TRAIN && self.maybe_due(now, interval)
    }

    /// One-way delay from the peer and its deviation, microseconds.
    pub fn rx_delay(&self) -> Option<(i32, u32)> {
        self.rx_measured
            .read_once()
            .then(|| (self.rx_delay.read_once(), self.rx_deviation.read_once()))
    }

    /// Whether what is lost on the way from the peer is likely to be congestion.
    pub fn is_crowded_from_peer(&self) -> bool {
        self.rx_crowded.read_once()
    }

    /// How long an answer takes at most, microseconds; `None` while that was not measured.
    pub fn answer_us(&self) -> Option<u32> {
        Some(self.answer_in.read_once()).filter(|us| *us != 0)
    }

    /// What it was found to carry, as long as that counts.
    fn learnt_mtu(&self) -> Option<LearntMtu> {
        let word = self.learnt_mtu.read_once();
        let learnt = LearntMtu::from_word(word)?;
        if clock::now_us64() / 1000 < learnt.until_ms {
            return Some(learnt);
        }
        // What another processor learns at this moment is another word, and stays.
        match self.learnt_mtu.cmpxchg(word, LearntMtu::NONE, Relaxed) {
            Ok(_) => None,
            Err(other) => LearntMtu::from_word(other),
        }
    }

    /// The path MTU that an ICMP error told or the loss of all that was larger, bytes.
    pub fn mtu(&self) -> u32 {
        self.learnt_mtu()
            .map_or(u32::MAX, |learnt| learnt.mtu.into())
    }

    /// Whether it loses what is larger than its MTU and nobody tells the sockets.
    pub fn is_black_hole(&self) -> bool {
        self.learnt_mtu().is_some_and(|learnt| learnt.silent)
    }

    /// Takes in a smaller path MTU that an ICMP error tells, and so the sockets; false if it is not
    /// smaller.
    pub fn lower_mtu(&self, mtu: u32) -> bool {
        self.learn_mtu(mtu, false, MTU_LIFE_MS)
    }

    fn learn_mtu(&self, mtu: u32, silent: bool, life_ms: u32) -> bool {
        let floor = if self.local.family() == 4 { 552 } else { 1280 };
        let mtu = mtu.max(floor);
        if mtu >= self.mtu() {
            return false;
        }
        // No packet is longer.
        let Ok(mtu) = u16::try_from(mtu) else {
            return false;
        };
        let until_ms = (clock::now_us64() / 1000).saturating_add(life_ms.into());
        let learnt = LearntMtu {
            mtu,
            silent,
            until_ms,
        };
        self.learnt_mtu.write_once(learnt.to_word());
        true
    }

    /// It has lost all large packets. False if that was known.
    pub fn set_black_hole(&self) -> bool {
        let now = clock::now_ms();
        let age = seq::age_ms(now, self.black_hole_at.read_once());
        let life = blackhole::life_ms(self.black_hole_ms.read_once(), age);
        let lower = self.learn_mtu(SMALL as u32, true, life);
        if lower {
            self.black_hole_at.write_once(now);
            self.black_hole_ms.write_once(life);
        }
        lower
    }
}
