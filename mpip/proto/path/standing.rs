// SPDX-License-Identifier: GPL-2.0

//! How far a path can be relied on.

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
