// SPDX-License-Identifier: GPL-2.0

//! Whether a loss was congestion.
//!
//! What a path loses at random is sent again before TCP sees that it is missing;
//! TCP would slow down all paths for it. What is lost because a queue is full, or
//! because active queue management wants its users to slow down, is TCP's to see.
//!
//! - The queue is full, if it is one that drops at its end, when it is as long as
//!   it ever is. So packets are told apart that found it nearly that long. Is there
//!   more loss among these than among the others, they are lost to congestion.
//! - Active queue management drops when there was a queue all the time
//!   (RFC 8289).
//! - Policers drop without any queue. They are met by a bound on what is sent
//!   again.

use crate::proto::seq;

/// A queue shorter than this is none, microseconds.
const FULL_US: u32 = 1_000;
/// So much more loss must there be among packets that found a long queue.
const EXCESS: u64 = 3;
/// Queue that is there all the time and so is too long, microseconds.
const STANDING_US: u32 = 5_000;
/// All the time, microseconds.
const STANDING_SPAN_US: u32 = 100_000;
/// Of so many bytes sent one may be sent again.
const SHARE: u64 = 25;
/// Bytes that may be sent again at first.
const ALLOWANCE: u64 = 1 << 16;
/// What is lost in a shorter queue need not be the queue's doing, microseconds.
const END_LEAST_US: u32 = 8_000;
/// Fewer bytes sent say little of how much is lost.
const FEW: u64 = 1 << 16;
/// What was lost longer ago than this, or one to two of these, counts no more, microseconds.
const MEMORY_US: u32 = 10_000_000;

/// The queue that counts as full if the longest one was `longest`, microseconds.
pub const fn full(longest: u32) -> u32 {
    let near = longest.saturating_sub(longest / 8);
    if near > FULL_US {
        near
    } else {
        FULL_US
    }
}

/// Bytes sent on a path.
#[derive(Copy, Clone, Debug, Default)]
pub struct Sent {
    /// All.
    pub all: u64,
    /// Those that found the queue full, as far as this was known.
    pub full: u64,
}

/// Bytes lost, those of them that might be sent again, and bytes sent by the time at which counting
/// began.
#[derive(Copy, Clone, Debug, Default)]
struct Span {
    lost: Sent,
    random: u64,
    from: Sent,
}

/// How long a queue was lately.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    // The shortest in the current and the previous span, and when the current one began.
    shortest: [u32; 2],
    from: u32,
}

impl Queue {
    /// Nothing is known.
    pub const fn new() -> Queue {
        Queue {
            shortest: [0; 2],
            from: 0,
        }
    }

    /// It was seen to be this long, microseconds.
    pub fn sample(&mut self, now: u32, queue: u32) {
        let [current, _] = self.shortest;
        if seq::age(now, self.from) >= STANDING_SPAN_US {
            self.shortest = [queue, current];
            self.from = now;
        } else {
            let [least, _] = &mut self.shortest;
            *least = queue.min(*least);
        }
    }

    /// Whether it was there all the time and too long.
    pub fn is_standing(&self) -> bool {
        self.shortest() >= STANDING_US
    }

    /// Whether it was about as long as it ever is, `longest` microseconds, all the time.
    pub fn is_flat(&self, longest: u32) -> bool {
        let shortest = self.shortest();
        shortest >= FULL_US && shortest >= near(longest)
    }

    fn shortest(&self) -> u32 {
        let [current, before] = self.shortest;
        current.min(before)
    }
}

/// So much of a queue of `longest` microseconds is next to all of it.
const fn near(longest: u32) -> u32 {
    longest.saturating_sub(longest / 4)
}

/// Where a queue ends: how long it is when packets get lost in it.
#[derive(Clone, Debug, Default)]
pub struct QueueEnd {
    // Microseconds; 0 while nothing is known.
    end: u32,
    // When something was lost there last.
    at: u32,
    // The longest queue of late, microseconds.
    peak: u32,
}

impl QueueEnd {
    /// Nothing is known.
    pub const fn new() -> QueueEnd {
        QueueEnd {
            end: 0,
            at: 0,
            peak: 0,
        }
    }

    /// How long the queue is when packets get lost, microseconds: it was about as long as it had
    /// been shortly before, and some were lost, in the last 10 s. 0 if none were.
    pub fn get(&self) -> u32 {
        self.end
    }

    /// The queue was seen to be this long, microseconds; `lost` says whether something was lost
    /// since the last time, and `flat` whether it was for want of room, however short it seems.
    pub fn sample(&mut self, now: u32, queue: u32, lost: bool, flat: bool) {
        self.peak = queue.max(self.peak.saturating_sub(self.peak / 16));
        if seq::age(now, self.at) >= MEMORY_US {
            self.end = 0;
        }
        let full = flat || lost && queue >= END_LEAST_US && queue >= near(self.peak);
        if full {
            self.at = now;
        }
        if full && self.end == 0 {
            self.end = queue;
        } else if full || self.end != 0 && queue > self.end {
            // More does fit, or less. A single sample may be a late clock.
            let step = seq::delta(queue, self.end) / 4;
            self.end = self.end.saturating_add_signed(step);
        }
    }
}

