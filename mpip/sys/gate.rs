// SPDX-License-Identifier: GPL-2.0

//! What lets packets through the hooks before Rust is called.
//!
//! Most packets of most hosts belong to no session and cause no question. The
//! gate knows the flows of which that has just been found, for a moment, and
//! how many tuples there are to be looked for.

use super::{
    bindings,
    route::flow_of,
    skb::Skb,
    socket::{
        LentSource,
        MAX_LENT, //
    }, //
};
use crate::proto::{
    addr::Tuple,
    wire::MAX_LEN, //
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the wire.
    Out,
    /// From the wire.
    In,
}

/// An instance's gate.
pub struct Gate(NonNull<bindings::mpip_gate>);

// SAFETY: It is plain memory that any CPU may free.
unsafe impl Send for Gate {}
// SAFETY: All of it is read and written atomically.
unsafe impl Sync for Gate {}

impl Gate {
    /// One that lets nothing through yet that has to be looked at. Process context.
    pub fn new() -> Result<Gate> {
        // SAFETY: No preconditions but the context.
        let raw = unsafe { bindings::mpip_shim_gate_new(MAX_LEN as u32) };
        Ok(Gate(NonNull::new(raw).ok_or(ENOMEM)?))
    }

    pub(super) fn raw(&self) -> *mut bindings::mpip_gate {
        self.0.as_ptr()
    }

    /// There is one tuple more, of an added lane or not. To be called before it can be found.
    pub fn count_up(&self, added: bool) {
        // SAFETY: The gate lives as long as `self`.
        unsafe { bindings::mpip_shim_gate_count(self.raw(), 1, i32::from(added)) };
    }

    /// There is one tuple less.
    pub fn count_down(&self, added: bool) {
        // SAFETY: As above.
        unsafe { bindings::mpip_shim_gate_count(self.raw(), -1, if added { -1 } else { 0 }) };
    }

    /// Whether there are tuples of added lanes.
    pub fn has_lanes(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::mpip_shim_gate_lanes(self.raw()) }
    }

    /// Says whether datagrams may have to take something along.
    pub fn set_riding(&self, riding: bool) {
        // SAFETY: As above.
        unsafe { bindings::mpip_shim_gate_riding(self.raw(), riding) };
    }

    /// The `index`-th socket that may send from an address that has gone, below [`MAX_LENT`].
    pub fn set_lent(&self, index: usize, source: Option<&LentSource>) {
        let sock = source.map_or(core::ptr::null(), |source| source.raw().cast_const().cast());
        if index < MAX_LENT {
            // SAFETY: The gate lives as long as `self`, the index is one of its places; the socket
            // is only compared.
            unsafe { bindings::mpip_shim_gate_lent(self.raw(), index as u32, sock) };
        }
    }

    /// Whether an outgoing packet has a source address that is none of this host's, and leaves only
    /// because its socket was lent that: what a session has sent by a lane has the lane's address.
    pub fn is_forged(&self, skb: &Skb<'_>) -> bool {
        // SAFETY: As above; the packet and the hook's state are valid.
        unsafe { bindings::mpip_shim_tx_forges(self.raw(), skb.raw(), skb.state()) }
    }

    /// Tells the node's own port.
    pub fn set_port(&self, port: u16) {
        // SAFETY: As above.
        unsafe { bindings::mpip_shim_gate_port(self.raw(), port) };
    }

    /// Packets like this one need not be looked at for a moment.
    pub fn pass(&self, skb: &Skb<'_>, family: u8, way: Way) {
        // SAFETY: As above; the packet is valid.
        unsafe { bindings::mpip_shim_gate_pass(self.raw(), skb.raw(), family, way == Way::In) };
    }

    /// The packets of a tuple have to be looked at from now on.
    pub fn stop(&self, tuple: &Tuple) {
        // SAFETY: As above; the flow is valid for reads.
        unsafe { bindings::mpip_shim_gate_stop(self.raw(), &flow_of(tuple)) };
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // SAFETY: The hooks that used it have been unregistered and waited for.
        unsafe { bindings::mpip_shim_gate_free(self.raw()) };
    }
}
