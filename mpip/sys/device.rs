// SPDX-License-Identifier: GPL-2.0

//! Network interfaces. Any context.

use super::{
    bindings,
    net::Net, //
};
use crate::proto::interface::{
    Name,
    MAX_NAME, //
};

/// The index of the interface with this name; 0 if there is none.
pub fn index_of(net: Net, name: &Name) -> u32 {
    let text = name.as_bytes_with_nul();
    // SAFETY: `net` is alive; there is a zero behind the name.
    unsafe { bindings::mpip_shim_dev_index(net.as_ptr(), text.as_ptr().cast()) }
}

/// The name of an interface, if it is there.
pub fn name_of(net: Net, ifindex: u32) -> Option<Name> {
    let mut text = [0u8; MAX_NAME + 1];
    // SAFETY: `net` is alive; there is room for the longest name and a zero.
    let known =
        unsafe { bindings::mpip_shim_dev_name(net.as_ptr(), ifindex, text.as_mut_ptr().cast()) };
    let name = text.split(|b| *b == 0).next()?;
    Name::new(name).filter(|_| known)
}

/// What an interface has carried both ways since it is there, bytes, if it is there.
pub fn bytes_of(net: Net, ifindex: u32) -> Option<u64> {
    let mut bytes = 0;
    // SAFETY: `net` is alive, `bytes` valid for writes.
    let known = unsafe { bindings::mpip_shim_dev_bytes(net.as_ptr(), ifindex, &mut bytes) };
    known.then_some(bytes)
}
