// SPDX-License-Identifier: GPL-2.0

//! Time, randomness, and what the processor is to be told.

use super::bindings;
use core::{
    mem::size_of,
    ops::Range, //
};

/// Monotonic time in microseconds since boot.
pub fn now_us64() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::mpip_shim_now_us() }
}

/// Monotonic time in microseconds, modulo 2^32, as the wire carries it.
pub fn now_us() -> u32 {
    now_us64() as u32
}

/// Monotonic time in milliseconds, modulo 2^32.
pub fn now_ms() -> u32 {
    (now_us64() / 1000) as u32
}

/// Time since boot in milliseconds, that in which the machine slept included.
pub fn boot_ms() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::mpip_shim_boot_ms() }
}

/// Milliseconds, modulo 2^32, up to a tick of the kernel's clock late, without reading hardware.
/// Only the difference of two of these means something.
pub fn coarse_ms() -> u32 {
    // SAFETY: No preconditions.
    unsafe { bindings::mpip_shim_coarse_ms() }
}

/// The CPU that runs this, a hint only.
pub fn cpu() -> usize {
    // SAFETY: No preconditions.
    unsafe { bindings::mpip_shim_cpu() as usize }
}

/// 64 random bits of the kernel's generator.
pub fn random_u64() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::mpip_shim_random_u64() }
}

/// Has the processor fetch those bytes of a value, which are about to be used, as far as they are
/// not in its cache.
pub fn prefetch<T>(value: &T, bytes: Range<usize>) {
    let bytes = bytes.start..bytes.end.min(size_of::<T>());
    let at = core::ptr::from_ref(value).wrapping_byte_add(bytes.start);
    // SAFETY: A hint about memory that is valid, or about none.
    unsafe { bindings::mpip_shim_prefetch(at.cast(), bytes.len()) };
}

/// Fills an array with random bytes.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    // SAFETY: `out` is valid for writes of its length.
    unsafe { bindings::mpip_shim_random_bytes(out.as_mut_ptr(), N) };
    out
}

/// Sleeps. Process context.
pub fn sleep_ms(ms: u32) {
    // SAFETY: No preconditions but the context.
    unsafe { bindings::mpip_shim_sleep_ms(ms) };
}
