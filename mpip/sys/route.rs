// SPDX-License-Identifier: GPL-2.0

//! Ways out of the host and its addresses.

use super::{
    atomic::MarkedAccess,
    bindings,
    net::Net, //
};
use crate::proto::addr::{
    Addr,
    Endpoint,
    Tuple, //
};
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::sync::atomic::Atomic;

/// An output route with a counted reference.
pub struct Dst {
    dst: NonNull<bindings::dst_entry>,
    cookie: u32,
}

// SAFETY: A `dst_entry` may be used and released on any CPU.
unsafe impl Send for Dst {}
// SAFETY: Only read through `&Dst`.
unsafe impl Sync for Dst {}

pub(super) fn flow_of(tuple: &Tuple) -> bindings::mpip_flow {
    let mut flow = bindings::mpip_flow {
        family: tuple.local.addr.family(),
        proto: tuple.proto,
        sport: tuple.local.port,
        dport: tuple.remote.port,
        src: [0; 16],
        dst: [0; 16],
    };
    for (to, from) in [
        (&mut flow.src, &tuple.local.addr),
        (&mut flow.dst, &tuple.remote.addr),
    ] {
        let bytes = from.as_bytes();
        if let Some(to) = to.get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }
    flow
}

/// The reverse of [`flow_of`].
pub(super) fn tuple_of(flow: &bindings::mpip_flow) -> Tuple {
    let addr = |padded: &[u8; 16]| match flow.family {
        4 => Addr::V4([padded[0], padded[1], padded[2], padded[3]]),
        _ => Addr::V6(*padded),
    };
    Tuple {
        proto: flow.proto,
        local: Endpoint {
            addr: addr(&flow.src),
            port: flow.sport,
        },
        remote: Endpoint {
            addr: addr(&flow.dst),
            port: flow.dport,
        },
    }
}

impl Dst {
    /// The route of packets from `tuple.local` to `tuple.remote`. Out of `ifindex` alone it is a
    /// lane's; with 0 it is the one that the flow takes by itself: rules may tell users and marks
    /// from each other, and both are the socket's. Only routes that the tables really hold count.
    /// Any context.
    pub fn lookup(net: Net, ifindex: u32, tuple: &Tuple) -> Option<Dst> {
        let mut out = bindings::mpip_dst {
            dst: core::ptr::null_mut(),
            cookie: 0,
        };
        // SAFETY: `net` is alive (invariant of `Net`); the pointers are valid.
        let found = unsafe {
            bindings::mpip_shim_route_out(net.as_ptr(), ifindex as i32, &flow_of(tuple), &mut out)
        };
        // SAFETY: The reference is handed over.
        found.then(|| unsafe { Dst::from_raw(out) })?
    }

    /// Takes over the reference in `raw`; `None` if it holds none.
    ///
    /// # Safety
    ///
    /// `raw` must hold a reference to a route, or null.
    pub(super) unsafe fn from_raw(raw: bindings::mpip_dst) -> Option<Dst> {
        Some(Dst {
            dst: NonNull::new(raw.dst)?,
            cookie: raw.cookie,
        })
    }

    /// As the shims know it; the reference stays with `self`.
    pub(super) fn raw(&self) -> bindings::mpip_dst {
        bindings::mpip_dst {
            dst: self.dst.as_ptr(),
            cookie: self.cookie,
        }
    }

    /// Whether the route may still be used.
    pub fn is_valid(&self) -> bool {
        // SAFETY: `self` holds a reference.
        unsafe { bindings::mpip_shim_dst_valid(&self.raw()) }
    }

    /// Whether its interface runs and has carrier.
    pub fn is_ready(&self) -> bool {
        // SAFETY: `self` holds a reference.
        unsafe { bindings::mpip_shim_dst_ready(&self.raw()) }
    }

    /// Has the next hop's link address asked for again at once if that is going on already.
    /// `remote` is the destination. Any context.
    pub fn solicit(&self, remote: &Addr) {
        let bytes = remote.as_bytes();
        // SAFETY: `self` holds a reference; the address is as long as the route's family has it.
        unsafe { bindings::mpip_shim_dst_solicit(&self.raw(), remote.family(), bytes.as_ptr()) };
    }

    /// Path MTU in bytes.
    pub fn mtu(&self) -> u32 {
        // SAFETY: `self` holds a reference.
        unsafe { bindings::mpip_shim_dst_mtu(&self.raw()) }
    }

