// SPDX-License-Identifier: GPL-2.0

//! TCP segments, and datagrams that are to keep their order, wait in their session for those that
//! they overtook, and go on from there. What comes gets there by the hook at LOCAL_IN (`hook`).

use crate::{
    net::{
        instance::Instance,
        path::Path,
        ready::Ready,
        session::Session, //
    },
    proto::{
        counters::Counter,
        datagrams::{
            self,
            Seen,
            Sight, //
        },
        packet::{
            self,
            Packet,
            TcpHeader, //
        },
        path::Standing,
        reorder::{
            self,
            Reorder,
            Segment, //
        },
        seq,
        session::{
            LaneState,
            MAX_LANES, //
        },
        stamps::Stamps,
        wire::{
            cm::{
                Place,
                Ranges, //
            },
            option, //
        }, //
    },
    sys::{
        bh::BhGuard,
        clock,
        skb::{
            Csum,
            Held,
            Skb, //
        },
        timer::Timer, //
    },
};
use core::borrow::{
    Borrow,
    BorrowMut, //
};
use kernel::{
    alloc::flags::{
        GFP_ATOMIC,
        __GFP_NOWARN, //
    },
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
};

mod hook;
pub use hook::local_in;

/// Added to the longest difference between the paths: jitter and timer slack, microseconds.
const MARGIN_US: u32 = 15_000;
/// How long datagrams that count as lost are waited for all the same, microseconds.
const DATAGRAM_SETTLE_US: u32 = 10_000;
/// As [`MARGIN_US`], for datagrams.
const DATAGRAM_MARGIN_US: u32 = 50_000;
/// Memory that all buffers of a namespace hold at most, bytes.
const MAX_HELD: i64 = 64 << 20;
/// An idle session gives back its storage after this time, milliseconds.
pub(super) const STORAGE_LIFE_MS: u32 = 5_000;
/// How long a computed wait holds, microseconds.
const WAIT_LIFE_US: u32 = 20_000;
/// Added to what the slowest lane may need more than the quickest, microseconds.
const SLACK_US: u32 = 2_000;
/// Added to the time that the answer to a request may take, microseconds.
const REPAIR_MARGIN_US: u32 = 10_000;

type Slot = Option<reorder::Held<Held>>;

/// Storage of a reordering buffer.
pub struct Storage(KVec<Slot>);

impl Storage {
    fn new(slots: usize) -> Option<Storage> {
        // There is a smaller one if this fails: no need to complain.
        let mut slots_vec = KVec::with_capacity(slots, GFP_ATOMIC | __GFP_NOWARN).ok()?;
        for _ in 0..slots {
            slots_vec.push_within_capacity(None).ok()?;
        }
        Some(Storage(slots_vec))
    }
}

impl Borrow<[Slot]> for Storage {
    fn borrow(&self) -> &[Slot] {
        &self.0
    }
}

impl BorrowMut<[Slot]> for Storage {
    fn borrow_mut(&mut self) -> &mut [Slot] {
        &mut self.0
    }
}

/// What is known of what has come.
enum Known {
    /// Of a connection.
    Stream(Stamps),
    /// Of datagrams with numbers.
    Datagrams(KBox<Seen>),
}

/// The input side of a session.
pub struct Rx {
    // First: the timer's callback uses the rest.
    timer: Option<Timer>,
    // Both are made when the first segment comes by more than one way.
    buffer: Option<KBox<Reorder<Held, Storage>>>,
    ready: Option<KBox<Ready>>,
    /// Somebody is delivering: others queue behind, so that the order holds across CPUs.
    delivering: bool,
    waited_at: u32,
    known: Known,
    started: bool,
    /// The lanes have changed: what is expected on them has to be computed anew.
    stale: bool,
    dead: bool,
}

impl Default for Rx {
    /// Nothing is held, and there is no buffer yet.
    fn default() -> Rx {
        Rx {
            timer: None,
            buffer: None,
            ready: None,
            delivering: false,
            waited_at: 0,
            known: Known::Stream(Stamps::new(0)),
            started: false,
            stale: false,
            dead: false,
        }
    }
}

