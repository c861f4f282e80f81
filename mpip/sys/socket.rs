// SPDX-License-Identifier: GPL-2.0

//! Reserved ports, and what sockets know of a flow.

use super::{
    bindings,
    cgroup::Cgroup,
    net::Net,
    route::{
        flow_of,
        Dst, //
    },
};
use crate::proto::addr::{
    Addr,
    Tuple, //
};
use core::ptr::NonNull;

/// A port of this host that no socket of anybody else can have meanwhile.
pub struct ReservedPort {
    sock: NonNull<bindings::socket>,
    port: u16,
}

// SAFETY: A kernel socket may be released on any CPU.
unsafe impl Send for ReservedPort {}
// SAFETY: Only the number is reachable through a shared reference.
unsafe impl Sync for ReservedPort {}

impl ReservedPort {
    /// Reserves `port`, or any free one for 0, for `proto` and both families. Process context.
    pub fn reserve(net: Net, proto: u8, port: u16) -> Option<ReservedPort> {
        let mut port = port;
        // SAFETY: `net` is alive and `port` valid for reads and writes.
        let sock = unsafe { bindings::mpip_shim_port_reserve(net.as_ptr(), proto, &mut port) };
        Some(ReservedPort {
            sock: NonNull::new(sock)?,
            port,
        })
    }

    /// The port number.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for ReservedPort {
    /// Process context.
    fn drop(&mut self) {
        // SAFETY: `self` owns the socket.
        unsafe { bindings::mpip_shim_port_release(self.sock.as_ptr()) };
    }
}

/// The user whose socket an outgoing flow has, and the socket's control group; `None` if there is
/// no socket of a user. Any context.
pub fn user_of(net: Net, tuple: &Tuple) -> Option<(u32, Option<Cgroup>)> {
    let (mut uid, mut group) = (u32::MAX, core::ptr::null_mut());
    // SAFETY: `net` is alive; the pointers are valid.
    let known = unsafe {
        bindings::mpip_shim_flow_owner(net.as_ptr(), &flow_of(tuple), &mut uid, &mut group)
    };
    // SAFETY: The reference is handed over.
    let group = NonNull::new(group).map(|group| unsafe { Cgroup::from_raw(group) });
    (known && uid != u32::MAX).then_some((uid, group))
}

/// Who owns a TCP tuple on this host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Nobody.
    None,
    /// A socket without a stream: a connection that has ended.
    Other,
    /// A connection, established or about to be.
    Stream {
        /// Next sequence number that it expects.
        rcv_nxt: u32,
        /// Oldest sequence number that is not acknowledged to it.
        snd_una: u32,
        /// What it sends next. What a queue of this host has refused it has not sent.
        snd_nxt: u32,
    },
}

/// The owner of a TCP tuple. Softirq or RCU.
pub fn tcp_owner(net: Net, tuple: &Tuple, ifindex: u32) -> Owner {
    let mut stream = bindings::mpip_stream {
        rcv_nxt: 0,
        snd_una: 0,
        snd_nxt: 0,
    };
    // SAFETY: `net` is alive; the pointers are valid.
    let owner = unsafe {
        bindings::mpip_shim_tcp_lookup(
            net.as_ptr(),
            &flow_of(&tuple.reversed()),
            ifindex as i32,
            &mut stream,
        )
    };
    match owner {
        0 => Owner::None,
        1 => Owner::Other,
        _ => Owner::Stream {
            rcv_nxt: stream.rcv_nxt,
            snd_una: stream.snd_una,
            snd_nxt: stream.snd_nxt,
        },
    }
}

/// Whether a UDP socket of this host gets what comes on `tuple`. Softirq or RCU.
pub fn udp_owned(net: Net, tuple: &Tuple, ifindex: u32) -> bool {
    // SAFETY: `net` is alive; the pointer is valid.
    unsafe {
        bindings::mpip_shim_udp_owned(net.as_ptr(), &flow_of(&tuple.reversed()), ifindex as i32)
    }
}

/// Lends a route to the connected socket of an outgoing flow whose own way is gone: what it sends
/// gets as far as the hook at POST_ROUTING. True if the socket needed it. Process context.
pub fn lend_route(net: Net, tuple: &Tuple, dst: &Dst) -> bool {
    // SAFETY: `net` is alive; `dst` holds a reference, another is taken.
    unsafe { bindings::mpip_shim_sock_lend(net.as_ptr(), &flow_of(tuple), &dst.raw()) }
}

/// Sockets at most that may send from an address that has gone.
pub const MAX_LENT: usize = bindings::MPIP_MAX_LENT as usize;

