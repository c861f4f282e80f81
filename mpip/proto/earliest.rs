// SPDX-License-Identifier: GPL-2.0

//! Dispatch by predicted arrival.
//!
//! A path is thought of as a queue before a link of a certain rate, and a
//! distance. What this end sends makes the queue longer, time makes it shorter,
//! and every report says how long it really was ([`Backlog`]). The rate is
//! measured ([`Rate`](crate::proto::rate::Rate)).
//!
//! A packet goes where it arrives first; paths on which it arrives at the same
//! time take turns. There is one exception ([`choose`]): as soon as a TCP connection has more in
//! flight than the near paths can carry in the time that the far one needs, it has to wait for the
//! far one anyway; from then on the packets had better wait at the receiver than in the queue of
//! the near one, where there may be no room.
//!
//! A queue ends somewhere. Where packets were lost lately while it was as long as ever, it is not
//! made that long again as long as another path has room: a near path with a short queue would have
//! TCP slow down before a far one is worth while. For TCP that other path must not be so far that
//! what is in flight would be used up meanwhile, unless the window grows and the path is worth some
//! slow round trips; and its queue may not become much longer than the full one, or all would wait
//! for what comes out of it.
//!
//! A path that loses at random keeps those slow who have no other one, by the loss and by the round
//! trip. So a stream that could fill it alone adds to no queue there, as long as others have room.
//!
//! Where something urgent is sent, everybody else leaves the queue to it: such a path takes other
//! packets only while it has next to no queue. So the urgent ones have what they need of the
//! nearest path, the others what is left of it and all other paths; with the last urgent one that
//! ends.

use crate::proto::seq;
use crate::proto::session::MAX_LANES;

/// Longest queue that is believed, microseconds.
const WAIT_MAX: u32 = 4_000_000;
/// How much longer than in the queue of a near path datagrams may be on their way on a far one
/// before the near one's queue is used up, microseconds.
pub const DATAGRAM_PATIENCE_US: u32 = 10_000;

/// How long a path on which something urgent was sent is kept free for the next, microseconds.
pub const URGENT_US: u32 = 500_000;
/// The queue that others may add to there, microseconds.
const YIELD_US: u32 = 2_000;
/// What a longer one costs streams, microseconds of delay: more than the queues of other paths
/// hold. A full queue tells them to send less.
const STREAM_YIELDS_US: u32 = 1_000_000;
/// What it costs datagrams, which would be lost in a full one.
const DATAGRAM_YIELDS_US: u32 = 30_000;

/// What it costs to be lost in a full queue, microseconds of delay: a datagram is not sent again.
const OVERFLOW_US: u32 = 200_000;
/// So much longer than the full queue may that of another path become first by what belongs to a
/// stream, microseconds. TCP slows down then, which is due: all have something to do. With more in
/// that queue all the rest would wait at the receiver for what comes out of it, so that nothing is
/// acknowledged, and all that is sent at once when it comes does not fit into a short queue.
const STREAM_OVERFLOW_US: u32 = 20_000;

/// So much random loss, in 1024ths, holds up whoever has no other path, and each millisecond of the
/// round trip does so more.
const LOSSY: u32 = 3;
/// The queue that streams that have other paths may add to there, microseconds.
const SPARED_US: u32 = 1_500;
/// What a longer one costs them, microseconds of delay: what queues of other paths hold usually.
const SPARE_US: u32 = 40_000;

/// A difference that is not one, microseconds.
const EQUAL_US: u32 = 2_000;
/// Where delays vary, what they vary by is none either, up to this, microseconds.
const NOISE_US: u32 = 1_000;
/// What a loss of one in 1024 is worth, microseconds of delay.
const LOSS_US: u32 = 10;

/// How long the queue of a path is thought to be. One word, so that it can be kept in an atomic:
/// a time, microseconds, and the wait at that time, 256ths of a microsecond.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog(pub u64);

