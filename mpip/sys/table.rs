// SPDX-License-Identifier: GPL-2.0

//! A hash table that is read without locks.
//!
//! Readers hold the RCU read lock and follow pointers; writers take one lock
//! of the table. An entry that is taken out is freed after a grace period, so
//! a reference that a reader got stays good until it lets go of RCU. The number
//! of buckets follows that of the entries.

use super::{
    bh::BhLock,
    bindings,
    clock, //
};
use crate::{
    new_bh_lock,
    sys::crypto, //
};
use core::{
    cell::UnsafeCell,
    mem::offset_of,
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
            Full,
            Relaxed,
            Release, //
        },
        rcu, //
    },
};

/// A key: compared exactly, hashed with a secret so that nobody can choose collisions.
pub trait Key: Eq + Copy {
    /// Its hash. Only the length of a chain depends on it.
    fn hash(&self, secret: &Secret) -> u32;
}

/// What the keys of a table are hashed with.
pub struct Secret([u64; 2]);

impl Secret {
    /// A random one.
    fn new() -> Secret {
        Secret([clock::random_u64(), clock::random_u64()])
    }

    /// The hash of bytes.
    pub fn hash(&self, data: &[u8]) -> u32 {
        crypto::short_hash(&self.0, data)
    }

    /// The hash of two numbers, in a few instructions: both halves of their product, after
    /// the secret was mixed in.
    pub fn mix(&self, a: u64, b: u64) -> u32 {
        let [x, y] = self.0;
        let product = u128::from(a ^ x).wrapping_mul(u128::from(b ^ y));
        (product as u64 ^ (product >> 64) as u64) as u32
    }
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

/// An entry. What a lookup compares comes first and shares a cache line.
#[repr(C)]
struct Node<K, V> {
    // One link for each of two arrays of buckets: a new one is filled while the old one is read.
    next: [Atomic<*mut Node<K, V>>; 2],
    hash: u32,
    key: K,
    value: V,
    // The kernel's `struct rcu_head`.
    rcu: UnsafeCell<[usize; 2]>,
}

/// An array of buckets, and which of a node's links its chains use.
struct Buckets<K, V> {
    heads: KVVec<Atomic<*mut Node<K, V>>>,
    link: usize,
}

impl<K, V> Buckets<K, V> {
    /// `n` empty buckets, a power of two. Process context.
    fn new(n: usize, link: usize) -> Result<KBox<Self>> {
        let mut heads = KVVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            heads.push(Atomic::new(ptr::null_mut()), GFP_KERNEL)?;
        }
        Ok(KBox::new(Buckets { heads, link }, GFP_KERNEL)?)
    }

    fn index(&self, hash: u32) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    fn head(&self, hash: u32) -> &Atomic<*mut Node<K, V>> {
        &self.heads[self.index(hash)]
    }

    /// Puts a node into its chain.
    ///
    /// # Safety
    ///
    /// `node` must be valid, not be in a chain of this array, and no reader may use its link for
    /// it. The table's writer lock must be held.
    unsafe fn link(&self, node: *mut Node<K, V>) {
        // SAFETY: By the contract.
        let entry = unsafe { &*node };
        let head = self.head(entry.hash);
        entry.next[self.link].store(head.load(Relaxed), Relaxed);
        head.store(node, Release);
    }

    /// Takes a node out of its chain; readers that stand on it find their way on.
    ///
    /// # Safety
    ///
    /// `node` must be valid. The table's writer lock must be held.
    unsafe fn unlink(&self, node: *mut Node<K, V>) {
        // SAFETY: By the contract.
        let entry = unsafe { &*node };
        let mut link = self.head(entry.hash);
        loop {
            let at = link.load(Relaxed);
            if at.is_null() {
                return;
            }
            if at == node {
                link.store(entry.next[self.link].load(Relaxed), Release);
                return;
            }
            // SAFETY: Linked nodes are valid; the writer lock keeps them linked.
            link = unsafe { &(*at).next[self.link] };
        }
    }
}

/// A larger or smaller array that is being filled.
struct Filling<K, V> {
    to: *mut Buckets<K, V>,
    /// The nodes of so many buckets of the current array are in its chains as well.
    done: usize,
}

/// A hash table from `K` to `V`.
///
/// # Invariants
///
/// Every pointer in a bucket and in a reachable node's `next` is null or a node from
/// `KBox::into_raw` that is freed only after it has been unlinked and a grace period has passed.
/// `current` is from `KBox::into_raw` and is freed only a grace period after another has taken its
/// place; until then no other array with its link is filled.
#[pin_data(PinnedDrop)]
pub struct Table<K: Key, V: Send + Sync> {
    current: Atomic<*mut Buckets<K, V>>,
    secret: Secret,
    least: usize,
    len: Atomic<usize>,
    generation: Atomic<u32>,
    cap: Atomic<usize>,
    resizing: Atomic<bool>,
    #[pin]
    writer: BhLock<Option<Filling<K, V>>>,
}

