// SPDX-License-Identifier: GPL-2.0

//! Control groups of sockets.

use super::bindings;
use crate::proto::policy::{
    Groups,
    MAX_LEVELS, //
};
use core::{
    ffi::{
        c_int,
        c_void, //
    },
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Fails with `EOPNOTSUPP` in a kernel that does not know to which control group a socket belongs.
pub fn known() -> Result {
    // SAFETY: No preconditions.
    if unsafe { bindings::mpip_shim_cgroup_known() } {
        return Ok(());
    }
    // By number: 7.2's Rust has no name for it.
    Err(Error::from_errno(
        (kernel::bindings::EOPNOTSUPP as c_int).wrapping_neg(),
    ))
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