impl Rx {
    /// Next sequence number expected, as far as there is a buffer; packets and bytes held.
    pub fn status(&self) -> (Option<u32>, u32, u32) {
        match &self.buffer {
            Some(buffer) => (Some(buffer.next()), buffer.len() as u32, buffer.bytes()),
            None => (None, 0, 0),
        }
    }

    /// Which datagrams have come, nothing at first; `None` without memory.
    fn seen(&mut self) -> Option<&mut Seen> {
        if let Known::Stream(_) = self.known {
            let seen = KBox::new(Seen::new(), GFP_ATOMIC | __GFP_NOWARN);
            self.known = Known::Datagrams(seen.ok()?);
        }
        match &mut self.known {
            Known::Datagrams(seen) => Some(seen),
            Known::Stream(_) => None,
        }
    }

    /// The buffer, made if need be so that it expects `next`; `None` without memory.
    fn buffer(&mut self, next: u32) -> Option<&mut Reorder<Held, Storage>> {
        if self.buffer.is_none() {
            self.buffer = KBox::new(Reorder::new(next), GFP_ATOMIC | __GFP_NOWARN).ok();
        }
        self.buffer.as_deref_mut()
    }

    /// What is ready, made if need be; `None` without memory.
    fn ready(&mut self) -> Option<&mut Ready> {
        if self.ready.is_none() {
            self.ready = KBox::new(Ready::default(), GFP_ATOMIC | __GFP_NOWARN).ok();
        }
        self.ready.as_deref_mut()
    }

    /// Whether nothing waits to be delivered.
    fn is_idle(&self) -> bool {
        let ready = self.ready.as_ref().is_none_or(|r| r.is_empty());
        ready && self.buffer.as_ref().is_none_or(|b| b.is_empty())
    }

    /// See [`Ready::is_burst`].
    fn is_burst(&mut self, now: u32) -> bool {
        self.ready().is_some_and(|ready| ready.is_burst(now))
    }

    /// Keeps a segment until the burst is over.
    fn await_others(&mut self, held: Held, packet: &Packet) -> Result<u32> {
        let ready = self.ready().ok_or(ENOMEM)?;
        ready.push(held, Some(packet))
    }

    /// Appends a segment that is next to those which wait for the end of a burst; true if it is
    /// used up.
    fn join(&mut self, now: u32, skb: &mut Skb<'_>, packet: &Packet, tcp: &TcpHeader) -> bool {
        let (Some(buffer), Some(ready)) = (&mut self.buffer, &mut self.ready) else {
            return false;
        };
        let end = tcp.seq.wrapping_add(packet.seq_len());
        let next = self.delivering && buffer.is_empty() && buffer.next() == tcp.seq;
        if !next || !ready.join_at(now, skb, packet) {
            return false;
        }
        let segment = Segment {
            seq: tcp.seq,
            end,
            lane: u8::MAX,
            bytes: 0,
            rst: false,
        };
        buffer.passes(now, &segment);
        if let Known::Stream(stamps) = &mut self.known {
            stamps.follow(tcp.seq, end);
        }
        true
    }
}

impl Session {
    /// An intact segment with data came on a lane (PRE_ROUTING): tells the buffer how far that lane
    /// is. Not where it ends: until it comes as far as LOCAL_IN, another processor would take it
    /// for lost. If it goes on where one ends that waits for the end of a burst, it becomes a part
    /// of that, unless there is a message behind its data, or somebody else would see it before the
    /// transport; true then: it is used up.
    pub fn lane_progress(
        &self,
        lane: u8,
        skb: &mut Skb<'_>,
        packet: &Packet,
        is_whole: bool,
    ) -> bool {
        let Some(tcp) = packet.tcp else { return false };
        let mut rx = self.rx().lock();
        let now = clock::now_us();
        let Some(buffer) = rx.buffer(self.acked()) else {
            return false;
        };
        buffer.lane_progress(now, lane, tcp.seq);
        // The peer uses a lane again that was thought to have failed.
        let expected = buffer.expects(lane);
        rx.stale |= !expected;
        is_whole && rx.delivering && skb.is_unwatched() && rx.join(now, skb, packet, &tcp)
    }

    /// A lane has come up: what is missing may be under way on it. Any context, no lock held.
    pub fn expect_more(&self) {
        self.rx().lock().stale = true;
    }

