// SPDX-License-Identifier: GPL-2.0

//! A high-resolution timer for a session's reordering buffer and the deferred
//! work of an instance.

use super::bindings;
use crate::net::{
    instance::Instance,
    session::Session, //
};
use core::ptr::NonNull;

/// A one-shot timer in softirq context that calls [`Session::on_timer`].
pub struct Timer(NonNull<bindings::mpip_timer>);

// SAFETY: An hrtimer may be started and cancelled on any CPU.
unsafe impl Send for Timer {}
// SAFETY: As above; starting is serialised by hrtimer's own lock.
unsafe impl Sync for Timer {}

impl Timer {
    /// A timer of `session`. Any context.
    ///
    /// # Safety
    ///
    /// `session` must stay alive until the timer has been dropped.
    pub unsafe fn new(session: &Session) -> Option<Timer> {
        let ptr = core::ptr::from_ref(session).cast_mut().cast();
        // SAFETY: No preconditions; the pointer is only passed on to `mpip_rs_timer`.
        NonNull::new(unsafe { bindings::mpip_shim_timer_new(ptr, true) }).map(Timer)
    }

    /// (Re)starts the timer to fire in `us` microseconds.
    pub fn start(&self, us: u32) {
        // SAFETY: `self` owns the timer.
        unsafe { bindings::mpip_shim_timer_start(self.0.as_ptr(), us) };
    }
}

impl Drop for Timer {
    /// Waits for a running callback: no lock that the callback takes may be held.
    fn drop(&mut self) {
        // SAFETY: `self` owns the timer.
        unsafe { bindings::mpip_shim_timer_free(self.0.as_ptr()) };
    }
}

/// Deferred work in process context that calls [`Instance::on_work`].
pub struct Work(NonNull<bindings::mpip_work>);

// SAFETY: A work item may be queued and cancelled on any CPU.
unsafe impl Send for Work {}
// SAFETY: As above.
unsafe impl Sync for Work {}

impl Work {
    /// Work of `instance`. Process context.
    ///
    /// # Safety
    ///
    /// `instance` must stay alive until the work has been dropped.
    pub unsafe fn new(instance: &Instance) -> Option<Work> {
        let ptr = core::ptr::from_ref(instance).cast_mut().cast();
        // SAFETY: No preconditions; the pointer is only passed on to `mpip_rs_work`.
        NonNull::new(unsafe { bindings::mpip_shim_work_new(ptr) }).map(Work)
    }

    /// Has the work run in `ms` milliseconds, at once for 0. Any context.
    pub fn kick(&self, ms: u32) {
        // SAFETY: `self` owns the work item.
        unsafe { bindings::mpip_shim_work_kick(self.0.as_ptr(), ms) };
    }
}

impl Drop for Work {
    /// Waits for a running call. Process context.
    fn drop(&mut self) {
        // SAFETY: `self` owns the work item.
        unsafe { bindings::mpip_shim_work_free(self.0.as_ptr()) };
    }
}
