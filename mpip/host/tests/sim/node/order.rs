// SPDX-License-Identifier: GPL-2.0

//! `net/order.rs`: TCP segments wait for those that they overtook.

use super::Node;
use super::Session;
use crate::wire::Wire;
use crate::world::Cx;
use crate::world::Timer;
use mpip_host::proto::counters::Counter;
use mpip_host::proto::packet;
use mpip_host::proto::params::Param;
use mpip_host::proto::path::Standing;
use mpip_host::proto::reorder::GivenUp;
use mpip_host::proto::reorder::Held;
use mpip_host::proto::reorder::Limits;
use mpip_host::proto::reorder::Push;
use mpip_host::proto::reorder::Reorder;
use mpip_host::proto::reorder::Segment;
use mpip_host::proto::seq;
use mpip_host::proto::session::LaneState;
use mpip_host::proto::session::MAX_LANES;
use mpip_host::proto::wire::cm::Ranges;

const MARGIN_US: u32 = 15_000;
const WAIT_LIFE_US: u32 = 20_000;
const SLACK_US: u32 = 2_000;
const REPAIR_MARGIN_US: u32 = 10_000;

type Storage = Box<[Option<Held<Wire>>]>;

/// The input side of a session.
pub struct Rx {
    buffer: Reorder<Wire, Storage>,
    waited_at: u32,
    started: bool,
    stale: bool,
    dead: bool,
    /// How often holes were given up.
    pub given_up: GivenUp,
    /// Most packets held at a time.
    pub most: usize,
    /// The longest wait that was computed, microseconds.
    pub wait_us: u32,
}

impl Rx {
    /// An empty buffer that expects `next`.
    pub fn new(next: u32) -> Rx {
        Rx {
            buffer: Reorder::new(next),
            waited_at: 0,
            started: false,
            stale: false,
            dead: false,
            given_up: GivenUp::default(),
            most: 0,
            wait_us: 0,
        }
    }
}

impl Rx {
    /// What is missing between two numbers will not come.
    pub fn refused(&mut self, now: u32, from: u32, to: u32) {
        self.buffer.refused(now, from, to);
    }
}

impl Session {
    /// A lane has come up.
    pub fn expect_more(&self) {
        self.rx.borrow_mut().stale = true;
    }

    /// A segment that begins at `start` came on a lane.
    pub fn lane_progress(&self, now: u32, lane: u8, start: u32) {
        let mut rx = self.rx.borrow_mut();
        rx.buffer.lane_progress(now, lane, start);
        rx.stale |= !rx.buffer.expects(lane);
    }

    /// Gives back all that is held.
    pub fn end_ordering(&self) -> Vec<Wire> {
        let mut rx = self.rx.borrow_mut();
        rx.dead = true;
        rx.buffer.flush();
        std::iter::from_fn(|| rx.buffer.pop(0)).collect()
    }

    /// How long it may take until something that is asked for has come.
    fn repair_us(&self, lanes: u32, max: u32) -> u32 {
        let inner = self.inner.borrow();
        let used = (0..MAX_LANES).filter(|i| lanes & (1 << i) != 0);
        let active = used.filter_map(|i| inner.s.lane(i));
        let mut trips = Vec::new();
        for lane in active {
            let state = lane.path.state.borrow();
            if state.is_crowded_from_peer() || state.standing() == Standing::Lossy {
                return 0;
            }
            if state.rtt.is_sampled() {
                trips.push(state.rtt.timeout());
            }
        }
        trips
            .into_iter()
            .min()
            .map_or(0, |us| us.saturating_add(REPAIR_MARGIN_US).min(max))
    }

