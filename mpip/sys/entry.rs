// SPDX-License-Identifier: GPL-2.0

//! Where the kernel calls in: hooks, timers, work and namespaces.

use super::{
    bindings,
    burst,
    net::Net,
    reading::Reading,
    skb::Skb, //
};
use crate::net::{
    instance::Instance,
    ns,
    order,
    rx,
    session::Session,
    tx,
    Verdict, //
};
use core::ptr::NonNull;
use kernel::{
    error::from_result,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*, //
};

const NF_DROP: c_uint = 0;
const NF_ACCEPT: c_uint = 1;
const NF_STOLEN: c_uint = 2;

/// Runs a hook of an instance.
///
/// # Safety
///
/// The pointers must be those of a netfilter hook registered by `Hooks::register`.
unsafe fn run_hook(
    instance: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
    hook: impl for<'a> FnOnce(&'a Instance, &mut Skb<'_>, Reading<'a>) -> Verdict,
) -> c_uint {
    let Some(skb) = NonNull::new(skb) else {
        return NF_ACCEPT;
    };
    // SAFETY: `Hooks` keeps the instance alive until no hook runs any more.
    let instance = unsafe { &*instance.cast::<Instance>() };
    if instance.is_waiting() {
        return NF_ACCEPT;
    }
    // SAFETY: Netfilter gave us both for the time of the hook.
    let mut skb = unsafe { Skb::from_hook(skb, state) };
    // SAFETY: Netfilter holds it while hooks run.
    let rcu = unsafe { Reading::held() };
    let because = |error: Error| NF_DROP | error.to_errno().unsigned_abs() << 16;
    match hook(instance, &mut skb, rcu) {
        Verdict::Accept => NF_ACCEPT,
        Verdict::Drop => NF_DROP,
        Verdict::Refuse => because(EINVAL),
        Verdict::TooLong => because(EMSGSIZE),
        Verdict::Stolen => NF_STOLEN,
    }
}

/// # Safety
///
/// To be called as a netfilter hook at POST_ROUTING only.
#[no_mangle]
unsafe extern "C" fn mpip_rs_post_routing(
    instance: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
    family: u8,
) -> c_uint {
    // SAFETY: By the contract.
    unsafe {
        run_hook(instance, skb, state, |i, skb, rcu| {
            tx::post_routing(i, skb, family, rcu)
        })
    }
}

/// # Safety
///
/// To be called as a netfilter hook at PRE_ROUTING only.
#[no_mangle]
unsafe extern "C" fn mpip_rs_pre_routing(
    instance: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
    family: u8,
) -> c_uint {
    // SAFETY: By the contract.
    unsafe {
        run_hook(instance, skb, state, |i, skb, rcu| {
            rx::pre_routing(i, skb, family, rcu)
        })
    }
}

/// # Safety
///
/// To be called as a netfilter hook at LOCAL_IN only.
#[no_mangle]
unsafe extern "C" fn mpip_rs_local_in(
    instance: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
    family: u8,
) -> c_uint {
    // SAFETY: By the contract.
    unsafe {
        run_hook(instance, skb, state, |i, skb, rcu| {
            order::local_in(i, skb, family, rcu)
        })
    }
}

/// # Safety
///
/// `session` must be what a `Timer` was made with.
#[no_mangle]
unsafe extern "C" fn mpip_rs_timer(session: *mut c_void) {
    // SAFETY: The session outlives its timer.
    let session = unsafe { &*session.cast::<Session>() };
    session.on_timer();
}

/// # Safety
///
/// `instance` must be what a `Work` was made with.
#[no_mangle]
unsafe extern "C" fn mpip_rs_work(instance: *mut c_void) {
    // SAFETY: The instance outlives its work.
    let instance = unsafe { &*instance.cast::<Instance>() };
    instance.on_work();
}

/// # Safety
///
/// Both must be from `Bursts::add`, the session once only.
#[no_mangle]
unsafe extern "C" fn mpip_rs_burst_over(instance: *mut c_void, session: *mut c_void) {
    // SAFETY: The instance outlives its bursts; the rest is the contract.
    let (instance, session) = unsafe { (&*instance.cast::<Instance>(), burst::session(session)) };
    session.burst_over(instance);
}

/// # Safety
///
/// `instance` must be what a `Watch` was made with.
#[no_mangle]
unsafe extern "C" fn mpip_rs_changed(instance: *mut c_void) {
    // SAFETY: The instance outlives its watch.
    let instance = unsafe { &*instance.cast::<Instance>() };
    instance.network_changed();
}

/// # Safety
///
/// `net` must be a namespace that is being set up.
#[no_mangle]
unsafe extern "C" fn mpip_rs_net_init(net: *mut bindings::net) -> c_int {
    from_result(|| {
        // SAFETY: It lives until `mpip_rs_net_exit` has run.
        let net = unsafe { Net::from_raw(net) }.ok_or(EINVAL)?;
        ns::init(net).map(|()| 0)
    })
}

/// # Safety
///
/// `net` must be a namespace that is being torn down.
#[no_mangle]
unsafe extern "C" fn mpip_rs_net_pre_exit(net: *mut bindings::net) {
    // SAFETY: As above.
    if let Some(net) = unsafe { Net::from_raw(net) } {
        ns::pre_exit(net);
    }
}

/// # Safety
///
/// `net` must be a namespace that is being torn down, after its `pre_exit`.
#[no_mangle]
unsafe extern "C" fn mpip_rs_net_exit(net: *mut bindings::net) {
    // SAFETY: As above.
    if let Some(net) = unsafe { Net::from_raw(net) } {
        ns::exit(net);
    }
}
