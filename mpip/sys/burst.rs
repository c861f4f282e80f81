// SPDX-License-Identifier: GPL-2.0

//! What is done for a session when a burst of its packets is over.

use super::bindings;
use crate::net::{
    instance::Instance,
    session::Session, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::sync::Arc;

/// Sessions, on each CPU, for which [`Session::burst_over`] is called as soon as the round of
/// receiving that the CPU is at is over.
pub struct Bursts(NonNull<bindings::mpip_bursts>);

// SAFETY: Each CPU has a list of its own, with a lock.
unsafe impl Send for Bursts {}
// SAFETY: As above.
unsafe impl Sync for Bursts {}

impl Bursts {
    /// Of one instance; `None` without memory. Process context.
    ///
    /// # Safety
    ///
    /// [`Bursts::flush`] must be called before that instance can go, when nobody adds any more.
    pub unsafe fn new() -> Option<Bursts> {
        // SAFETY: No preconditions but the context.
        NonNull::new(unsafe { bindings::mpip_shim_bursts_new() }).map(Bursts)
    }

    /// Adds a session; false if there are too many. Softirqs off or process context.
    pub fn add(&self, instance: &Instance, session: Arc<Session>) -> bool {
        let instance = core::ptr::from_ref(instance).cast_mut().cast();
        let session = Arc::into_raw(session);
        let link = session.cast_mut().cast();
        // SAFETY: It is alive, as is the instance until all has been flushed. The reference to the
        // session is kept there.
        let fits = unsafe { bindings::mpip_shim_bursts_add(self.0.as_ptr(), instance, link) };
        if !fits {
            // SAFETY: The reference from above, which is still ours.
            drop(unsafe { Arc::from_raw(session) });
        }
        fits
    }

    /// Waits until it was called for all that were added. Process context.
    pub fn flush(&self) {
        // SAFETY: It is alive.
        unsafe { bindings::mpip_shim_bursts_flush(self.0.as_ptr()) };
    }
}

impl Drop for Bursts {
    fn drop(&mut self) {
        // SAFETY: Nobody adds any more, and nothing is left to be done.
        unsafe { bindings::mpip_shim_bursts_free(self.0.as_ptr()) };
    }
}

/// The session that was added.
///
/// # Safety
///
/// `session` must be what [`Bursts::add`] has kept, and is used up.
pub(super) unsafe fn session(session: *mut c_void) -> Arc<Session> {
    // SAFETY: By the contract it is from `Arc::into_raw`, with a reference that is ours.
    unsafe { Arc::from_raw(session.cast::<Session>()) }
}
