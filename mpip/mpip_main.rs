// SPDX-License-Identifier: GPL-2.0

//! Multipath transmission at the IP layer of end hosts.

// What comes over the wire gets into most sums, and where overflow is checked it is a panic.
#![warn(clippy::arithmetic_side_effects)]

use crate::sys::atomic::MarkedAccess;
use kernel::prelude::*;

#[cfg(CONFIG_MPIP_KUNIT_TEST)]
#[allow(clippy::arithmetic_side_effects)]
mod kunit;
pub mod net;
pub mod proto;
pub mod sys;

module! {
    type: Mpip,
    name: "mpip",
    authors: ["The MPIP project"],
    description: "Multipath transmission at the IP layer of end hosts",
    license: "GPL",
    params: {
        enabled: u8 {
            default: 1,
            description: "Work in the initial network namespace from the start (0 or 1)",
        },
    },
}

/// The module. Fields are dropped in order: netlink first, so that nobody asks for what goes.
struct Mpip {
    _family: sys::genl::Registration,
    _namespaces: sys::pernet::Registration,
}

/// A parameter's value, which kernels before 7.3 hand out by reference.
fn number(value: impl core::borrow::Borrow<u8>) -> u8 {
    *value.borrow()
}

impl kernel::Module for Mpip {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let enabled = number(module_parameters::enabled.value());
        if enabled > 1 {
            pr_err!("parameter enabled: {} is neither 0 nor 1\n", enabled);
            return Err(EINVAL);
        }
        net::ns::START_ENABLED.write_once(enabled == 1);
        let namespaces = sys::pernet::Registration::new()?;
        let family = sys::genl::Registration::new()?;
        Ok(Mpip {
            _family: family,
            _namespaces: namespaces,
        })
    }
}

impl Drop for Mpip {
    fn drop(&mut self) {
        net::ns::UNLOADING.write_once(true);
    }
}