    fn wait_us(&self, lanes: u32, max: u32) -> (u32, u32) {
        let inner = self.inner.borrow();
        let (mut low, mut high) = (None::<i32>, None::<i32>);
        let mut unknown = false;
        for (i, lane) in inner.s.lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            let left = lane.state == LaneState::Active && lanes & (1 << i) == 0;
            if lane.state == LaneState::Gone || left {
                continue;
            }
            let Some((delay, deviation)) = lane.path.rx_delay() else {
                unknown = true;
                continue;
            };
            let late = delay.wrapping_add(deviation.saturating_mul(4).min(1 << 24) as i32);
            let before = |a: i32, b: i32| seq::before(a as u32, b as u32);
            low = Some(low.map_or(delay, |l| if before(delay, l) { delay } else { l }));
            high = Some(high.map_or(late, |h| if before(h, late) { late } else { h }));
        }
        let patient = max.min(100_000);
        match (low, high) {
            (Some(low), Some(high)) if !unknown => {
                let spread = seq::delta(high as u32, low as u32).max(0) as u32;
                let wait = spread.saturating_mul(2).saturating_add(MARGIN_US);
                (wait.min(max), spread.saturating_add(SLACK_US).min(max))
            }
            _ => (patient, patient),
        }
    }

    /// What is due, behind `first`.
    fn release(&self, node: &mut Node, cx: &mut Cx<'_>, first: Option<Wire>) -> Vec<Wire> {
        let now = node.now_us(cx);
        let mut ready: Vec<_> = first.into_iter().collect();
        let mut rx = self.rx.borrow_mut();
        rx.buffer.acked(self.acked());
        let mut ranges = Ranges::new();
        while !ranges.is_full() {
            let Some((from, to)) = rx.buffer.next_missing(now) else {
                break;
            };
            node.count(Counter::RepairAsked);
            ranges.push(from, to);
        }
        ready.extend(std::iter::from_fn(|| rx.buffer.pop(now)));
        if let Some(deadline) = rx.buffer.deadline(now).filter(|_| !rx.dead) {
            let us = seq::delta(deadline, now).max(50) as u64;
            let timer = Timer::Reorder(self.peer.node, self.id);
            cx.timers.push((cx.now + us, timer));
        }
        let more = rx.buffer.take_given_up();
        rx.given_up.timeout += more.timeout;
        rx.given_up.lost += more.lost;
        rx.given_up.overflow += more.overflow;
        drop(rx);
        if !ranges.is_empty() {
            node.send_missing(cx, self, false, ranges);
        }
        ready
    }
}

impl Node {
    /// The timer of a session's buffer has fired.
    pub fn on_reorder_timer(&mut self, cx: &mut Cx<'_>, peer: u64, id: u32) -> Vec<Wire> {
        match self.sessions.get(&(peer, id)).cloned() {
            Some(session) => session.release(self, cx, None),
            None => Vec::new(),
        }
    }

    /// LOCAL_IN: what is to be delivered now.
    pub fn local_in(&mut self, cx: &mut Cx<'_>, wire: Wire) -> Vec<Wire> {
        let Ok(packet) = wire.parse() else {
            return vec![wire];
        };
        let Some(tcp) = packet.tcp else {
            return vec![wire];
        };
        let rst = tcp.flags & packet::RST != 0;
        if packet.seq_len() == 0 && !rst || tcp.flags & packet::SYN != 0 {
            return vec![wire];
        }
        let Some(entry) = self.wire.get(&packet.rx_tuple()).cloned() else {
            return vec![wire];
        };
        let session = entry.session;
        let packets = self.param(Param::ReorderPackets) as usize;
        if entry.lane != 0 || !session.is_multi() || packets == 0 {
            return vec![wire];
        }
        let now = self.now_us(cx);
        let max_wait = self.param(Param::ReorderWaitMax) as u32 * 1000;
        let segment = Segment {
            seq: tcp.seq,
            end: tcp.seq.wrapping_add(packet.seq_len()),
            lane: u8::MAX,
            bytes: wire.len() as u32,
            rst,
        };
        let mut rx = session.rx.borrow_mut();
        if rx.dead {
            return vec![wire];
        }
        let old = seq::age(now, rx.waited_at) >= WAIT_LIFE_US;
        if !rx.started || old || std::mem::take(&mut rx.stale) {
            rx.started = true;
            rx.waited_at = now;
            let silent = |lane| rx.buffer.is_silent(now, lane);
            let lanes = session.inner.borrow().s.expected_mask(silent);
            let (wait_us, spread_us) = session.wait_us(lanes, max_wait);
            let repair_us = match self.param(Param::Repair) {
                0 => 0,
                _ => session.repair_us(lanes, max_wait),
            };
            rx.wait_us = rx.wait_us.max(wait_us);
            rx.buffer.set_limits(Limits {
                packets,
                bytes: self.param(Param::ReorderBytes) as u32,
                wait_us,
                spread_us,
                repair_us,
                settle_us: 0,
            });
            rx.buffer.expect_lanes(now, lanes as u8);
        }
        rx.buffer.acked(session.acked());
        if rx.buffer.wants_storage(&segment) {
            let storage = (0..=packets).map(|_| None).collect();
            assert!(rx.buffer.attach(storage).is_none());
        }
        let first = match rx.buffer.push(now, segment, wire) {
            Push::Held => {
                self.count(Counter::ReorderHeld);
                None
            }
            Push::Pass(wire) | Push::Refused(wire) | Push::Wild(wire) => Some(wire),
        };
        rx.most = rx.most.max(rx.buffer.len());
        drop(rx);
        session.release(self, cx, first)
    }
}
