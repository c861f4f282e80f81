// SPDX-License-Identifier: GPL-2.0

//! How far a path can be relied on: answers that are overdue make it doubtful, then suspect.

use super::Path;
use super::Question;
use crate::proto::seq;

/// Silence beyond the expected answer after which a path is doubtful, and after which it is
/// suspect, in times between questions: as many have to get lost in a row.
const DOUBT_TIMES: u32 = 3;
const SUSPECT_TIMES: u32 = 6;
/// The least that counts as the time between questions, microseconds.
const APART_US: u32 = 20_000;
/// How often a question whose answer is overdue is asked again, microseconds.
const AGAIN_US: u32 = 25_000;
/// What is expected of a path that was never measured, microseconds.
const UNMEASURED_US: u32 = 1_000_000;
/// The longest round trip that is waited for, microseconds.
const LONGEST_US: u32 = 3_000_000;
/// Longer ago is taken for so long ago, microseconds: half of what two readings of the clock can
/// differ by and still say which was first.
pub const LONG_AGO_US: u32 = 1 << 30;
/// Who looks at a path less often than this has been held up and lets it have another chance,
/// microseconds.
const HELD_UP_US: u32 = 100_000;
/// A path is lossy while more than this part of its questions gets no answer, in 1024ths, and
/// until it is less than the second.
const LOSSY: [u32; 2] = [200, 80];
/// A path that failed again so soon after its return is kept back after the next one,
/// microseconds.
const STEADY_US: u32 = 3_000_000;
/// For how long, at first and at most, microseconds.
const REST_US: [u32; 2] = [200_000, 800_000];
/// How often a lossy path is asked although it carries nothing, microseconds.
const LOSSY_ASK_US: u32 = 50_000;
/// How often a suspect path is probed, microseconds: at first, after ten seconds, after five
/// minutes.
const PROBE_US: [u32; 3] = [100_000, 200_000, 2_000_000];

/// How far a path can be relied on; the order is that of preference.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// An end of it is not there: an address or an interface has gone.
    Down,
    /// It has not answered for long: what was sent on it is taken for lost.
    Suspect,
    /// An answer is overdue: nothing more is sent on it while there is another path.
    Doubtful,
    /// It loses so much that it would slow down all others, or fails again and again.
    Lossy,
    /// It answers.
    Good,
}

impl Path {
    /// When the answer to the oldest open question should be here.
    pub fn expected(&self) -> Option<u32> {
        let oldest = self.open_since()?;
        let trip = self.trip();
        // Behind a burst it takes longer than those before it. What is thought of a queue may be
        // wrong, and must not hide a failure for long.
        let asked = self.questions.iter().find(|q| q.at == oldest);
        let wait = asked.map_or(0, |q| self.base_rtt().saturating_add(q.wait));
        let trip = trip.max(wait.min(trip.saturating_mul(2)));
        Some(oldest.wrapping_add(trip))
    }

    /// When the last answer came.
    pub fn heard(&self) -> Option<u32> {
        self.heard
    }

    /// How far it can be relied on, as far as answers tell.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether a question is due with data, `interval` after the last one, or later if its
    /// [`pace`](Self::pace) is slower.
    pub fn question_due(&self, now: u32, interval: u32) -> bool {
        if self.standing == Standing::Suspect {
            return self.ask_again(now);
        }
        !self.asked_before || seq::age(now, self.last_question) >= interval.max(self.pace())
    }

    /// Whether somebody has to look after it: a question is open, or it is suspect.
    pub fn is_waiting(&self) -> bool {
        self.open_since().is_some() || self.standing <= Standing::Lossy
    }

    /// Whether a question is to be asked although no data is sent: the answer to the last ones is
    /// overdue, or the path is suspect and is probed.
    pub fn ask_again(&self, now: u32) -> bool {
        let since = seq::age(now, self.last_question);
        if self.standing == Standing::Suspect {
            let long = seq::age(now, self.suspect_since);
            let [first, then, late] = PROBE_US;
            return since
                >= match long {
                    0..10_000_000 => first,
                    10_000_000..300_000_000 => then,
                    _ => late,
                };
        }
        since >= AGAIN_US && self.silence(now) > 0
            || since >= LOSSY_ASK_US && self.standing == Standing::Lossy
    }

    /// How long an answer has been overdue, microseconds. While answers come, be it late ones, a
    /// path is not silent, however long its queue.
    pub fn silence(&self, now: u32) -> u32 {
        let Some(expected) = self.expected() else {
            return 0;
        };
        let overdue = seq::delta(now, expected).max(0) as u32;
        overdue.min(self.heard.map_or(u32::MAX, |heard| seq::age(now, heard)))
    }

