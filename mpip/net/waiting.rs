// SPDX-License-Identifier: GPL-2.0

//! Sessions that the worker has to look at later, when nothing else makes it do so.
//!
//! While thousands are being opened each waits for its own answer. To look at all of them whenever
//! something happens to one would take longer the more there are: only a list of times is gone
//! through, and that not too often.

use crate::{
    net::{
        instance::Instance,
        session::Session, //
    },
    proto::{
        counters::Counter,
        seq, //
    },
    sys::clock,
};
use kernel::{
    alloc::flags::GFP_KERNEL,
    prelude::*,
    sync::Arc, //
};

/// A session does not wait for longer, milliseconds: one that is removed meanwhile has to go.
const LONGEST_MS: u32 = 8_000;
/// Who waits for some time may wait for an eighth more, within these bounds, milliseconds, and be
/// looked at together with others.
const SLACK_MS: (u32, u32) = (4, 64);

/// The list.
pub struct Waiting {
    // With the time, milliseconds. Some may have another entry that is due before.
    sessions: KVVec<(u32, Arc<Session>)>,
    // The first of those times.
    first: u32,
}

impl Default for Waiting {
    /// Nobody waits.
    fn default() -> Waiting {
        Waiting {
            sessions: KVVec::new(),
            first: 0,
        }
    }
}

impl Waiting {
    fn add(&mut self, until: u32, session: Arc<Session>) -> Result {
        let is_first = self.sessions.is_empty() || seq::delta(until, self.first) < 0;
        self.sessions.push((until, session), GFP_KERNEL)?;
        if is_first {
            self.first = until;
        }
        Ok(())
    }

    /// Milliseconds until the next one is due.
    fn due_in(&self, now: u32) -> Option<u32> {
        (!self.sessions.is_empty()).then(|| seq::until(now, self.first))
    }

    /// Moves those that are due to `due`, for which there has to be memory.
    fn take(&mut self, now: u32, due: &mut KVVec<Arc<Session>>) -> Result {
        if self.due_in(now) != Some(0) {
            return Ok(());
        }
        let mut first = None;
        let mut result = Ok(());
        self.sessions.retain(|(until, session)| {
            let is_due = seq::delta(now, *until) >= 0;
            if is_due && !session.is_due_at(*until) {
                return false;
            }
            if is_due {
                match due.push(session.clone(), GFP_KERNEL) {
                    Ok(()) => {
                        session.wait_until(0);
                        return false;
                    }
                    Err(error) => result = Err(error.into()),
                }
            }
            first = match first {
                Some(first) if seq::delta(*until, first) >= 0 => Some(first),
                _ => Some(*until),
            };
            true
        });
        match first {
            Some(first) => self.first = first,
            // There may have been very many.
            None => *self = Waiting::default(),
        }
        result
    }
}

impl Instance {
    /// Has the worker look at a session after so many milliseconds, or a little later. Process
    /// context.
    pub fn look_later(&self, session: &Arc<Session>, ms: u32) {
        let ms = ms.min(LONGEST_MS);
        let (least, most) = SLACK_MS;
        let slack = 1u32 << (ms / 8).clamp(least, most).ilog2();
        let below = slack.wrapping_sub(1);
        let until = clock::now_ms().wrapping_add(ms).wrapping_add(below) & !below;
        // 0 is none.
        let until = until.max(1);
        if !session.waits_longer_than(until) {
            return;
        }
        match self.waiting.lock().add(until, session.clone()) {
            Ok(()) => session.wait_until(until),
            Err(_) => self.count(Counter::NoMemory),
        }
    }

    /// The sessions that have waited long enough. Process context.
    pub fn take_due(&self) -> KVVec<Arc<Session>> {
        let mut due = KVVec::new();
        if self.waiting.lock().take(clock::now_ms(), &mut due).is_err() {
            self.count(Counter::NoMemory);
        }
        due
    }

    /// When the next one has waited long enough, milliseconds. Process context.
    pub fn next_due(&self) -> Option<u32> {
        self.waiting.lock().due_in(clock::now_ms())
    }
}
