// SPDX-License-Identifier: GPL-2.0

//! A hash table that is read without locks.
//!
//! Readers hold the RCU read lock and follow pointers; writers take one lock
//! of the table. An entry that is taken out is freed after a grace period, so
//! a reference that a reader got stays good until it lets go of RCU.

use super::{
    bh::BhLock,
    bindings,
    clock, //
};
use crate::{
    new_bh_lock,
    proto::crypto::Crypto,
    sys::crypto::Algo, //
};
use core::{
    cell::UnsafeCell,
    ops::ControlFlow,
    ptr, //
};
use kernel::{
    alloc::{
        flags::GFP_ATOMIC,
        KBox,
        KVVec, //
    },
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        rcu, //
    },
};

/// A key: compared exactly, hashed with a secret so that nobody can choose collisions.
pub trait Key: Eq + Copy {
    /// Calls `f` with bytes that represent the key.
    fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R;
}

/// Why an entry was not inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertError {
    /// The key is there already.
    Exists,
    /// The table's cap is reached.
    Full,
    /// No memory.
    NoMemory,
}

/// The layout starts with the kernel's `struct rcu_head`, which the callback gets.
#[repr(C)]
struct Node<K, V> {
    rcu: UnsafeCell<[usize; 2]>,
    next: Atomic<*mut Node<K, V>>,
    key: K,
    value: V,
}

/// A hash table from `K` to `V`.
///
/// # Invariants
///
/// Every pointer in `buckets` and in a reachable node's `next` is null or a node from
/// `KBox::into_raw` that is freed only after it has been unlinked and a grace period has passed.
#[pin_data(PinnedDrop)]
pub struct Table<K: Key, V: Send + Sync> {
    buckets: KVVec<Atomic<*mut Node<K, V>>>,
    secret: [u8; 16],
    len: Atomic<usize>,
    generation: Atomic<u32>,
    cap: Atomic<usize>,
    #[pin]
    writer: BhLock<()>,
}

// SAFETY: Values are shared between CPUs and dropped on any of them; `V` allows both.
unsafe impl<K: Key + Send, V: Send + Sync> Send for Table<K, V> {}
// SAFETY: As above; all changes are made under `writer`.
unsafe impl<K: Key + Send + Sync, V: Send + Sync> Sync for Table<K, V> {}

