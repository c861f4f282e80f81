// SPDX-License-Identifier: GPL-2.0

//! Dispatch by predicted arrival.
//!
//! A path is thought of as a queue before a link of a certain rate, and a
//! distance. What this end sends makes the queue longer, time makes it shorter,
//! and every report says how long it really was ([`Backlog`]). The rate is
//! measured ([`Rate`](crate::proto::rate::Rate)).
//!
//! A packet goes where it arrives first; paths on which it arrives at the same
//! time share what is sent ([`shares`]). There is one exception ([`choose`]): while a TCP
//! connection has enough in flight to keep all paths busy until a packet from the far one would be
//! acknowledged, distance does not count. Packets had better wait at the receiver then than in the
//! queue of the near path, where there may be no room. With less in flight the near ones would run
//! dry, and all that is acknowledged at once be a burst, then the next, and so on. But where the
//! near queue is known to end before a packet is as late in it as on the far path, and enough is in
//! flight to have it half full, it gets no longer than that.
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

/// How exact the shares are of lanes between which there is no difference.
const SHARE_BITS: u32 = 10;

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

/// Whether a stream has enough in flight for paths that carry so many bytes per second together:
/// they do not run dry while a packet is on a way, there and back, of so many microseconds.
fn covers(flight: u32, rates: u64, time: u32) -> bool {
    let needed = rates.saturating_mul(time.into());
    u64::from(flight).saturating_mul(1_000_000) >= needed
}

/// The paths that are nearer than a candidate's.
struct Nearer {
    // The least round-trip time of the nearest of all, microseconds.
    rtt: u32,
    // What they carry together, bytes per second, if it is known of all.
    rates: Option<u64>,
    // Where the longest of their queues ends, microseconds; `u32::MAX` if one is not known to.
    end: u32,
    // How much of a distance counts that is no more, microseconds.
    distance: u32,
}

impl Nearer {
    fn add(&mut self, c: &Candidate, distance: u32) {
        self.rates = match c.rate {
            0 => None,
            rate => self.rates.map(|sum| sum.saturating_add(rate.into())),
        };
        self.end = match c.limit {
            0 => u32::MAX,
            limit => self.end.max(limit),
        };
        self.distance = self.distance.max(distance);
    }

    /// Whether a stream with so much in flight may rather take a path that is so `far`,
    /// microseconds, than lose something on one of these. Else what is in flight would be used up
    /// before anything comes from there; but it has to grow somewhere, if that path is worth some
    /// slow round trips.
    fn give_way(&self, c: &Candidate, far: u32, flight: u32, grows: bool) -> bool {
        far == 0
            || self.rates.is_some_and(|sum| {
                covers(
                    flight,
                    (sum / 4).saturating_mul(3),
                    self.rtt.saturating_add(far),
                ) || grows && (c.new || u64::from(c.rate) >= sum)
            })
    }

    /// How much of that counts, microseconds; `gives_way` says what [`Nearer::give_way`] does.
    fn distance(&self, c: &Candidate, far: u32, flight: u32, gives_way: bool) -> u32 {
        let time = c.wait.saturating_add(c.service);
        let time = time.saturating_add(self.rtt).saturating_add(far);
        let is_covered = self.rates.is_some_and(|sum| {
            let all = sum.saturating_add(sum.min(c.rate.into()));
            covers(flight, all, time)
        });
        if is_covered {
            return 0;
        }
        // Their queues end before a packet is as late in them: they are not to be filled, if there
        // is enough in flight for half of it.
        let half = self.end / 2;
        let is_short = self.end.saturating_sub(self.end / 8) <= far;
        let fills = |sum| covers(flight, sum, self.rtt.saturating_add(half));
        if gives_way && is_short && self.rates.is_some_and(fills) {
            half.max(self.distance)
        } else {
            far
        }
    }
}

/// The lanes, one bit each, on which the packet arrives first, or from where it does least harm:
/// all between which there is no difference to speak of, which share what is sent ([`shares`]).
/// Only one if it is urgent. `grows` says whether a stream's window is about to grow, because not
/// all paths are filled yet.
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
    let mut nearer = Nearer {
        rtt: candidates.first().map_or(0, |c| c.rtt),
        rates: Some(0),
        end: 0,
        distance: 0,
    };
    let mut costs = [u32::MAX; MAX_LANES];
    // Whose queue ends, and how far those are that can take the packet.
    let (mut full, mut room) = ([false; MAX_LANES], None);
    for ((cost, full), c) in costs.iter_mut().zip(&mut full).zip(candidates.iter()) {
        let far = far(c);
        let (is_near, distance) = match load {
            Load::Urgent => (true, far),
            Load::Datagram => (true, far.min(DATAGRAM_PATIENCE_US)),
            Load::Stream(flight) => {
                let is_near = nearer.give_way(c, far, flight, grows);
                (is_near, nearer.distance(c, far, flight, is_near))
            }
        };
        nearer.add(c, distance);
        let queue = c.wait.saturating_add(c.service);
        let risk = c.loss.saturating_mul(LOSS_US);
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

/// How much of what they share each of the `chosen` lanes gets, one bit each: what its path carries
/// in proportion to the best of them, or as much as that while it is unknown. Twice as much, if it
/// is less than the best: what is thought to carry little and gets no more would never show that it
/// does.
pub fn shares(candidates: &[Candidate], chosen: u32) -> [u16; MAX_LANES] {
    let known = || {
        let among = candidates.iter().filter(|c| chosen & (1 << c.lane) != 0);
        among.filter(|c| c.rate != 0)
    };
    let most = known().map(|c| c.rate).max().unwrap_or(0);
    let excess = u32::BITS
        .saturating_sub(most.leading_zeros())
        .saturating_sub(SHARE_BITS);
    let best = (most >> excess).max(1);
    let mut shares = [best as u16; MAX_LANES];
    for c in known() {
        if let Some(share) = shares.get_mut(c.lane) {
            *share = best.min((c.rate >> excess).saturating_mul(2)) as u16;
        }
    }
    shares
}
