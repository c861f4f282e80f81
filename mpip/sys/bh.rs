// SPDX-License-Identifier: GPL-2.0

//! Locks that process context and softirq share.
//!
//! Output runs in process context with softirqs enabled, input in softirq.
//! A plain spinlock taken by both could deadlock on one CPU; these locks keep
//! softirqs off while they are held.

use super::bindings;
use kernel::{
    ffi::c_char,
    sync::lock::{
        spinlock::SpinLockBackend,
        Backend,
        Guard,
        Lock, //
    },
};

/// A spinlock that is held with softirqs off (`spin_lock_bh`). Any context but hard interrupts;
/// must not sleep while held.
pub type BhLock<T> = Lock<T, BhBackend>;

/// A held [`BhLock`].
pub type BhGuard<'a, T> = Guard<'a, T, BhBackend>;

/// Takes and releases a [`BhLock`].
pub struct BhBackend;

/// The spinlock itself.
type Spin = <SpinLockBackend as Backend>::State;

// SAFETY: The kernel's spinlock ensures mutual exclusion; relocking is locking.
unsafe impl Backend for BhBackend {
    type State = Spin;
    type GuardState = ();

    #[inline]
    unsafe fn init(
        ptr: *mut Self::State,
        name: *const c_char,
        key: *mut kernel::bindings::lock_class_key,
    ) {
        // SAFETY: By the contract, which is the same.
        unsafe { SpinLockBackend::init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: By the contract it is initialised.
        unsafe { bindings::mpip_shim_lock_bh(ptr.cast()) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: By the contract it is initialised.
        unsafe { bindings::mpip_shim_trylock_bh(ptr.cast()) }.then_some(())
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, _guard: &()) {
        // SAFETY: By the contract it is ours.
        unsafe { bindings::mpip_shim_unlock_bh(ptr.cast()) }
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // Else it does nothing, but is called.
        if cfg!(CONFIG_LOCKDEP) {
            // SAFETY: By the contract it is initialised.
            unsafe { SpinLockBackend::assert_is_held(ptr) }
        }
    }
}

/// Creates a [`BhLock`](crate::sys::bh::BhLock) initialiser with a lock class of its own.
#[macro_export]
macro_rules! new_bh_lock {
    ($value:expr, $name:literal) => {
        $crate::sys::bh::BhLock::new($value, kernel::c_str!($name), kernel::static_lock_class!())
    };
}