impl Backlog {
    fn at(now: u32, wait256: u64) -> Backlog {
        let most = u64::from(WAIT_MAX) << 8;
        Backlog((u64::from(now) << 32) | wait256.min(most))
    }

    fn wait256(self, now: u32) -> u64 {
        let passed = u64::from(seq::age(now, (self.0 >> 32) as u32)) << 8;
        (self.0 & 0xffff_ffff).saturating_sub(passed)
    }

    /// How long a packet that is sent now waits, microseconds.
    pub fn wait(self, now: u32) -> u32 {
        (self.wait256(now) >> 8) as u32
    }

    /// After `len` more bytes have been sent. `rate`, bytes per second, is 0 while unknown: they
    /// cost nothing then.
    #[must_use]
    pub fn add(self, now: u32, len: u32, rate: u32) -> Backlog {
        let more = u64::from(len)
            .saturating_mul(256_000_000)
            .checked_div(u64::from(rate));
        Backlog::at(now, self.wait256(now).saturating_add(more.unwrap_or(0)))
    }

    /// After it has turned out to be longer by `error`, microseconds.
    #[must_use]
    pub fn correct(self, now: u32, error: i32) -> Backlog {
        // What the queue was thought to be may lie in the past: the error counts from there.
        let passed = i64::from(seq::age(now, (self.0 >> 32) as u32)) << 8;
        let wait = ((self.0 & 0xffff_ffff) as i64)
            .saturating_sub(passed)
            .saturating_add(i64::from(error) << 8);
        Backlog::at(now, wait.max(0).unsigned_abs())
    }
}

/// A lane that may be chosen.
#[derive(Copy, Clone, Debug)]
pub struct Candidate {
    /// Its index.
    pub lane: usize,
    /// How long the packet would wait in its path's queue, microseconds.
    pub wait: u32,
    /// The part of what is sent that is lost, in 1024ths.
    pub loss: u32,
    /// The part of what TCP sends that is lost and is not congestion, in 1024ths.
    pub random_loss: u32,
    /// Least one-way delay, microseconds, with the clocks' offset.
    pub base: i32,
    /// Bytes per second; 0 while unknown.
    pub rate: u32,
    /// Whether that is unknown, and may soon be known.
    pub new: bool,
    /// How long the link needs for the packet, microseconds.
    pub service: u32,
    /// Least round-trip time, microseconds.
    pub rtt: u32,
    /// How far delays are from their average, microseconds.
    pub noise: u32,
    /// Something urgent was sent on its path lately.
    pub urgent: bool,
    /// The queue in which packets get lost, microseconds; 0 while that is unknown.
    pub limit: u32,
}

/// What is to be sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Something that should be there as soon as possible.
    Urgent,
    /// A datagram.
    Datagram,
    /// Data of a stream, of which so many bytes are in flight with this packet.
    Stream(u32),
}

/// What it costs to add to a path's queue of `wait` microseconds because of what is urgent there,
/// microseconds of delay.
pub fn yields(urgent: bool, wait: u32, load: Load) -> u32 {
    match load {
        Load::Urgent => 0,
        _ if !urgent || wait <= YIELD_US => 0,
        Load::Datagram => DATAGRAM_YIELDS_US,
        Load::Stream(_) => STREAM_YIELDS_US,
    }
}

/// What it costs to make the queue of a path long that loses at random, microseconds of delay.
fn spares(c: &Candidate, load: Load) -> u32 {
    let flight = match load {
        Load::Stream(flight) if c.random_loss >= LOSSY && c.wait > SPARED_US => flight,
        _ => return 0,
    };
    let fill = u64::from(c.rate).saturating_mul(c.rtt.into()) / 1_000_000;
    if u64::from(flight) >= fill {
        SPARE_US
    } else {
        0
    }
}