    /// A datagram with a number came on a lane (PRE_ROUTING): what was known of it, `None` without
    /// memory. `packets` are held at most if they are to be in order, none if it is 0.
    pub fn datagram_came(&self, lane: u8, place: &Place, packets: usize) -> Option<Sight> {
        let mut rx = self.rx().lock();
        let seen = rx.seen()?;
        let next = datagrams::after(seen.top());
        let sight = seen.see(place.number);
        let previous = place.previous().filter(|_| sight == Sight::New);
        let lost = previous.filter(|number| seen.look(*number) == Sight::New);
        if !place.ordered || packets == 0 || rx.dead {
            return Some(sight);
        }
        let now = clock::now_us();
        if let Some(buffer) = rx.buffer(next) {
            buffer.lane_progress(now, lane, place.number);
            let expected = buffer.expects(lane);
            if let Some(lost) = lost {
                if !buffer.has_storage() {
                    attach(buffer, packets);
                }
                buffer.lost(now, lost, datagrams::after(lost));
                // This one may not come as far as LOCAL_IN.
                self.arm(&mut rx);
            }
            rx.stale |= !expected;
        }
        Some(sight)
    }

    /// Whether datagrams with numbers have come.
    pub fn has_numbers(&self) -> bool {
        matches!(self.rx().lock().known, Known::Datagrams(_))
    }

    /// Whether it is a connection's.
    fn is_stream(&self) -> bool {
        self.proto() == packet::TCP
    }

    /// Frees what the input side holds; held packets are delivered. Process context.
    pub fn end_ordering(&self) {
        let (timer, mut buffer);
        {
            let mut rx = self.rx().lock();
            rx.dead = true;
            timer = rx.timer.take();
            // Somebody else may be delivering: all is left to that one then.
            buffer = rx.buffer.take();
            if let Some(buffer) = &mut buffer {
                let before = buffer.bytes();
                buffer.flush();
                while let Some(held) = buffer.pop(clock::now_us()) {
                    self.enqueue(&mut rx, held);
                }
                self.account(before, buffer.bytes());
            }
        }
        // Waits for the callback, which takes the lock.
        drop(timer);
        self.deliver(self.rx().lock(), None, false);
        drop(buffer);
    }

    /// The timer of the buffer has fired.
    pub fn on_timer(&self) {
        self.deliver(self.rx().lock(), None, false);
    }

    /// The peer will not send again what is missing in these parts. Any context.
    pub fn refused(&self, ranges: &Ranges) {
        let mut rx = self.rx().lock();
        if let Some(buffer) = &mut rx.buffer {
            let now = clock::now_us();
            for (from, to) in ranges.iter() {
                buffer.refused(now, from, to);
            }
        }
        // Not from here: the stack may be deep already.
        if let Some(timer) = &rx.timer {
            timer.start(1);
        }
    }

    /// Delivers `first` and everything else that is due, in order. One at a time delivers; others
    /// leave their packets to it. If the peer may be asked for what was lost, returns what to ask
    /// for.
    fn deliver(&self, mut rx: BhGuard<'_, Rx>, first: Option<Held>, may_ask: bool) -> Ranges {
        if let Some(held) = first {
            self.enqueue(&mut rx, held);
        }
        if rx.delivering {
            return Ranges::new();
        }
        rx.delivering = true;
        self.go_on_delivering(rx, may_ask)
    }

    /// Puts a packet behind those that are to be delivered. Without memory it is lost here: TCP
    /// sends it again.
    fn enqueue(&self, rx: &mut Rx, mut held: Held) {
        let mut packet = None;
        if let Known::Stream(stamps) = &mut rx.known {
            let mut skb = held.as_skb();
            let family = self.family();
            packet = Packet::parse(skb.head(), skb.len(), family).ok();
            if let Some(packet) = &packet {
                stamp(stamps, self.acked(), &mut skb, packet);
            }
        }
        let ready = rx.ready();
        let appended = ready.map_or(Err(ENOMEM), |ready| {
            let joined = packet.is_some_and(|packet| ready.join(&mut held.as_skb(), &packet));
            if joined {
                held.forget();
                return Ok(0);
            }
            ready.push(held, packet.as_ref())
        });
        match appended {
            Ok(appended) => self.count_appended(appended),
            Err(_) => self.shared.counters.add(Counter::NoMemory, 1),
        }
    }

