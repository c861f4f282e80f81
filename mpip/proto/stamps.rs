// SPDX-License-Identifier: GPL-2.0

//! Time stamps of TCP segments that waited for others (RFC 7323).
//!
//! TCP drops a segment whose time stamp is older than that of the last one that came in its
//! order (PAWS). What fills a hole may have been sent later than what waits behind it, by TCP or
//! by us: all of that would be dropped. It gets the newer stamp, which TCP would have
//! echoed anyway: had the segments not waited here, they would have waited in TCP's own queue,
//! where this check is behind them.

use crate::proto::seq;

/// The time stamps that were passed on to TCP.
#[derive(Debug)]
pub struct Stamps {
    /// TCP has everything before this sequence number.
    next: u32,
    /// The newest stamp of a segment that came in its order.
    newest: Option<u32>,
}

impl Stamps {
    /// For a stream of which TCP has everything before `next`.
    pub const fn new(next: u32) -> Stamps {
        Stamps { next, newest: None }
    }

    /// A segment from `start` to before `end` with this stamp is handed to TCP, which has
    /// acknowledged what lies before `acked`. Returns the stamp that it must have instead, if any.
    pub fn pass(&mut self, acked: u32, start: u32, end: u32, stamp: u32) -> Option<u32> {
        self.next = seq::max(self.next, acked);
        let newer = self.newest.filter(|newest| seq::after(*newest, stamp));
        if !seq::after(start, self.next) {
            // TCP remembers no others.
            if newer.is_none() {
                self.newest = Some(stamp);
            }
            self.next = seq::max(self.next, end);
        }
        newer
    }

    /// A segment from `start` to before `end` goes on behind one that was handed to TCP before,
    /// with the stamp of that one.
    pub fn follow(&mut self, start: u32, end: u32) {
        if !seq::after(start, self.next) {
            self.next = seq::max(self.next, end);
        }
    }
}
