// SPDX-License-Identifier: GPL-2.0

//! The pointer that each network namespace keeps for us, and its registration.

use super::{
    bindings,
    net::Net, //
};
use crate::net::ns::Namespace;
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
};

/// Puts `namespace` in the place of what `net` has. Called from the namespace's init and exit
/// operations only, which do not run beside anybody who calls [`get`].
pub fn set(net: Net, namespace: Option<Arc<Namespace>>) {
    let fresh = namespace.map_or(core::ptr::null(), Arc::into_raw);
    // SAFETY: `net` is alive and the operations are registered: we run in one of them.
    let old = unsafe {
        let old = bindings::mpip_shim_pernet_get(net.as_ptr());
        bindings::mpip_shim_pernet_set(net.as_ptr(), fresh.cast_mut().cast());
        old
    };
    if !old.is_null() {
        // SAFETY: It came from `Arc::into_raw` above.
        drop(unsafe { Arc::from_raw(old.cast::<Namespace>()) });
    }
}

/// What `net` has.
pub fn get(net: Net) -> Option<Arc<Namespace>> {
    // SAFETY: `net` is alive; whoever asks does so between its init and its exit operation.
    let ptr = unsafe { bindings::mpip_shim_pernet_get(net.as_ptr()) };
    if ptr.is_null() {
        return None;
    }
    // SAFETY: It came from `Arc::into_raw` and is released by `set` only.
    Some(unsafe { ArcBorrow::from_raw(ptr.cast::<Namespace>()) }.into())
}

/// The registered operations: every namespace is initialised while it lives.
pub struct Registration(());

impl Registration {
    /// Registers, and initialises all namespaces. Process context, once.
    pub fn new() -> Result<Registration> {
        // SAFETY: Called from module initialisation.
        to_result(unsafe { bindings::mpip_shim_work_init() })?;
        // SAFETY: As above.
        let registered = to_result(unsafe { bindings::mpip_shim_pernet_register() });
        if registered.is_err() {
            // SAFETY: Nobody has used it.
            unsafe { bindings::mpip_shim_work_exit() };
        }
        registered.map(|()| Registration(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: Pairs with `new`. Afterwards no callback may be pending: those of RCU are
        // waited for.
        unsafe {
            bindings::mpip_shim_pernet_unregister();
            bindings::mpip_shim_work_exit();
            bindings::mpip_shim_rcu_barrier();
        }
    }
}
