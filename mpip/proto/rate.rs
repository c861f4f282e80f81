// SPDX-License-Identifier: GPL-2.0

//! What a path carries.
//!
//! It is the bytes that arrive while there is a queue. Where a packet needs long there is a second
//! figure beside that rate, the prospect: what a single packet may hope for, or has to fear.

use crate::proto::seq;

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
        let train = bytes >= TRAIN && busy >= SPAN_US && busy >= (time / 4).saturating_mul(3);
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
            0 if mostly || train => rate((time / 2).saturating_add(busy / 2)),
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
                let took = u64::from(latest).saturating_mul(1_000_000);
                let took = took.checked_div(pause.min(queue).into());
                let took = took.unwrap_or(u64::MAX);
                took.min(self.rate).max(RATE_MIN)
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
