// SPDX-License-Identifier: GPL-2.0

//! Suites for KUnit: what the border to the kernel does to real packets, and the protocol with the
//! kernel's own cryptography and arithmetic.
//!
//! What is checked against was not made by the code under test: packets come from [`bytes`], sums
//! are verified by the kernel's functions or added up byte by byte. Built with
//! `CONFIG_MPIP_KUNIT_TEST` only; `make kunit` runs them.
//!
//! | suite | what it is about |
//! | --- | --- |
//! | `mpip_packets` | rewriting, wrapping, cutting of packets: linear, in pages, cloned, GSO |
//! | `mpip_merged` | the same for packets that GRO has merged |
//! | `mpip_joined` | segments that become part of the one before |
//! | `mpip_sums` | checksums in whatever state a packet has them |
//! | `mpip_hooks` | where the hooks are, what they may touch, what they leave alone |
//! | `mpip_protocol` | messages, parsers and tables within the kernel |

/// Fails a test, and says why.
macro_rules! ensure {
    ($condition:expr, $why:literal $(, $value:expr)* $(,)?) => {
        if !$condition {
            // Not pr_err!(), which takes nothing but a literal.
            kernel::kunit::err(core::format_args!(
                concat!("    # {}:{}: ", $why, "\n"), file!(), line!() $(, $value)*
            ));
            return Err(kernel::error::code::EINVAL);
        }
    };
}

mod bytes;
mod hooks;
mod joined;
mod merged;
mod packets;
mod protocol;
mod sums;