/// Counts lost packets by what the peer had not counted when a question arrived.
///
/// Two answers in a row have to say the same: a question may overtake packets that another
/// processor has counted already, or be overtaken. The peer may count more than this end does, such
/// as the first packets of a session that it was told of; that must not hide what is lost.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    // What is missing and was looked at; `None` before the first answer.
    level: Option<u32>,
    // What was missing at the last answer, and the longest queue before that, microseconds.
    last: u32,
    queue: u32,
}

impl Missing {
    /// Nothing is known.
    pub const fn new() -> Missing {
        Missing {
            level: None,
            last: 0,
            queue: 0,
        }
    }

    /// Of the packets sent before a question `missing` had not been counted, modulo 2^32; since the
    /// last one the queue was up to `queue` microseconds long. If some are lost for certain, how
    /// many, and how long the queue was up to when they were missed first, microseconds.
    pub fn answer(&mut self, missing: u32, queue: u32) -> Option<(u32, u32)> {
        let Some(level) = self.level else {
            (self.level, self.last) = (Some(missing), missing);
            return None;
        };
        let before = seq::delta(self.last, level);
        let now = seq::delta(missing, level);
        let missed_at = self.queue;
        if now > before {
            self.queue = queue;
        }
        self.last = missing;
        let (least, most) = (now.min(before), now.max(before));
        let step = if least > 0 { least } else { most.min(0) };
        self.level = Some(level.wrapping_add_signed(step));
        (step > 0).then_some((step.unsigned_abs(), missed_at))
    }
}

/// The losses of a path.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// Its queue.
    pub queue: Queue,
    since: u32,
    current: Span,
    previous: Span,
    repaired: u64,
    random: u32,
}

impl Losses {
    /// No loss so far.
    pub const fn new() -> Losses {
        const NONE: Sent = Sent { all: 0, full: 0 };
        const SPAN: Span = Span {
            lost: NONE,
            random: 0,
            from: NONE,
        };
        Losses {
            since: 0,
            current: SPAN,
            previous: SPAN,
            repaired: 0,
            random: 0,
            queue: Queue::new(),
        }
    }

    /// So many bytes were lost; `full` says whether they found the queue full. True if they may be
    /// sent again without TCP being told.
    pub fn may_repair(&mut self, now: u32, bytes: u32, full: bool, sent: Sent) -> bool {
        if seq::age(now, self.since) >= MEMORY_US {
            self.previous = self.current;
            self.current = Span {
                lost: Sent::default(),
                random: 0,
                from: sent,
            };
            self.since = now;
        }
        let bytes = u64::from(bytes);
        self.current.lost.all = self.current.lost.all.saturating_add(bytes);
        if full {
            self.current.lost.full = self.current.lost.full.saturating_add(bytes);
        }
        let standing = self.queue.is_standing();
        let spent = self.repaired.saturating_add(bytes);
        let budget = sent.all / SHARE;
        let is_congestion = standing || full && self.is_excess(sent);
        let may = !is_congestion && spent <= budget.saturating_add(ALLOWANCE);
        if may {
            self.repaired = spent.max(budget.saturating_sub(ALLOWANCE));
            self.current.random = self.current.random.saturating_add(bytes);
        }
        let random = self.current.random.saturating_add(self.previous.random);
        let among = sent.all.wrapping_sub(self.previous.from.all).max(FEW);
        let part = random.saturating_mul(1024).checked_div(among).unwrap_or(0);
        self.random = u32::try_from(part).unwrap_or(u32::MAX);
        may
    }

    /// The part of what is sent that is lost and is not congestion, in 1024ths, as TCP showed it
    /// lately.
    pub fn random(&self) -> u32 {
        self.random
    }

    /// Forgets what is too long ago; called from time to time.
    pub fn age(&mut self, now: u32) {
        if seq::age(now, self.since) >= 2 * MEMORY_US {
            self.random = 0;
        }
    }

    /// Whether there is more loss at a full queue than else.
    fn is_excess(&self, sent: Sent) -> bool {
        let lost =
            |f: fn(&Sent) -> u64| f(&self.current.lost).saturating_add(f(&self.previous.lost));
        let (all, full) = (lost(|s| s.all), lost(|s| s.full));
        let sent_all = sent.all.wrapping_sub(self.previous.from.all);
        let sent_full = sent.full.wrapping_sub(self.previous.from.full);
        let rest = u128::from(all.saturating_sub(full));
        let sent_rest = u128::from(sent_all.saturating_sub(sent_full));
        let (full, sent_full) = (u128::from(full), u128::from(sent_full));
        full.saturating_mul(sent_rest)
            >= rest
                .saturating_mul(sent_full)
                .saturating_mul(u128::from(EXCESS))
    }
}