    fn count_appended(&self, segments: u32) {
        if segments != 0 {
            let counters = &self.shared.counters;
            counters.add(Counter::Coalesced, segments.into());
        }
    }

    /// As [`deliver`](Self::deliver), for the one that delivers.
    fn go_on_delivering<'a>(&'a self, mut rx: BhGuard<'a, Rx>, may_ask: bool) -> Ranges {
        let mut missing = Ranges::new();
        loop {
            let now = clock::now_us();
            // Taken out while packets go from there to those that are ready.
            if let Some(mut buffer) = rx.buffer.take() {
                let before = buffer.bytes();
                if self.is_stream() {
                    buffer.acked(self.acked());
                }
                while may_ask && !missing.is_full() {
                    let Some((from, to)) = buffer.next_missing(now) else {
                        break;
                    };
                    self.shared.counters.add(Counter::RepairAsked, 1);
                    missing.push(from, to);
                }
                while let Some(held) = buffer.pop(now) {
                    self.enqueue(&mut rx, held);
                }
                self.account(before, buffer.bytes());
                rx.buffer = Some(buffer);
            }
            let Some(ready) = &mut rx.ready else { break };
            let (mut batch, appended) = ready.take();
            if batch.is_empty() {
                ready.give_back(batch);
                break;
            }
            drop(rx);
            self.count_appended(appended);
            for held in batch.drain_all() {
                held.deliver(self.net);
            }
            rx = self.rx().lock();
            // Its memory is for the next ones.
            if let Some(ready) = &mut rx.ready {
                ready.give_back(batch);
            }
        }
        rx.delivering = false;
        self.arm(&mut rx);
        self.count_given_up(&mut rx);
        drop(rx);
        missing
    }

    /// The burst is over in which segments came that are ready. In softirq, no lock held.
    pub fn burst_over(self: &Arc<Session>, instance: &Instance) {
        let mut rx = self.rx().lock();
        if let Some(ready) = &mut rx.ready {
            ready.burst_over();
        }
        self.passed_on(rx, instance);
    }

    /// A packet that was in order has been delivered: what came meanwhile is next.
    fn passed_on(self: &Arc<Session>, mut rx: BhGuard<'_, Rx>, instance: &Instance) {
        if rx.is_idle() {
            rx.delivering = false;
            return;
        }
        let missing = self.go_on_delivering(rx, self.is_stream());
        instance.ask_for(self, missing);
    }

    /// Keeps the sum of what all sessions hold.
    fn account(&self, before: u32, after: u32) {
        let delta = i64::from(after).wrapping_sub(before.into());
        if delta != 0 {
            self.shared.held.add(delta, Relaxed);
        }
    }

    /// Gives back the buffer if the session is idle.
    pub fn save_memory(&self) {
        if self.idle_ms() < STORAGE_LIFE_MS {
            return;
        }
        let buffer = {
            let mut rx = self.rx().lock();
            if rx.is_idle() && !rx.delivering {
                rx.started = false;
                (rx.buffer.take(), rx.ready.take())
            } else {
                (None, None)
            }
        };
        drop(buffer);
        self.forget_kept();
    }

    fn count_given_up(&self, rx: &mut Rx) {
        let Some(buffer) = &mut rx.buffer else {
            return;
        };
        let given_up = buffer.take_given_up();
        for (counter, n) in [
            (Counter::ReorderTimeout, given_up.timeout),
            (Counter::ReorderLost, given_up.lost),
            (Counter::ReorderOverflow, given_up.overflow),
        ] {
            if n != 0 {
                self.shared.counters.add(counter, u64::from(n));
            }
        }
    }

    fn arm(&self, rx: &mut Rx) {
        let now = clock::now_us();
        let deadline = rx.buffer.as_ref().and_then(|b| b.deadline(now));
        let Some(deadline) = deadline else {
            return;
        };
        if rx.dead {
            return;
        }
        let us = seq::delta(deadline, now).max(50) as u32;
        if rx.timer.is_none() {
            // SAFETY: `end_ordering` drops the timer before the session can go, and `dead` keeps
            // a new one from being made.
            rx.timer = unsafe { Timer::new(self) };
        }
        if let Some(timer) = &rx.timer {
            timer.start(us);
        }
    }

    /// How long it may take until something that is asked for has come, microseconds; 0 while that
    /// is not known, or where TCP had better see what is missing.
    fn repair_us(&self, lanes: u32, max: u32) -> u32 {
        let inner = self.inner.lock();
        let used = (0..MAX_LANES).filter(|i| lanes & (1 << i) != 0);
        let active = used.filter_map(|i| inner.s.lane(i));
        // Nor where so much is lost that what is sent again would be, too.
        let poor = |path: &Path| path.is_crowded_from_peer() || path.standing() == Standing::Lossy;
        if active.clone().any(|l| poor(&l.path)) {
            return 0;
        }
        let trip = active.filter_map(|l| l.path.answer_us()).min();
        trip.map_or(0, |us| us.saturating_add(REPAIR_MARGIN_US).min(max))
    }

    /// How long a segment is held at most, and how much longer than on the quickest of the `lanes`
    /// one may be on its way on the slowest; microseconds.
    fn wait_us(&self, lanes: u32, max: u32) -> (u32, u32) {
        let inner = self.inner.lock();
        let (mut low, mut high) = (None::<i32>, None::<i32>);
        let mut unknown = false;
        for (i, lane) in inner.s.lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            let left = lane.state == LaneState::Active && lanes & (1 << i) == 0;
            if lane.state == LaneState::Gone || left {
                continue;
            }
            let Some((delay, deviation)) = Path::rx_delay(&lane.path) else {
                unknown = true;
                continue;
            };
            let late = delay.wrapping_add(deviation.saturating_mul(4).min(1 << 24) as i32);
            low = Some(low.map_or(delay, |l| {
                if seq::delta(delay as u32, l as u32) < 0 {
                    delay
                } else {
                    l
                }
            }));
            high = Some(high.map_or(late, |h| {
                if seq::delta(late as u32, h as u32) > 0 {
                    late
                } else {
                    h
                }
            }));
        }
        // Nothing measured on some path yet: be patient.
        let patient = max.min(100_000);
        match (low, high) {
            (Some(low), Some(high)) if !unknown => {
                let spread = seq::delta(high as u32, low as u32).max(0) as u32;
                // A multiple of the difference: queues grow faster than estimates follow. A hole
                // that is known to be lost does not wait for this. Nobody sends datagrams again:
                // for them it is better to be late than out of order.
                let (times, margin) = match self.is_stream() {
                    true => (2, MARGIN_US),
                    false => (3, DATAGRAM_MARGIN_US),
                };
                let wait = spread.saturating_mul(times).saturating_add(margin);
                (wait.min(max), spread.saturating_add(SLACK_US).min(max))
            }
            _ => (patient, patient),
        }
    }
}