impl<K: Key, V: Send + Sync> Table<K, V> {
    /// A table of `1 << bits` buckets for at most `cap` entries. Process context.
    pub fn new(bits: u32, cap: usize) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let n = 1usize << bits;
            let mut buckets = KVVec::with_capacity(n, GFP_KERNEL)?;
            for _ in 0..n {
                buckets.push(Atomic::new(ptr::null_mut()), GFP_KERNEL)?;
            }
            Ok(try_pin_init!(Self {
                buckets,
                secret: clock::random_bytes(),
                len: Atomic::new(0),
                generation: Atomic::new(1),
                cap: Atomic::new(cap),
                writer <- new_bh_lock!((), "mpip_table"),
            }))
        })
    }

    fn bucket(&self, key: &K) -> &Atomic<*mut Node<K, V>> {
        let hash = key.with_bytes(|bytes| Algo.siphash(&self.secret, bytes));
        &self.buckets[hash as usize & (self.buckets.len() - 1)]
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// A number that changes with every change of the table; never 0.
    pub fn generation(&self) -> u32 {
        self.generation.load(Relaxed) | 1 << 31
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the cap is reached.
    pub fn is_full(&self) -> bool {
        self.len() >= self.cap.load(Relaxed)
    }

    /// Changes the cap; entries beyond it stay.
    pub fn set_cap(&self, cap: usize) {
        self.cap.store(cap, Relaxed);
    }

    /// The value of `key`.
    pub fn get<'g>(&'g self, _guard: &'g rcu::Guard, key: &K) -> Option<&'g V> {
        let mut node = self.bucket(key).load(Acquire);
        while !node.is_null() {
            // SAFETY: Reachable nodes are valid, and stay so while the guard is held.
            let entry = unsafe { &*node };
            if entry.key == *key {
                return Some(&entry.value);
            }
            node = entry.next.load(Acquire);
        }
        None
    }

    /// Adds an entry. Any context.
    pub fn insert(&self, key: K, value: V) -> Result<(), InsertError> {
        let bucket = self.bucket(&key);
        let node = KBox::new(
            Node {
                rcu: UnsafeCell::new([0; 2]),
                next: Atomic::new(ptr::null_mut()),
                key,
                value,
            },
            GFP_ATOMIC,
        )
        .map_err(|_| InsertError::NoMemory)?;

        let _lock = self.writer.lock();
        if self.len() >= self.cap.load(Relaxed) {
            return Err(InsertError::Full);
        }
        let guard = rcu::read_lock();
        if self.get(&guard, &key).is_some() {
            return Err(InsertError::Exists);
        }
        node.next.store(bucket.load(Relaxed), Relaxed);
        bucket.store(KBox::into_raw(node), Release);
        self.len.fetch_add(1usize, Relaxed);
        self.generation.fetch_add(1u32, Relaxed);
        Ok(())
    }

    /// Takes out the entry of `key` if `which` says so; its value is dropped after a grace
    /// period. Any context.
    pub fn remove_if(&self, key: &K, which: impl FnOnce(&V) -> bool) -> bool {
        let _lock = self.writer.lock();
        let mut link = self.bucket(key);
        loop {
            let node = link.load(Relaxed);
            if node.is_null() {
                return false;
            }
            // SAFETY: Linked nodes are valid; the writer lock keeps them linked.
            let entry = unsafe { &*node };
            if entry.key == *key {
                if !which(&entry.value) {
                    return false;
                }
                link.store(entry.next.load(Relaxed), Release);
                self.len.fetch_sub(1usize, Relaxed);
                self.generation.fetch_add(1u32, Relaxed);
                // SAFETY: The node starts with room for an `rcu_head`, is unlinked, and from
                // here on belongs to the callback.
                unsafe { bindings::mpip_shim_call_rcu(entry.rcu.get().cast(), Some(free::<K, V>)) };
                return true;
            }
            link = &entry.next;
        }
    }

    /// Takes out the entry of `key`.
    pub fn remove(&self, key: &K) -> bool {
        self.remove_if(key, |_| true)
    }

    /// Number of buckets.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Visits the entries of one bucket; stops when `f` breaks.
    pub fn for_bucket<B>(
        &self,
        _guard: &rcu::Guard,
        bucket: usize,
        mut f: impl FnMut(&K, &V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(head) = self.buckets.get(bucket) else {
            return ControlFlow::Continue(());
        };
        let mut node = head.load(Acquire);
        while !node.is_null() {
            // SAFETY: As in `get`.
            let entry = unsafe { &*node };
            f(&entry.key, &entry.value)?;
            node = entry.next.load(Acquire);
        }
        ControlFlow::Continue(())
    }

    /// Visits all entries.
    pub fn for_each(&self, guard: &rcu::Guard, mut f: impl FnMut(&K, &V)) {
        for bucket in 0..self.buckets() {
            let _ = self.for_bucket::<()>(guard, bucket, |k, v| {
                f(k, v);
                ControlFlow::Continue(())
            });
        }
    }
}

/// Frees a node after its grace period.
///
/// # Safety
///
/// `head` must be the start of an unlinked `Node<K, V>` that came from `KBox::into_raw`.
unsafe extern "C" fn free<K, V>(head: *mut bindings::callback_head) {
    // SAFETY: By the contract; the `rcu_head` is the first field of a `repr(C)` struct.
    drop(unsafe { KBox::from_raw(head.cast::<Node<K, V>>()) });
}

#[pinned_drop]
impl<K: Key, V: Send + Sync> PinnedDrop for Table<K, V> {
    fn drop(self: Pin<&mut Self>) {
        for bucket in self.buckets.iter() {
            let mut node = bucket.load(Relaxed);
            while !node.is_null() {
                // SAFETY: The table is going: no reader is left, the nodes are ours.
                let entry = unsafe { KBox::from_raw(node) };
                node = entry.next.load(Relaxed);
            }
        }
    }
}
