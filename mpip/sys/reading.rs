// SPDX-License-Identifier: GPL-2.0

//! Who may read what RCU protects.

use core::marker::PhantomData;
use kernel::sync::rcu;

/// Evidence that the RCU read lock is held for `'a`: that of a guard, or of a hook, which netfilter
/// calls with the lock held. To take it once more would cost each packet four calls.
#[derive(Clone, Copy)]
pub struct Reading<'a>(PhantomData<&'a rcu::Guard>);

impl Reading<'_> {
    /// # Safety
    ///
    /// The RCU read lock must be held as long as the result, or what is read with it, is used.
    pub(super) const unsafe fn held<'a>() -> Reading<'a> {
        Reading(PhantomData)
    }
}

impl<'a> From<&'a rcu::Guard> for Reading<'a> {
    fn from(_: &'a rcu::Guard) -> Self {
        Reading(PhantomData)
    }
}
