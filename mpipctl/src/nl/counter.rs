// SPDX-License-Identifier: GPL-2.0

//! Counters.

use super::record::record;

record! {
    /// A counter of the instance.
    pub struct Counter: COUNTER by CMD_COUNTER_GET {
        /// Name, as the kernel gives it.
        name: String = COUNTER_NAME,
        /// Value.
        value: u64 = COUNTER_VALUE,
    }
}