    /// Index of the output interface.
    pub fn ifindex(&self) -> u32 {
        // SAFETY: `self` holds a reference.
        unsafe { bindings::mpip_shim_dst_ifindex(&self.raw()) as u32 }
    }
}

impl Drop for Dst {
    fn drop(&mut self) {
        // SAFETY: `self` holds a reference and is not used any more.
        unsafe { bindings::mpip_shim_dst_put(&mut self.raw()) };
    }
}

/// The route by which the packets of a flow end on this host, as the last of them found it: all of
/// them have the same addresses ([`Skb::route_flow`](super::skb::Skb::route_flow)).
pub struct FlowRoute(Atomic<*mut c_void>);

impl Default for FlowRoute {
    /// Of a flow of which nothing has come yet.
    fn default() -> FlowRoute {
        FlowRoute(Atomic::new(core::ptr::null_mut()))
    }
}

impl FlowRoute {
    /// Where the route is kept.
    pub(super) fn raw(&self) -> *mut *mut c_void {
        self.0.as_ptr()
    }
}

impl Drop for FlowRoute {
    fn drop(&mut self) {
        // SAFETY: Null or a route with a reference, which nothing uses any more.
        unsafe { bindings::mpip_shim_rx_route_forget(self.0.read_once()) };
    }
}

/// An address of this host that can carry a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LocalAddr {
    /// Interface index.
    pub ifindex: u32,
    /// MTU of the interface, bytes.
    pub mtu: u32,
    /// The address.
    pub addr: Addr,
    /// Whether the interface puts packets into others of this host's.
    pub tunnel: bool,
    /// Whether the interface is not to be used; for the caller to say.
    pub excluded: bool,
}

impl LocalAddr {
    /// Whether lanes may begin here.
    pub fn is_usable(&self) -> bool {
        !self.tunnel && !self.excluded
    }
}

/// How many addresses of a host are looked at.
pub const MAX_LOCAL: usize = 32;

/// The host's usable addresses; returns how many were written. Any context.
pub fn local_addrs(net: Net, out: &mut [Option<LocalAddr>; MAX_LOCAL]) -> usize {
    const EMPTY: bindings::mpip_ifaddr = bindings::mpip_ifaddr {
        ifindex: 0,
        mtu: 0,
        family: 0,
        tunnel: false,
        addr: [0; 16],
    };
    let mut raw = [EMPTY; MAX_LOCAL];
    // SAFETY: `net` is alive; `raw` has room for `MAX_LOCAL` entries.
    let n =
        unsafe { bindings::mpip_shim_ifaddrs(net.as_ptr(), raw.as_mut_ptr(), MAX_LOCAL as i32) };
    let mut count = 0;
    for entry in raw.iter().take(n.max(0) as usize) {
        let len = if entry.family == 4 { 4 } else { 16 };
        let Some(addr) = Addr::from_bytes(&entry.addr[..len]) else {
            continue;
        };
        if let Some(slot) = out.get_mut(count) {
            *slot = Some(LocalAddr {
                ifindex: entry.ifindex,
                mtu: entry.mtu,
                addr,
                tunnel: entry.tunnel,
                excluded: false,
            });
            count = count.saturating_add(1);
        }
    }
    count
}

/// Whether an interface puts packets into others of this host's: a VPN, for example. Any context.
pub fn is_tunnel(net: Net, ifindex: u32) -> bool {
    // SAFETY: `net` is alive.
    unsafe { bindings::mpip_shim_is_tunnel(net.as_ptr(), ifindex) }
}

/// Whether `addr` is this host's and the interface, `ifindex` unless 0, runs and has carrier. Any
/// context.
pub fn is_alive(net: Net, ifindex: u32, addr: &Addr) -> bool {
    let bytes = addr.as_bytes();
    // SAFETY: `net` is alive; the function reads as many bytes as the family has.
    unsafe { bindings::mpip_shim_addr_alive(net.as_ptr(), ifindex, addr.family(), bytes.as_ptr()) }
}

/// A number that changes with the namespace's routes and addresses. Any context.
pub fn generation(net: Net) -> u64 {
    // SAFETY: `net` is alive.
    unsafe { bindings::mpip_shim_route_generation(net.as_ptr()) }
}