// SAFETY: Values are shared between CPUs and dropped on any of them; `V` allows both.
unsafe impl<K: Key + Send, V: Send + Sync> Send for Table<K, V> {}
// SAFETY: As above; all changes are made under `writer`.
unsafe impl<K: Key + Send + Sync, V: Send + Sync> Sync for Table<K, V> {}

/// Buckets of a table at most.
const MAX_BUCKETS: usize = 1 << 22;
/// Buckets that are moved with the lock held once.
const STEP: usize = 64;

impl<K: Key, V: Send + Sync> Table<K, V> {
    /// A table of `1 << bits` buckets in the beginning for at most `cap` entries. Process context.
    pub fn new(bits: u32, cap: usize) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let least = 1usize << bits;
            let current = KBox::into_raw(Buckets::new(least, 0)?);
            // Nothing fails between here and the table's own drop.
            Ok(try_pin_init!(Self {
                current: Atomic::new(current),
                secret: Secret::new(),
                least,
                len: Atomic::new(0),
                generation: Atomic::new(1),
                cap: Atomic::new(cap),
                resizing: Atomic::new(false),
                writer <- new_bh_lock!(None, "mpip_table"),
            }? Error))
        })
    }

    fn hash(&self, key: &K) -> u32 {
        key.hash(&self.secret)
    }

    /// The array in use.
    ///
    /// # Safety
    ///
    /// The RCU read lock or the writer lock must be held as long as the result is used, or no other
    /// array may take its place.
    unsafe fn current(&self) -> &Buckets<K, V> {
        // SAFETY: Never null; by the contract and the invariant it is not freed meanwhile.
        unsafe { &*self.current.load(Acquire) }
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
        // SAFETY: The guard is held as long as the result is used.
        let buckets = unsafe { self.current() };
        Self::find(buckets, self.hash(key), key).map(|node| {
            // SAFETY: Reachable nodes are valid, and stay so while the guard is held.
            unsafe { &(*node).value }
        })
    }

    /// The node of `key`. The caller holds the RCU read lock or the writer lock.
    fn find(buckets: &Buckets<K, V>, hash: u32, key: &K) -> Option<*mut Node<K, V>> {
        let mut node = buckets.head(hash).load(Acquire);
        while !node.is_null() {
            // SAFETY: Reachable nodes are valid, and stay so while the lock is held.
            let entry = unsafe { &*node };
            if entry.hash == hash && entry.key == *key {
                return Some(node);
            }
            node = entry.next[buckets.link].load(Acquire);
        }
        None
    }

    /// Adds an entry. Any context.
    pub fn insert(&self, key: K, value: V) -> Result<(), InsertError> {
        let hash = self.hash(&key);
        let node = KBox::new(
            Node {
                next: [const { Atomic::new(ptr::null_mut()) }; 2],
                hash,
                key,
                value,
                rcu: UnsafeCell::new([0; 2]),
            },
            GFP_ATOMIC,
        )
        .map_err(|_| InsertError::NoMemory)?;

        let filling = self.writer.lock();
        if self.len() >= self.cap.load(Relaxed) {
            return Err(InsertError::Full);
        }
        // SAFETY: The writer lock is held.
        let buckets = unsafe { self.current() };
        if Self::find(buckets, hash, &key).is_some() {
            return Err(InsertError::Exists);
        }
        let node = KBox::into_raw(node);
        if let Some(filling) = &*filling {
            if buckets.index(hash) < filling.done {
                // SAFETY: The array lives while it is being filled; the node is new.
                unsafe { (*filling.to).link(node) };
            }
        }
        // SAFETY: The node is new; the lock is held.
        unsafe { buckets.link(node) };
        self.len.fetch_add(1usize, Relaxed);
        self.generation.fetch_add(1u32, Relaxed);
        Ok(())
    }

    /// Takes out the entry of `key` if `which` says so; its value is dropped after a grace
    /// period. Any context.
    pub fn remove_if(&self, key: &K, which: impl FnOnce(&V) -> bool) -> bool {
        let hash = self.hash(key);
        let filling = self.writer.lock();
        // SAFETY: The writer lock is held.
        let buckets = unsafe { self.current() };
        let Some(node) = Self::find(buckets, hash, key) else {
            return false;
        };
        // SAFETY: Linked nodes are valid; the writer lock keeps them linked.
        let entry = unsafe { &*node };
        if !which(&entry.value) {
            return false;
        }
        // SAFETY: As above.
        unsafe { buckets.unlink(node) };
        if let Some(filling) = &*filling {
            if buckets.index(hash) < filling.done {
                // SAFETY: The array lives while it is being filled.
                unsafe { (*filling.to).unlink(node) };
            }
        }
        self.len.fetch_sub(1usize, Relaxed);
        self.generation.fetch_add(1u32, Relaxed);
        // SAFETY: The node has room for an `rcu_head` there, is unlinked, and from here on belongs
        // to the callback.
        unsafe { bindings::mpip_shim_call_rcu(entry.rcu.get().cast(), Some(free::<K, V>)) };
        true
    }

    /// Takes out the entry of `key`.
    pub fn remove(&self, key: &K) -> bool {
        self.remove_if(key, |_| true)
    }

    /// Has the number of buckets follow that of the entries. May wait for a grace period. Process
    /// context.
    pub fn fit(&self) {
        let (len, have) = (self.len(), self.buckets());
        let crowded = len > have && have < MAX_BUCKETS;
        let sparse = len < have / 32 && have > self.least;
        if !crowded && !sparse {
            return;
        }
        if self.resizing.xchg(true, Full) {
            return;
        }
        self.resize(len);
        self.resizing.store(false, Release);
    }

    /// Moves all entries into an array for `len` of them, some at a time: readers use the old one
    /// until the new one is complete, writers see to both. The caller has claimed `resizing`.
    fn resize(&self, len: usize) {
        let n = len.saturating_mul(2).min(MAX_BUCKETS);
        let n = n.next_power_of_two().max(self.least);
        // SAFETY: Only the holder of `resizing` replaces it.
        let from = unsafe { self.current() };
        // Without memory the chains stay long.
        let Ok(to) = Buckets::new(n, 1 - from.link) else {
            return;
        };
        let to = KBox::into_raw(to);
        let mut done = 0;
        *self.writer.lock() = Some(Filling { to, done });
        while done < from.heads.len() {
            let mut filling = self.writer.lock();
            for head in from.heads.iter().skip(done).take(STEP) {
                let mut node = head.load(Relaxed);
                while !node.is_null() {
                    // SAFETY: Linked nodes are valid under the lock. Readers of the array that used
                    // this link before were waited for.
                    unsafe {
                        (*to).link(node);
                        node = (*node).next[from.link].load(Relaxed);
                    }
                }
            }
            done += STEP;
            *filling = Some(Filling { to, done });
        }
        let old = {
            let mut filling = self.writer.lock();
            *filling = None;
            self.generation.fetch_add(1u32, Relaxed);
            self.current.xchg(to, Full)
        };
        // SAFETY: Process context. Who still reads the old array is waited for.
        unsafe { bindings::mpip_shim_synchronize_rcu() };
        // SAFETY: It came from `KBox::into_raw`, and nobody can reach it any more.
        drop(unsafe { KBox::from_raw(old) });
    }

    /// Number of buckets. It may change while none of the locks is held.
    pub fn buckets(&self) -> usize {
        let _guard = rcu::read_lock();
        // SAFETY: The guard is held.
        unsafe { self.current() }.heads.len()
    }

    /// Visits the entries of one bucket; stops when `f` breaks.
    pub fn for_bucket<B>(
        &self,
        _guard: &rcu::Guard,
        bucket: usize,
        mut f: impl FnMut(&K, &V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // SAFETY: The guard is held.
        let buckets = unsafe { self.current() };
        let Some(head) = buckets.heads.get(bucket) else {
            return ControlFlow::Continue(());
        };
        let mut node = head.load(Acquire);
        while !node.is_null() {
            // SAFETY: As in `get`.
            let entry = unsafe { &*node };
            f(&entry.key, &entry.value)?;
            node = entry.next[buckets.link].load(Acquire);
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
/// `head` must be the `rcu` of an unlinked `Node<K, V>` that came from `KBox::into_raw`.
unsafe extern "C" fn free<K, V>(head: *mut bindings::callback_head) {
    // SAFETY: By the contract.
    unsafe {
        let node = head
            .byte_sub(offset_of!(Node<K, V>, rcu))
            .cast::<Node<K, V>>();
        drop(KBox::from_raw(node));
    }
}

#[pinned_drop]
impl<K: Key, V: Send + Sync> PinnedDrop for Table<K, V> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The table is going: no reader is left, the array and its nodes are ours.
        let buckets = unsafe { KBox::from_raw(self.current.load(Relaxed)) };
        for head in buckets.heads.iter() {
            let mut node = head.load(Relaxed);
            while !node.is_null() {
                // SAFETY: As above.
                let entry = unsafe { KBox::from_raw(node) };
                node = entry.next[buckets.link].load(Relaxed);
            }
        }
    }
}
