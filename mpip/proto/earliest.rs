// SPDX-License-Identifier: GPL-2.0

//! Dispatch by predicted arrival.
//!
//! A path is thought of as a queue before a link of a certain rate, and a
//! distance. What this end sends makes the queue longer, time makes it shorter,
//! and every report says how long it really was ([`Backlog`]). The rate is that
//! of the bytes that arrive while there is a queue ([`Rate`]).
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

/// Samples over less time than this say little, microseconds.
const SPAN_US: u32 = 5_000;
/// A report after a longer pause begins anew, microseconds.
const PAUSE_US: u32 = 500_000;
/// An answer may be overtaken by those to questions that came so much later, microseconds.
const OVERTAKEN_US: i32 = 1_000_000;
/// A longer sample counts as several of this length, microseconds.
const USUAL_US: u32 = 20_000;
/// As many at most: a tenth of what was known is left then.
const USUAL_MOST: u32 = 8;
/// Longest sample of a thin link, microseconds.
const SAMPLE_US: u32 = 4_000_000;
/// Among so many bytes there is a packet that is not much shorter than others.
const WHOLE: u32 = 1_000;
/// A packet that is no burst is not longer than this.
const SINGLE: u32 = 1_500;
/// Fewer bytes say little of a link with a queue: it need not be theirs.
const LITTLE: u32 = 3_000;
/// So many bytes, one behind the other, say something of a link without a queue.
pub const TRAIN: u32 = 10_000;
/// Queue, all the time, that makes a sample one of the link and not of its user, microseconds.
const BUSY_US: u32 = 2_000;
/// Samples of a link that was mostly idle that are worth one of a busy one.
const GUESSES: u32 = 4;
/// If the rate is not known after so many samples, more has to be sent there.
const TRIES: u32 = 24;
/// Shortest time between two questions behind bursts, microseconds.
const BEHIND_US: u32 = 500;
/// A path of this rate is tried from time to time: it needs 10 ms for a packet. Bytes per second.
const TRIED: u64 = 150_000;
/// The time in which the prospect of a path without a queue doubles, or nearly trebles if it is
/// often looked at, microseconds.
const RISE_US: u64 = 1_000_000;
/// Lowest rate that is believed, bytes per second.
const RATE_MIN: u64 = 1_000;
/// Highest rate that is believed, bytes per second.
const RATE_MAX: u64 = 1 << 32;
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

/// How long a link of this rate and prospect ([`Rate::prospect`]) needs for `len` bytes that have
/// to wait for `wait` microseconds before; microseconds.
pub fn service_after(wait: u32, len: u32, rate: u32, prospect: u32) -> u32 {
    let sure = surely(rate, prospect);
    // A burst is more than can be hoped for.
    let single = if wait == 0 { len.min(SINGLE) } else { 0 };
    service(single, prospect).saturating_add(service(len.saturating_sub(single), sure))
}

/// What a link of this rate and prospect carries for certain, bytes per second; 0 while unknown.
pub fn surely(rate: u32, prospect: u32) -> u32 {
    match prospect {
        0 => rate,
        prospect => rate.min(prospect),
    }
}

/// How long a link needs for `len` bytes, microseconds; 0 while its rate is unknown.
pub fn service(len: u32, rate: u32) -> u32 {
    let service = u64::from(len).saturating_mul(1_000_000);
    let service = service.checked_div(u64::from(rate)).unwrap_or(0);
    u32::try_from(service).unwrap_or(u32::MAX)
}

/// Whether a path is to be asked at once, though not for long nothing was asked, because its rate
/// is unknown or more was hoped for than is known: a question before a burst finds an empty queue,
/// and one right behind it tells how long the link needs for it. `sent` bytes have left since the
/// last question, and there have to be `after` ([`Rate::asks_after`]). The last one behind a burst
/// was `ago` microseconds ago, and `pace` is the least time between those before them.
pub fn asks_behind(sent: u32, after: u32, ago: u32, pace: u32) -> bool {
    after != 0 && sent >= after && ago >= BEHIND_US.max(pace)
}