/// Gives a buffer its storage; without memory it has none.
fn attach(buffer: &mut Reorder<Held, Storage>, packets: usize) {
    let storage = Storage::new(packets.saturating_add(1)).or_else(|| Storage::new(128));
    if let Some(storage) = storage {
        drop(buffer.attach(storage));
    }
}

/// Sees to it that TCP does not take a segment that waited for a stray of the past.
fn stamp(stamps: &mut Stamps, acked: u32, skb: &mut Skb<'_>, packet: &Packet) {
    let Some(tcp) = packet.tcp else { return };
    let options = packet.options();
    let Some((at, old)) = skb
        .head()
        .get(options.clone())
        .filter(|options| !option::is_signed(options))
        .and_then(option::timestamp)
    else {
        return;
    };
    let end = tcp.seq.wrapping_add(packet.seq_len());
    let Some(newer) = stamps.pass(acked, tcp.seq, end, old) else {
        return;
    };
    let partial = skb.csum() == Csum::Partial;
    // Without memory TCP drops it and has it sent again.
    if let Some(head) = skb.writable(packet.payload) {
        let at = options.start.saturating_add(at);
        packet::replace_tcp_long(head, packet, at, newer, partial);
    }
}

impl Instance {
    /// Asks the peer for what is missing, if there is something. No lock held.
    fn ask_for(&self, session: &Arc<Session>, missing: Ranges) {
        if !missing.is_empty() {
            self.send_missing(session, false, missing);
            self.doubt_original(session);
        }
    }
}