/// Sorts a few; those that are equal stay as they are.
fn sort_by(list: &mut [Candidate], key: impl Fn(&Candidate) -> u32) {
    for end in 1..list.len() {
        for i in (0..end).rev() {
            match list.get_mut(i..) {
                Some([a, b, ..]) if key(a) > key(b) => core::mem::swap(a, b),
                _ => break,
            }
        }
    }
}

/// The lanes, one bit each, on which the packet arrives first, or from where it does least harm:
/// all between which there is no difference to speak of. Only one if it is urgent. `grows` says
/// whether a stream's window is about to grow, because not all paths are filled yet.
pub fn choose(candidates: &mut [Candidate], load: Load, grows: bool) -> Option<u32> {
    let nearest = candidates.iter().map(|c| c.base).reduce(|a, b| {
        if seq::delta(b as u32, a as u32) < 0 {
            b
        } else {
            a
        }
    })?;
    let far = |c: &Candidate| seq::delta(c.base as u32, nearest as u32).max(0) as u32;
    sort_by(candidates, far);
    let rtt = candidates.first().map_or(0, |c| c.rtt);
    // The rates of all nearer paths.
    let mut nearer = Some(0u64);
    let mut costs = [u32::MAX; MAX_LANES];
    // Whose queue ends, and how far those are that can take the packet.
    let (mut full, mut room) = ([false; MAX_LANES], None);
    for ((cost, full), c) in costs.iter_mut().zip(&mut full).zip(candidates.iter()) {
        let far = far(c);
        let mut is_near = true;
        let distance = match load {
            Load::Urgent => far,
            Load::Datagram => far.min(DATAGRAM_PATIENCE_US),
            Load::Stream(flight) => {
                let span = u64::from(rtt.saturating_add(far));
                let fill = nearer.map(|rate| rate.saturating_mul(span) / 1_000_000);
                // Else what is in flight would be used up before anything comes from there; but
                // it has to grow somewhere, if that path is worth some slow round trips.
                let is_worth_it = |sum| c.new || u64::from(c.rate) >= sum;
                is_near = far == 0
                    || fill.is_some_and(|fill| u64::from(flight) >= fill / 4 * 3)
                    || grows && nearer.is_some_and(is_worth_it);
                match fill {
                    Some(fill) if u64::from(flight) >= fill => 0,
                    _ => far,
                }
            }
        };
        nearer = match c.rate {
            0 => None,
            rate => nearer.map(|sum| sum.saturating_add(u64::from(rate))),
        };
        let risk = c.loss.saturating_mul(LOSS_US);
        let queue = c.wait.saturating_add(c.service);
        let yields = yields(c.urgent, c.wait, load);
        let end = c.limit.saturating_sub(c.limit / 8);
        // What is urgent had better be lost than late.
        *full = load != Load::Urgent && c.limit != 0 && queue >= end;
        if is_near && !*full {
            room = room.max(Some(distance));
        }
        let courtesy = yields.saturating_add(spares(c, load));
        let way = distance.saturating_add(risk).saturating_add(courtesy);
        *cost = queue.saturating_add(way);
    }
    if let Some(distance) = room {
        let overflow = match load {
            Load::Stream(_) => distance.saturating_add(STREAM_OVERFLOW_US),
            _ => OVERFLOW_US,
        };
        for (cost, _) in costs.iter_mut().zip(full).filter(|(_, full)| *full) {
            *cost = cost.saturating_add(overflow);
        }
    }
    let least = costs.iter().copied().min()?;
    let near = |c: &Candidate| match load {
        Load::Urgent => least,
        _ => least
            .saturating_add(EQUAL_US)
            .saturating_add(c.noise.min(NOISE_US)),
    };
    let good = costs.iter().zip(candidates.iter());
    let mut lanes = good
        .filter(|(cost, c)| **cost <= near(c))
        .map(|(_, c)| 1u32 << c.lane);
    match load {
        Load::Urgent => lanes.next(),
        _ => Some(lanes.fold(0, |mask, lane| mask | lane)),
    }
}