/// Estimator of a path's rate.
///
/// What arrived in some time is what the link carries only if it never ran dry meanwhile. A queue
/// at both ends does not say so: questions leave with the bursts that they ask about, and see the
/// queue that those make. But if a question waited for as long as has passed since the last one
/// arrived, it was already waiting then, and the link has been busy all the time. If not, it may
/// have been idle for as long as is missing: the link carries no less than what came in all the
/// time, and no more than that in the time in which it was busy for certain. If that is most of the
/// time, it was probably all.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    rate: u64,
    /// Where the sample begins.
    last: Option<Arrival>,
    /// When the last question arrived, the peer's clock.
    seen_at: u32,
    /// Bytes that had arrived by then.
    seen_bytes: u32,
    /// For how long the link may have been idle since `last`, microseconds.
    idle: u32,
    /// While nothing is known: samples of a link that was mostly idle, and the highest.
    guesses: (u32, u64),
    /// While nothing is known: samples of a link that was used.
    tries: u32,
    /// See [`Rate::prospect`]; 0 for what is known.
    prospect: u64,
}

/// What a report says of the moment at which its question arrived.
#[derive(Copy, Clone, Debug)]
pub struct Arrival {
    /// The peer's clock, microseconds.
    pub at: u32,
    /// Bytes that had arrived, modulo 2^32.
    pub bytes: u32,
    /// How long the question had waited in the queue, microseconds.
    pub queue: u32,
    /// Whether the queue has been full since the last question, and so the link busy.
    pub full: bool,
}

impl Rate {
    /// Nothing is known.
    pub const fn new() -> Rate {
        Rate {
            rate: 0,
            last: None,
            seen_at: 0,
            seen_bytes: 0,
            idle: 0,
            guesses: (0, 0),
            tries: 0,
            prospect: 0,
        }
    }

    /// Whether it is unknown, and may soon be known.
    pub fn is_new(&self) -> bool {
        self.rate == 0 && self.tries < TRIES
    }

    /// The rate, bytes per second; 0 while unknown.
    pub fn get(&self) -> u32 {
        u32::try_from(self.rate).unwrap_or(u32::MAX)
    }

    /// What a single packet that finds nothing waiting may expect, bytes per second.
    ///
    /// What was measured in worse times must not keep everybody away for ever, so on a thin path
    /// this rises while there is no queue. It is for one packet at a time, and a question behind
    /// it: what a burst would do to such a path takes seconds to be over. And if a packet took
    /// longer than it should have, this is what it took.
    pub fn prospect(&self) -> u32 {
        match self.prospect {
            0 => self.get(),
            prospect => u32::try_from(prospect).unwrap_or(u32::MAX),
        }
    }

    /// After how many bytes a question right behind them says something new; 0 if none does.
    pub fn asks_after(&self) -> u32 {
        if self.is_new() {
            LITTLE
        } else if self.prospect > self.rate {
            WHOLE
        } else {
            0
        }
    }

    fn begin(&mut self, now: Arrival) {
        self.last = Some(now);
        (self.seen_at, self.seen_bytes) = (now.at, now.bytes);
        self.idle = 0;
    }

