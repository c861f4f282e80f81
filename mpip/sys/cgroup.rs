// SPDX-License-Identifier: GPL-2.0

//! Control groups of sockets.

use super::bindings;
use crate::proto::policy::{
    Groups,
    MAX_LEVELS, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};

/// Whether the kernel knows to which control group a socket belongs.
pub fn are_known() -> bool {
    // SAFETY: No preconditions.
    unsafe { bindings::mpip_shim_cgroup_known() }
}

/// A control group, with a reference.
pub struct Cgroup(NonNull<c_void>);

// SAFETY: Control groups are counted, and what is read of them does not change.
unsafe impl Send for Cgroup {}
// SAFETY: As above.
unsafe impl Sync for Cgroup {}

impl Cgroup {
    /// # Safety
    ///
    /// `group` must be a control group, with a reference that is handed over.
    pub(super) unsafe fn from_raw(group: NonNull<c_void>) -> Cgroup {
        Cgroup(group)
    }

    /// Its id and those of the groups above it.
    pub fn line(&self) -> Groups {
        let mut ids = [0; MAX_LEVELS];
        // SAFETY: It is alive, and `ids` valid for that many writes.
        unsafe {
            bindings::mpip_shim_cgroup_line(self.0.as_ptr(), ids.as_mut_ptr(), MAX_LEVELS as u32)
        };
        Groups(ids)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { bindings::mpip_shim_cgroup_put(self.0.as_ptr()) };
    }
}
