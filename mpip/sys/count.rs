// SPDX-License-Identifier: GPL-2.0

//! Numbers that many CPUs add to.

use super::bindings;
use core::{
    ffi::c_void,
    ptr::NonNull, //
};

/// A sum with a part on each CPU, so that they do not wait for each other.
pub struct PerCpuCount(NonNull<c_void>);

// SAFETY: Each CPU changes its own part; sums are read whole.
unsafe impl Send for PerCpuCount {}
// SAFETY: As above.
unsafe impl Sync for PerCpuCount {}

impl PerCpuCount {
    /// Zero; `None` without memory. Process context.
    pub fn new() -> Option<PerCpuCount> {
        // SAFETY: No preconditions but the context.
        NonNull::new(unsafe { bindings::mpip_shim_count_new() }).map(PerCpuCount)
    }

    /// Adds to it. Any context.
    pub fn add(&self, n: u64) {
        // SAFETY: It is alive.
        unsafe { bindings::mpip_shim_count_add(self.0.as_ptr(), n) };
    }

    /// The sum, which others may be adding to.
    pub fn sum(&self) -> u64 {
        // SAFETY: It is alive.
        unsafe { bindings::mpip_shim_count_sum(self.0.as_ptr()) }
    }
}

impl Drop for PerCpuCount {
    fn drop(&mut self) {
        // SAFETY: Nobody uses it any more.
        unsafe { bindings::mpip_shim_count_free(self.0.as_ptr()) };
    }
}
