// SPDX-License-Identifier: GPL-2.0

//! The border to the kernel's C code: nearly all `unsafe` of the module.
//!
//! What leaves this folder is safe to use. Each file wraps one kernel object
//! and states, where the compiler cannot check it, in which context its
//! functions may be called.

pub mod atomic;
pub mod bh;
mod bindings;
pub mod burst;
pub mod cgroup;
pub mod clock;
pub mod count;
pub mod crypto;
pub mod device;
pub mod entry;
pub mod gate;
pub mod genl;
pub mod net;
pub mod pernet;
pub mod reading;
pub mod route;
pub mod skb;
pub mod socket;
pub mod table;
#[cfg(CONFIG_MPIP_KUNIT_TEST)]
pub mod testing;
pub mod timer;
