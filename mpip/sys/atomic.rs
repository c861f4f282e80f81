// SPDX-License-Identifier: GPL-2.0

//! Values that several CPUs read and write without a lock.

use core::mem::size_of;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// The kernel's `READ_ONCE` and `WRITE_ONCE`: as `load(Relaxed)` and `store(_, Relaxed)`, which are
/// calls of functions of the kernel, but in one instruction where a word is enough. A packet makes
/// dozens of them. No order comes with it; to follow a pointer there is [`Follow`].
pub trait MarkedAccess<T> {
    /// The value.
    fn read_once(&self) -> T;

    /// Changes it.
    fn write_once(&self, value: T);
}

macro_rules! marked_access {
    ($($type:ty $(, $param:ident)?);* $(;)?) => {$(
        impl$(<$param>)? MarkedAccess<$type> for Atomic<$type> {
            #[inline(always)]
            fn read_once(&self) -> $type {
                // What takes two instructions somewhere the kernel knows how to do.
                if size_of::<$type>() > size_of::<usize>() {
                    return self.load(Relaxed);
                }
                // SAFETY: It points to a valid value, aligned and alive. A volatile access of a
                // word or less is no data race by the kernel's memory model, whoever writes.
                unsafe { self.as_ptr().read_volatile() }
            }

            // A pointer is the value, not what is written to.
            #[allow(clippy::not_unsafe_ptr_arg_deref)]
            #[inline(always)]
            fn write_once(&self, value: $type) {
                if size_of::<$type>() > size_of::<usize>() {
                    return self.store(value, Relaxed);
                }
                // SAFETY: As above; it is a valid value afterwards, and operations that read and
                // write see it whole (ARCH_SUPPORTS_ATOMIC_RMW).
                unsafe { self.as_ptr().write_volatile(value) }
            }
        }
    )*};
}

marked_access! {
    bool;
    i8;
    i32;
    i64;
    u32;
    u64;
    usize;
    *mut T, T;
}

/// The kernel's `rcu_dereference`: a pointer, and behind it all that was written there before
/// `store(_, Release)` put it in its place. What is read behind it depends on its address, so that
/// no processor that this runs on reads that earlier; `load(Acquire)`, a call of a function of the
/// kernel, would order all reads.
pub trait Follow<T> {
    /// The pointer.
    fn follow(&self) -> *mut T;
}

impl<T> Follow<T> for Atomic<*mut T> {
    #[inline(always)]
    fn follow(&self) -> *mut T {
        self.read_once()
    }
}