/// A UDP socket without a connection, bound to an IPv4 address that has gone; what is lent to it
/// ends with this.
///
/// # Invariants
///
/// `sock` is a socket from `mpip_shim_source_find`, with its reference.
pub struct LentSource {
    sock: NonNull<bindings::sock>,
    lent: bool,
    // The interface that it was given, if it had chosen none.
    ifindex: Option<u32>,
}

// SAFETY: A socket may be changed and given back by any CPU.
unsafe impl Send for LentSource {}
// SAFETY: Through a shared reference only atomic flags and the bound address are read.
unsafe impl Sync for LentSource {}

impl LentSource {
    /// The socket of an outgoing flow; `None` if it is not of this kind. Any context.
    pub fn find(net: Net, tuple: &Tuple) -> Option<LentSource> {
        // SAFETY: `net` is alive; the flow is valid for reads.
        let sock = unsafe { bindings::mpip_shim_source_find(net.as_ptr(), &flow_of(tuple)) };
        // INVARIANT: The reference is handed over.
        let sock = NonNull::new(sock)?;
        Some(LentSource {
            sock,
            lent: false,
            ifindex: None,
        })
    }

    /// Whether it may send from anywhere by its own right.
    pub fn is_free(&self) -> bool {
        // SAFETY: By the invariant.
        !self.lent && unsafe { bindings::mpip_shim_source_is_free(self.sock.as_ptr()) }
    }

    /// Lets it send from its address, by an interface if it has chosen none. Any context.
    pub fn lend(&mut self, ifindex: u32) {
        let to = ifindex as i32;
        if !self.lent {
            self.lent = true;
            // SAFETY: By the invariant.
            let given = unsafe { bindings::mpip_shim_source_lend(self.sock.as_ptr(), to) };
            self.ifindex = given.then_some(ifindex);
        } else if let Some(now) = &mut self.ifindex {
            // SAFETY: By the invariant.
            unsafe { bindings::mpip_shim_source_direct(self.sock.as_ptr(), *now as i32, to) };
            *now = ifindex;
        }
    }

    /// Takes that back, if it was lent. Any context.
    pub fn take(&mut self) {
        if !core::mem::take(&mut self.lent) {
            return;
        }
        if let Some(from) = self.ifindex.take() {
            // SAFETY: By the invariant.
            unsafe { bindings::mpip_shim_source_direct(self.sock.as_ptr(), from as i32, 0) };
        }
        // SAFETY: By the invariant.
        unsafe { bindings::mpip_shim_source_take(self.sock.as_ptr()) };
    }

    /// Whether its address has gone. Any context.
    pub fn is_needed(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { bindings::mpip_shim_source_is_needed(self.sock.as_ptr()) }
    }

    /// Whether anybody still has it open. Any context.
    pub fn is_open(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { bindings::mpip_shim_source_is_open(self.sock.as_ptr()) }
    }

    /// Whether both are the same socket.
    pub fn is_same(&self, other: &LentSource) -> bool {
        self.sock == other.sock
    }

    pub(super) fn raw(&self) -> *mut bindings::sock {
        self.sock.as_ptr()
    }
}

impl Drop for LentSource {
    /// Any context.
    fn drop(&mut self) {
        self.take();
        // SAFETY: By the invariant; the reference goes with `self`.
        unsafe { bindings::mpip_shim_source_put(self.sock.as_ptr()) };
    }
}

/// Has the TCP socket of an outgoing flow say again what it has received. Process context.
pub fn acknowledge(net: Net, tuple: &Tuple) {
    // SAFETY: `net` is alive; the pointer is valid.
    unsafe { bindings::mpip_shim_sock_ack(net.as_ptr(), &flow_of(tuple)) };
}

/// Has the TCP socket of an outgoing flow send at once what it has put off because nothing came
/// through. Process context.
pub fn wake(net: Net, tuple: &Tuple) {
    // SAFETY: `net` is alive; the pointer is valid.
    unsafe { bindings::mpip_shim_sock_wake(net.as_ptr(), &flow_of(tuple)) };
}

/// Has the TCP socket of an outgoing flow send as many segments more than its window allows as are
/// acknowledged in so many microseconds as a rule. Returns how many: none if it does not wait for
/// its window. Process context, no lock held.
pub fn credit(net: Net, tuple: &Tuple, us: u32) -> u32 {
    // SAFETY: `net` is alive; the pointer is valid.
    unsafe { bindings::mpip_shim_sock_credit(net.as_ptr(), &flow_of(tuple), us) }
}

/// Whether `addr` is one of this host's. Any context.
pub fn is_local(net: Net, addr: &Addr) -> bool {
    // SAFETY: `net` is alive; the function reads as many bytes as the family has.
    unsafe {
        bindings::mpip_shim_addr_is_local(net.as_ptr(), addr.family(), addr.as_bytes().as_ptr())
    }
}