    /// When the oldest open question was asked.
    pub(super) fn open_since(&self) -> Option<u32> {
        let [oldest, ..] = self.open;
        oldest
    }

    /// How long an answer may take, microseconds.
    fn trip(&self) -> u32 {
        if self.rtt.is_sampled() {
            let spread = self.rtt.rttvar().saturating_mul(2);
            self.rtt.srtt().saturating_add(spread).min(LONGEST_US)
        } else {
            UNMEASURED_US
        }
    }

    /// Whether enough questions are open whose answers could have come.
    fn is_unanswered(&self, now: u32) -> bool {
        let [.., last] = self.open;
        last.is_some_and(|asked| seq::age(now, asked) >= self.trip())
    }

    /// Whether it has failed too often to be relied on again at once.
    fn is_resting(&self, now: u32) -> bool {
        self.returned
            .is_some_and(|at| seq::age(now, at) < self.rest)
    }

    /// How far it can be relied on while it answers.
    pub(super) fn good(&self, now: u32) -> Standing {
        if self.lossy || self.is_resting(now) {
            Standing::Lossy
        } else {
            Standing::Good
        }
    }

    /// An answer to the question asked at `echo` has come: those that were open before it are
    /// taken for lost. A late answer to one of them is no matter.
    pub(super) fn count_missed(&mut self, echo: u32) {
        let Some(oldest) = self.open_since() else {
            return;
        };
        if seq::before(echo, oldest) {
            return;
        }
        let asked = |at: u32| at != 0 && !seq::before(at, oldest) && seq::before(at, echo);
        // What a full queue swallowed was too much for the path: that is for who shares out the
        // load, and says nothing about a path that gets less of it.
        let full = self.full_queue();
        let lost = |q: &&Question| asked(q.at) && q.counts && q.wait < full;
        let missing = self.questions.iter().filter(lost).count();
        // What a failure of the whole path swallowed says nothing about what follows.
        if self.standing != Standing::Suspect {
            for _ in 0..missing {
                self.missed = self
                    .missed
                    .saturating_add(1024u32.saturating_sub(self.missed) / 16);
            }
        }
        if self.questions.iter().all(|q| q.at != echo || q.counts) {
            self.missed = self.missed.saturating_sub(self.missed.div_ceil(16));
        }
        let [from, until] = LOSSY;
        self.lossy = self.missed > if self.lossy { until } else { from };
    }

    /// Looks for silence; to be called whenever a question is asked and, while the path is
    /// waiting, a few times in each tenth of a second. True if the path has just become suspect.
    pub fn check(&mut self, now: u32) -> bool {
        let held_up = seq::age(now, self.looked) > HELD_UP_US;
        self.looked = now;
        if self.standing == Standing::Suspect || self.open_since().is_none() {
            return false;
        }
        if held_up {
            // The answer may be waiting as well, behind what kept us.
            self.open = [Some(now), None, None];
            return false;
        }
        let silence = self.silence(now);
        let apart = self.pace().max(APART_US);
        if silence >= apart.saturating_mul(SUSPECT_TIMES) && self.is_unanswered(now) {
            self.fail(now, true);
            return true;
        }
        self.standing = if silence >= apart.saturating_mul(DOUBT_TIMES) {
            Standing::Doubtful
        } else {
            self.good(now)
        };
        false
    }

    /// Keeps times that lie far back from seeming to be ahead. To be called at least
    /// every 2^29 microseconds (9 minutes), whether the path is in use or not.
    pub fn age(&mut self, now: u32) {
        let before = now.wrapping_sub(LONG_AGO_US);
        let settle = |at: &mut u32| {
            if seq::age(now, *at) > LONG_AGO_US {
                *at = before;
            }
        };
        settle(&mut self.last_question);
        settle(&mut self.last_counted);
        settle(&mut self.suspect_since);
        self.open.iter_mut().flatten().for_each(settle);
        self.heard.iter_mut().for_each(settle);
        self.returned.iter_mut().for_each(settle);
        self.found_at.iter_mut().for_each(settle);
    }

    /// The path does not work: it has to answer first. False if that was known. `silent` says that
    /// nobody has told so: it takes time to notice, and what happens often is a nuisance.
    pub fn fail(&mut self, now: u32, silent: bool) -> bool {
        if self.standing == Standing::Suspect {
            return false;
        }
        self.standing = Standing::Suspect;
        self.suspect_since = now;
        self.sizes.reset();
        let [least, most] = REST_US;
        let soon = self
            .returned
            .is_some_and(|at| seq::age(now, at) < STEADY_US);
        self.rest = if soon && silent {
            self.rest.saturating_mul(2).clamp(least, most)
        } else {
            0
        };
        true
    }
}
