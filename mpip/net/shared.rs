// SPDX-License-Identifier: GPL-2.0

//! What a namespace keeps whether MPIP is enabled in it or not: parameters and counters.

use crate::{
    net::{
        links::Links,
        rules::{
            Rules,
            Table, //
        }, //
    },
    proto::{
        counters::{
            self,
            Counter, //
        },
        params::{
            self,
            Param, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

/// The parameters of a namespace, kept whether it is enabled or not.
pub struct Settings {
    values: [Atomic<u64>; params::COUNT],
}

impl Settings {
    /// The defaults.
    pub fn defaults() -> Settings {
        Settings {
            values: params::defaults().map(Atomic::new),
        }
    }

    /// The value of a parameter.
    pub fn get(&self, param: Param) -> u64 {
        self.values[param.index()].read_once()
    }

    /// Whether only those interfaces are used that are enrolled.
    pub fn uses_enrolled_only(&self) -> bool {
        self.get(Param::Interfaces) == 1
    }

    /// Sets a parameter; the caller has checked its range.
    pub fn set(&self, param: Param, value: u64) {
        self.values[param.index()].write_once(value);
    }
}

/// Copies of the counters, chosen by CPU, so that CPUs rarely share a cache line.
const SHARDS: usize = 8;

#[repr(align(64))]
struct Shard([Atomic<u64>; counters::COUNT]);

/// Counters.
pub struct Counters {
    shards: KVec<Shard>,
}

impl Counters {
    /// All zero. Process context.
    pub fn new() -> Result<Counters> {
        let mut shards = KVec::with_capacity(SHARDS, GFP_KERNEL)?;
        for _ in 0..SHARDS {
            shards.push(Shard([0u64; counters::COUNT].map(Atomic::new)), GFP_KERNEL)?;
        }
        Ok(Counters { shards })
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        if let Some(shard) = self.shards.get(clock::cpu() % SHARDS) {
            shard.0[counter.index()].add(n, Relaxed);
        }
    }

    /// The value of a counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.shards.iter().fold(0, |sum, shard| {
            sum.wrapping_add(shard.0[counter.index()].read_once())
        })
    }
}

/// What the instance shares with its namespace's settings.
#[pin_data]
pub struct Shared {
    /// Parameters.
    pub settings: Settings,
    /// Counters; they survive disabling.
    pub counters: Counters,
    /// Memory held by all reordering buffers, bytes.
    pub held: Atomic<i64>,
    /// Memory of all segments kept to be sent again, bytes.
    pub kept: Atomic<i64>,
    /// Rules; they survive disabling.
    #[pin]
    pub rules: Rules,
    /// What is wanted of interfaces; it survives disabling.
    #[pin]
    pub links: Links,
}

impl Shared {
    /// Defaults, zeros, no rules. Process context.
    pub fn new() -> Result<Arc<Shared>> {
        let counters = Counters::new()?;
        let none = Arc::new(Table::new(), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Shared {
                settings: Settings::defaults(),
                counters,
                held: Atomic::new(0),
                kept: Atomic::new(0),
                rules <- Rules::new(none),
                links <- Links::new(),
            }),
            GFP_KERNEL,
        )
    }
}