    /// Takes in a report.
    pub fn sample(&mut self, now: Arrival) {
        let Some(last) = &mut self.last else {
            self.begin(now);
            return;
        };
        let pause = seq::delta(now.at, self.seen_at);
        if pause < 0 {
            // It was overtaken, or the clock has gone round meanwhile.
            if pause < -OVERTAKEN_US {
                self.begin(now);
            }
            return;
        }
        let (pause, latest) = (
            pause.unsigned_abs(),
            now.bytes.wrapping_sub(self.seen_bytes),
        );
        let time = now.at.wrapping_sub(last.at);
        let bytes = now.bytes.wrapping_sub(last.bytes);
        (self.seen_at, self.seen_bytes) = (now.at, now.bytes);
        if !now.full {
            let dry = pause.saturating_sub(now.queue);
            self.idle = self.idle.saturating_add(dry);
        }
        // The shortest queue since the last sample.
        let queue = last.queue.min(now.queue);
        last.queue = queue;
        self.expect(latest, pause, now.queue);
        let busy = time.saturating_sub(self.idle);
        // A thin link needs long for a few packets.
        let is_thin = self.is_thin() || queue >= PAUSE_US;
        let is_slow = is_thin && queue >= BUSY_US && busy >= time / 2 && time <= SAMPLE_US;
        if pause > PAUSE_US || time > PAUSE_US && !is_slow || bytes >= 1 << 31 {
            self.begin(now);
            return;
        }
        if time < SPAN_US {
            return;
        }
        let queued = queue >= BUSY_US || now.full;
        if queued && bytes < LITTLE {
            // Perhaps it is other people's queue, or none but a clock that is late. Who sends
            // hardly anything has not tried what he could have.
            return;
        }
        if bytes >= LITTLE {
            self.tries = self.tries.saturating_add(1);
        }
        // Packets of a burst that came one behind the other, whatever was before them.
        let train = bytes >= TRAIN && busy >= SPAN_US && busy >= time / 4 * 3;
        let mostly = queued && busy >= time / 2;
        self.begin(now);
        let rate = |time: u32| {
            let rate = u64::from(bytes).saturating_mul(1_000_000);
            let rate = rate.checked_div(time.into()).unwrap_or(RATE_MAX);
            rate.clamp(RATE_MIN, RATE_MAX)
        };
        let (least, most) = (rate(time), rate(busy));
        // Who has a longer queue than that has it to himself. What has fallen to a fraction takes
        // long to fill a sample.
        let towards = |old: u64, to: u64, time: u32| {
            let several = queue >= time && to < old / 4;
            let times = if several { time / USUAL_US } else { 1 };
            let times = times.clamp(1, USUAL_MOST);
            (0..times).fold(old, |old, _| (old.saturating_mul(3).saturating_add(to)) / 4)
        };
        self.rate = match self.rate {
            // Until something is known, all goes there: rather a good guess soon than a sure one
            // late.
            0 if mostly || train => rate(time / 2 + busy / 2),
            // What a path carries says nothing while nobody wants more.
            0 if queued => self.guess(least),
            0 => 0,
            old if mostly || least > old => towards(old, least, time),
            old if queued && most < old => towards(old, most, busy),
            old => old,
        };
    }

    /// Whether a packet needs long there, as far as this is known.
    fn is_thin(&self) -> bool {
        self.rate != 0 && self.rate < TRIED
    }

    /// So many bytes have come since the last question, in so many microseconds, and this one has
    /// waited for `queue`.
    fn expect(&mut self, latest: u32, pause: u32, queue: u32) {
        if !self.is_thin() {
            self.prospect = 0;
            return;
        }
        let old = u64::from(self.prospect());
        let more = old.saturating_mul(pause.min(PAUSE_US).into()) / RISE_US;
        let risen = old.saturating_add(more).min(TRIED);
        let queued = queue >= BUSY_US;
        let prospect = match latest {
            // Other people's queue, or a late clock: no time for hopes, nor to hold on to doubts.
            ..WHOLE if queued => risen.min(self.rate),
            ..WHOLE => risen,
            // The link has not been busy with these for longer than either.
            _ if queued => {
                let time = pause.min(queue).max(1);
                let took = u64::from(latest).saturating_mul(1_000_000) / u64::from(time);
                took.clamp(RATE_MIN, self.rate)
            }
            _ => old.max(self.rate),
        };
        // It follows the rate, if it is no other.
        self.prospect = if prospect == self.rate { 0 } else { prospect };
    }

    /// What a link carries at least that was mostly idle: the most of several samples, for too
    /// low a rate would keep everybody away. 0 until there are enough.
    fn guess(&mut self, rate: u64) -> u64 {
        let (count, most) = self.guesses;
        self.guesses = (count.saturating_add(1), most.max(rate));
        match self.guesses {
            (GUESSES.., most) => most,
            _ => 0,
        }
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
