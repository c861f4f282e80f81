// SPDX-License-Identifier: GPL-2.0

//! Locks that process context and softirq share.
//!
//! Output runs in process context with softirqs enabled, input in softirq.
//! A plain spinlock taken by both could deadlock on one CPU; these locks keep
//! softirqs off while they are held.

use super::bindings;
use core::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::{
        lock::spinlock::SpinLockBackend,
        lock::Guard,
        LockClassKey,
        SpinLock, //
    },
};

/// Softirqs are off on this CPU while it lives.
struct BhOff(PhantomData<*mut ()>);

impl BhOff {
    fn new() -> Self {
        // SAFETY: Nests; undone on the same CPU by `drop`, as the type is not `Send`.
        unsafe { bindings::mpip_shim_bh_disable() };
        BhOff(PhantomData)
    }
}

impl Drop for BhOff {
    fn drop(&mut self) {
        // SAFETY: Pairs with the call in `new`.
        unsafe { bindings::mpip_shim_bh_enable() };
    }
}

/// A spinlock that is held with softirqs off (`spin_lock_bh`).
#[pin_data]
pub struct BhLock<T> {
    #[pin]
    lock: SpinLock<T>,
}

impl<T> BhLock<T> {
    /// An initialiser. Use [`new_bh_lock`](crate::new_bh_lock), which supplies the lock class.
    pub fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- SpinLock::new(value, name, key),
        })
    }

    /// Takes the lock. Any context but hard interrupts; must not sleep while held.
    pub fn lock(&self) -> BhGuard<'_, T> {
        let bh = BhOff::new();
        BhGuard {
            guard: self.lock.lock(),
            _bh: bh,
        }
    }
}

/// A held [`BhLock`].
pub struct BhGuard<'a, T> {
    // Dropped first: the lock must be free before softirqs run again.
    guard: Guard<'a, T, SpinLockBackend>,
    _bh: BhOff,
}

impl<T> Deref for BhGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: Unpin> DerefMut for BhGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Creates a [`BhLock`](crate::sys::bh::BhLock) initialiser with a lock class of its own.
#[macro_export]
macro_rules! new_bh_lock {
    ($value:expr, $name:literal) => {
        $crate::sys::bh::BhLock::new($value, kernel::c_str!($name), kernel::static_lock_class!())
    };
}
