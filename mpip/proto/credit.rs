// SPDX-License-Identifier: GPL-2.0

//! What TCP may have in flight while something is sent again.
//!
//! TCP takes all for in flight that is not acknowledged. Of what has come while
//! something before it is missing the other end's TCP would say so (RFC 2018),
//! and this end's would send as much more. But with MPIP it waits below TCP, and
//! neither knows. Their window would be used up long before what is missing has
//! come, and all paths run dry. So the window is larger for that time, by what
//! comes in it: there is no more in the network than before.

use crate::proto::seq;

/// By how much a connection's window is larger, and until when.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    // It is taken back when everything before this sequence number is acknowledged.
    until: u32,
    // Segments; `WANTED` until the window has been changed.
    segments: u32,
}

/// Credit is to be given.
const WANTED: u32 = u32::MAX;

impl Credit {
    /// None.
    pub const fn new() -> Credit {
        Credit {
            until: 0,
            segments: 0,
        }
    }

    /// Something that ends before `end` is sent again. True if credit is to be given now; there is
    /// one at a time, however much is sent again.
    pub fn sent_again(&mut self, end: u32) -> bool {
        if self.segments != 0 {
            self.until = seq::max(self.until, end);
            return false;
        }
        *self = Credit {
            until: end,
            segments: WANTED,
        };
        true
    }

    /// Whether credit is to be given while everything before `una` is acknowledged: not any more if
    /// what was missing has come.
    pub fn is_wanted(&mut self, una: u32) -> bool {
        if self.segments == WANTED && !seq::before(una, self.until) {
            self.segments = 0;
        }
        self.segments == WANTED
    }

    /// The window is larger by so many segments now.
    pub fn given(&mut self, segments: u32) {
        self.segments = segments.min(WANTED - 1);
    }

    /// By how many segments the window is to be smaller again now that everything before `una` is
    /// acknowledged; 0 as long as something is missing. Left to the caller.
    pub fn take_back(&mut self, una: u32) -> u32 {
        if self.segments == WANTED || seq::before(una, self.until) {
            return 0;
        }
        core::mem::take(&mut self.segments)
    }
}

impl Default for Credit {
    fn default() -> Self {
        Self::new()
    }
}
