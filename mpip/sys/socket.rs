// SPDX-License-Identifier: GPL-2.0

//! Reserved ports, and what sockets know of a flow.

use super::{
    bindings,
    net::Net,
    route::flow_of, //
};
use crate::proto::addr::Tuple;
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

/// Next sequence number that the established TCP socket of `tuple` expects. Softirq or RCU.
pub fn tcp_rcv_nxt(net: Net, tuple: &Tuple, ifindex: u32) -> Option<u32> {
    let incoming = Tuple {
        proto: tuple.proto,
        local: tuple.remote,
        remote: tuple.local,
    };
    let mut rcv_nxt = 0;
    // SAFETY: `net` is alive; the pointers are valid.
    let found = unsafe {
        bindings::mpip_shim_tcp_lookup(
            net.as_ptr(),
            &flow_of(&incoming),
            ifindex as i32,
            &mut rcv_nxt,
        )
    };
    found.then_some(rcv_nxt)
}
