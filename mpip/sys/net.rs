// SPDX-License-Identifier: GPL-2.0

//! Network namespaces and the hooks in them.

use super::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A network namespace.
///
/// # Invariants
///
/// The namespace is alive for as long as the value is used: every holder is torn down in the
/// namespace's `pre_exit` or `exit` operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Net(NonNull<bindings::net>);

// SAFETY: A `struct net` is shared by all CPUs.
unsafe impl Send for Net {}
// SAFETY: As above.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `ptr` must point to a namespace that stays alive while the result is used.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::net) -> Option<Net> {
        NonNull::new(ptr).map(Net)
    }

    pub(super) fn as_ptr(self) -> *mut bindings::net {
        self.0.as_ptr()
    }

    /// Whether it is the initial namespace.
    pub fn is_init(self) -> bool {
        // SAFETY: Alive by the invariant.
        unsafe { bindings::mpip_shim_net_is_init(self.as_ptr()) }
    }
}

/// Notices what happens to the devices and addresses of a namespace, and calls
/// [`Instance::network_changed`](crate::net::instance::Instance::network_changed).
pub struct Watch {
    net: Net,
    raw: NonNull<bindings::mpip_watch>,
}

// SAFETY: Registration state may be given up on any CPU.
unsafe impl Send for Watch {}
// SAFETY: Nothing is reachable through `&Watch`.
unsafe impl Sync for Watch {}

impl Watch {
    /// Begins to notice, for `instance`. Process context.
    ///
    /// # Safety
    ///
    /// `instance` must stay alive until the result has been dropped.
    pub unsafe fn new(net: Net, instance: &crate::net::instance::Instance) -> Result<Watch> {
        let ptr = core::ptr::from_ref(instance).cast_mut().cast();
        // SAFETY: `net` is alive; `instance` outlives the watch by the caller's promise.
        let raw = unsafe { bindings::mpip_shim_watch_new(net.as_ptr(), ptr) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        Ok(Watch { net, raw })
    }
}

impl Drop for Watch {
    /// Waits until no call is running any more. Process context.
    fn drop(&mut self) {
        // SAFETY: `raw` was made for the same namespace.
        unsafe { bindings::mpip_shim_watch_free(self.net.as_ptr(), self.raw.as_ptr()) };
    }
}

/// Which hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// PRE_ROUTING and POST_ROUTING: what every packet of the host passes.
    Wire,
    /// LOCAL_IN, which puts segments in order. Only after the others.
    Order,
}

/// Registered netfilter hooks of one instance, IPv4 and IPv6.
pub struct Hooks {
    net: Net,
    raw: NonNull<bindings::mpip_hooks>,
}

// SAFETY: Registration state may be given up on any CPU.
unsafe impl Send for Hooks {}
// SAFETY: Nothing is reachable through `&Hooks`.
unsafe impl Sync for Hooks {}

impl Hooks {
    /// Registers hooks of `instance`. Process context.
    ///
    /// # Safety
    ///
    /// `instance` must stay alive until the result has been dropped.
    pub unsafe fn register(
        net: Net,
        instance: &crate::net::instance::Instance,
        which: Hook,
    ) -> Result<Hooks> {
        let ptr = core::ptr::from_ref(instance).cast_mut().cast();
        let gate = instance.gate.raw();
        let raw = match which {
            // SAFETY: `net` is alive; `instance` and its gate outlive the hooks by the caller's
            // promise.
            Hook::Wire => unsafe { bindings::mpip_shim_hooks_wire(net.as_ptr(), gate, ptr) },
            // SAFETY: As above.
            Hook::Order => unsafe { bindings::mpip_shim_hooks_order(net.as_ptr(), gate) },
        };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        Ok(Hooks { net, raw })
    }
}

impl Drop for Hooks {
    /// Waits until no hook runs any more. Process context.
    fn drop(&mut self) {
        // SAFETY: `raw` came from registration in the same namespace.
        unsafe { bindings::mpip_shim_hooks_unregister(self.net.as_ptr(), self.raw.as_ptr()) };
    }
}
