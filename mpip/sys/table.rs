// SPDX-License-Identifier: GPL-2.0

//! A hash table that is read without locks.
//!
//! Readers hold the RCU read lock and follow pointers; writers take one lock
//! of the table. An entry that is taken out is freed after a grace period, so
//! a reference that a reader got stays good until it lets go of RCU. The number
//! of buckets follows that of the entries.

use super::{
    atomic::{
        Follow,
        MarkedAccess, //
    },
    bh::BhLock,
    bindings,
    clock,
    reading::Reading, //
};
use crate::{
    new_bh_lock,
    sys::crypto, //
};
use core::{
    cell::UnsafeCell,
    mem::{
        offset_of,
        MaybeUninit, //
    },
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
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        rcu,
        Arc, //
    },
};

/// A key: compared exactly, hashed with a secret so that nobody can choose collisions.
pub trait Key: Eq + Copy {
    /// Its hash. Only the length of a chain depends on it.
    fn hash(&self, secret: &Secret) -> u32;
}

/// What a table holds: it knows what it is found by, which is not stored once more.
pub trait Entry: Send + Sync + 'static {
    /// What it is found by.
    type Key: Key;

    /// Its key: the same as long as it is in a table.
    fn key(&self) -> Self::Key;

    /// Whether that is its key.
    fn is_at(&self, key: &Self::Key) -> bool {
        self.key() == *key
    }
}

/// An entry that may find a place in a table's chains in something that it keeps alive, so that
/// none has to be allocated, nor looked for.
pub trait Placed: Entry + Sized {
    /// What it keeps alive.
    type Whole;

    /// That, and the place in it, if it has one. What it keeps alive must be the same as long as it
    /// is in a table.
    fn place(&self) -> Option<(&Arc<Self::Whole>, &Node<Self>)>;
}

impl<K: Key + Send + Sync + 'static, V: Send + Sync + 'static> Entry for (K, V) {
    type Key = K;

    fn key(&self) -> K {
        self.0
    }
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

/// The place of an entry in a table's chains. What a lookup goes by comes first.
///
/// # Invariants
///
/// In a chain, and until the grace period after that is over, `value` is initialised. `taken` says
/// that the node is part of what `value` keeps alive; any other one is from `KBox::into_raw`.
#[repr(C)]
pub struct Node<V> {
    // One link for each of two arrays of buckets: a new one is filled while the old one is read.
    next: [Atomic<*mut Node<V>>; 2],
    hash: Atomic<u32>,
    taken: Atomic<bool>,
    value: UnsafeCell<MaybeUninit<V>>,
    // The kernel's `struct rcu_head`.
    rcu: UnsafeCell<[usize; 2]>,
}

// SAFETY: Only tables look into it, and what they hold allows to be sent.
unsafe impl<V> Send for Node<V> {}
// SAFETY: As above, and to be shared; `value` changes only where nobody else can reach it.
unsafe impl<V> Sync for Node<V> {}

impl<V> Default for Node<V> {
    /// One in no chain.
    fn default() -> Self {
        Self {
            next: [const { Atomic::new(ptr::null_mut()) }; 2],
            hash: Atomic::new(0),
            taken: Atomic::new(false),
            value: UnsafeCell::new(MaybeUninit::uninit()),
            rcu: UnsafeCell::new([0; 2]),
        }
    }
}

impl<V> Node<V> {
    /// Whether it is part of something that is in a table, or was until a moment ago.
    #[cfg(CONFIG_MPIP_KUNIT_TEST)]
    pub fn is_taken(&self) -> bool {
        self.taken.load(kernel::sync::atomic::Acquire)
    }

    /// What it holds.
    ///
    /// # Safety
    ///
    /// It must be in a chain, or have been in one and its grace period not be over.
    unsafe fn value(&self) -> &V {
        // SAFETY: By the contract and the invariant; nobody changes it meanwhile.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// Takes out what it holds, and gives it back if it is memory of its own.
    ///
    /// # Safety
    ///
    /// `node` must hold something, and nobody else may be able to reach it any more.
    unsafe fn release(node: *mut Node<V>) -> V {
        // SAFETY: By the contract; whoever is part of the value lives as long as that does.
        let value = unsafe { (*(*node).value.get()).assume_init_read() };
        // SAFETY: As above.
        let taken = unsafe { &(*node).taken };
        if taken.read_once() {
            taken.store(false, Release);
        } else {
            // SAFETY: By the invariant.
            drop(unsafe { KBox::from_raw(node) });
        }
        value
    }
}

/// An array of buckets, and which of a node's links its chains use.
struct Buckets<V> {
    heads: KVVec<Atomic<*mut Node<V>>>,
    link: usize,
}

impl<V> Buckets<V> {
    /// `n` empty buckets, a power of two. Process context.
    fn new(n: usize, link: usize) -> Result<KBox<Self>> {
        let mut heads = KVVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            heads.push(Atomic::new(ptr::null_mut()), GFP_KERNEL)?;
        }
        Ok(KBox::new(Buckets { heads, link }, GFP_KERNEL)?)
    }

    fn index(&self, hash: u32) -> usize {
        hash as usize & self.heads.len().wrapping_sub(1)
    }

    fn head(&self, hash: u32) -> &Atomic<*mut Node<V>> {
        &self.heads[self.index(hash)]
    }

    /// Puts a node into its chain.
    ///
    /// # Safety
    ///
    /// `node` must be valid, not be in a chain of this array, and no reader may use its link for
    /// it. The table's writer lock must be held.
    unsafe fn link(&self, node: *mut Node<V>) {
        // SAFETY: By the contract.
        let entry = unsafe { &*node };
        let head = self.head(entry.hash.read_once());
        entry.next[self.link].write_once(head.read_once());
        head.store(node, Release);
    }

    /// Takes a node out of its chain; readers that stand on it find their way on.
    ///
    /// # Safety
    ///
    /// `node` must be valid. The table's writer lock must be held.
    unsafe fn unlink(&self, node: *mut Node<V>) {
        // SAFETY: By the contract.
        let entry = unsafe { &*node };
        let mut link = self.head(entry.hash.read_once());
        loop {
            let at = link.read_once();
            if at.is_null() {
                return;
            }
            if at == node {
                link.store(entry.next[self.link].read_once(), Release);
                return;
            }
            // SAFETY: Linked nodes are valid; the writer lock keeps them linked.
            link = unsafe { &(*at).next[self.link] };
        }
    }
}

/// A larger or smaller array that is being filled.
struct Filling<V> {
    to: *mut Buckets<V>,
    /// The nodes of so many buckets of the current array are in its chains as well.
    done: usize,
}

/// A hash table of `V` by its key.
///
/// # Invariants
///
/// Every pointer in a bucket and in a reachable node's `next` is null or a node that is released
/// only after it has been unlinked and a grace period has passed.
/// `current` is from `KBox::into_raw` and is freed only a grace period after another has taken its
/// place; until then no other array with its link is filled.
#[pin_data(PinnedDrop)]
pub struct Table<V: Entry> {
    current: Atomic<*mut Buckets<V>>,
    secret: Secret,
    least: usize,
    len: Atomic<usize>,
    generation: Atomic<u32>,
    cap: Atomic<usize>,
    resizing: Atomic<bool>,
    #[pin]
    writer: BhLock<Option<Filling<V>>>,
}

// SAFETY: Values are shared between CPUs and dropped on any of them; `V` allows both.
unsafe impl<V: Entry> Send for Table<V> {}
// SAFETY: As above; all changes are made under `writer`.
unsafe impl<V: Entry> Sync for Table<V> {}

/// Buckets of a table at most.
const MAX_BUCKETS: usize = 1 << 22;
/// Buckets that are moved with the lock held once.
const STEP: usize = 64;

impl<V: Entry> Table<V> {
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

    fn hash(&self, key: &V::Key) -> u32 {
        key.hash(&self.secret)
    }

    /// The array in use.
    ///
    /// # Safety
    ///
    /// The RCU read lock or the writer lock must be held as long as the result is used, or no other
    /// array may take its place.
    unsafe fn current(&self) -> &Buckets<V> {
        // SAFETY: Never null; by the contract and the invariant it is not freed meanwhile.
        unsafe { &*self.current.follow() }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len.read_once()
    }

    /// A number that changes with every change of the table; never 0.
    pub fn generation(&self) -> u32 {
        self.generation.read_once() | 1 << 31
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the cap is reached.
    pub fn is_full(&self) -> bool {
        self.len() >= self.cap.read_once()
    }

    /// Changes the cap; entries beyond it stay.
    pub fn set_cap(&self, cap: usize) {
        self.cap.write_once(cap);
    }

    /// The value of `key`.
    pub fn get<'g>(&'g self, _rcu: impl Into<Reading<'g>>, key: &V::Key) -> Option<&'g V> {
        // SAFETY: The lock is held as long as the result is used.
        let buckets = unsafe { self.current() };
        Self::find(buckets, self.hash(key), key).map(|node| {
            // SAFETY: Reachable nodes are valid, and stay so while the lock is held.
            unsafe { (*node).value() }
        })
    }

    /// The node of `key`. The caller holds the RCU read lock or the writer lock.
    fn find(buckets: &Buckets<V>, hash: u32, key: &V::Key) -> Option<*mut Node<V>> {
        let mut node = buckets.head(hash).follow();
        while !node.is_null() {
            // SAFETY: Reachable nodes are valid, and stay so while the lock is held.
            let entry = unsafe { &*node };
            // SAFETY: It is in a chain.
            if entry.hash.read_once() == hash && unsafe { entry.value() }.is_at(key) {
                return Some(node);
            }
            node = entry.next[buckets.link].follow();
        }
        None
    }

    /// Adds an entry. Any context.
    pub fn insert(&self, value: V) -> Result<(), InsertError> {
        let node = KBox::new(Node::default(), GFP_ATOMIC).map_err(|_| InsertError::NoMemory)?;
        // SAFETY: It is ours, and memory of its own.
        unsafe { self.fill(KBox::into_raw(node), value) }
    }

    /// Puts a value into a node, and that into the chains.
    ///
    /// # Safety
    ///
    /// `node` must be valid, hold nothing, and be the caller's alone: from `KBox::into_raw`, or
    /// `taken` and part of what `value` keeps alive.
    unsafe fn fill(&self, node: *mut Node<V>, value: V) -> Result<(), InsertError> {
        let key = value.key();
        let hash = self.hash(&key);
        // SAFETY: By the contract.
        unsafe {
            (*node).hash.write_once(hash);
            (*(*node).value.get()).write(value);
        }
        // SAFETY: It is filled now, and nobody else's.
        unsafe { self.add(node, &key, hash) }.inspect_err(|_| {
            // SAFETY: It holds the value and is in no chain.
            drop(unsafe { Node::release(node) });
        })
    }

    /// Puts a node into the chains.
    ///
    /// # Safety
    ///
    /// `node` must be filled with what has this key and hash, and be in no chain.
    unsafe fn add(&self, node: *mut Node<V>, key: &V::Key, hash: u32) -> Result<(), InsertError> {
        let filling = self.writer.lock();
        if self.len() >= self.cap.read_once() {
            return Err(InsertError::Full);
        }
        // SAFETY: The writer lock is held.
        let buckets = unsafe { self.current() };
        if Self::find(buckets, hash, key).is_some() {
            return Err(InsertError::Exists);
        }
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
    pub fn remove_if(&self, key: &V::Key, which: impl FnOnce(&V) -> bool) -> bool {
        let hash = self.hash(key);
        let filling = self.writer.lock();
        // SAFETY: The writer lock is held.
        let buckets = unsafe { self.current() };
        let Some(node) = Self::find(buckets, hash, key) else {
            return false;
        };
        // SAFETY: Linked nodes are valid; the writer lock keeps them linked.
        let entry = unsafe { &*node };
        // SAFETY: It is in a chain.
        if !which(unsafe { entry.value() }) {
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
        unsafe { bindings::mpip_shim_call_rcu(entry.rcu.get().cast(), Some(free::<V>)) };
        true
    }

    /// Takes out the entry of `key`.
    pub fn remove(&self, key: &V::Key) -> bool {
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
        let n = len.next_power_of_two().min(MAX_BUCKETS).max(self.least);
        // SAFETY: Only the holder of `resizing` replaces it.
        let from = unsafe { self.current() };
        // Without memory the chains stay long.
        let Ok(to) = Buckets::new(n, from.link ^ 1) else {
            return;
        };
        let to = KBox::into_raw(to);
        let mut done = 0;
        *self.writer.lock() = Some(Filling { to, done });
        while done < from.heads.len() {
            let mut filling = self.writer.lock();
            for head in from.heads.iter().skip(done).take(STEP) {
                let mut node = head.read_once();
                while !node.is_null() {
                    // SAFETY: Linked nodes are valid under the lock. Readers of the array that used
                    // this link before were waited for.
                    unsafe {
                        (*to).link(node);
                        node = (*node).next[from.link].read_once();
                    }
                }
            }
            done = done.saturating_add(STEP);
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
        mut f: impl FnMut(&V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // SAFETY: The guard is held.
        let buckets = unsafe { self.current() };
        let Some(head) = buckets.heads.get(bucket) else {
            return ControlFlow::Continue(());
        };
        let mut node = head.follow();
        while !node.is_null() {
            // SAFETY: As in `get`.
            let entry = unsafe { &*node };
            // SAFETY: It is in a chain.
            f(unsafe { entry.value() })?;
            node = entry.next[buckets.link].follow();
        }
        ControlFlow::Continue(())
    }

    /// Visits all entries.
    pub fn for_each(&self, guard: &rcu::Guard, mut f: impl FnMut(&V)) {
        for bucket in 0..self.buckets() {
            let _ = self.for_bucket::<()>(guard, bucket, |v| {
                f(v);
                ControlFlow::Continue(())
            });
        }
    }
}

impl<V: Placed> Table<V> {
    /// [`Table::insert`] without an allocation, if the entry has a place of its own that is free.
    pub fn insert_placed(&self, value: V) -> Result<(), InsertError> {
        let Some(node) = value.place().and_then(|(whole, node)| {
            let (whole, node) = (ptr::from_ref(&**whole), ptr::from_ref(node));
            let offset = node.addr().wrapping_sub(whole.addr());
            // What is inside of what is counted stays in place as long as that is held.
            (offset < size_of::<V::Whole>()).then_some(node)
        }) else {
            return self.insert(value);
        };
        // SAFETY: `value` holds what it is part of.
        if unsafe { &(*node).taken }.xchg(true, Full) {
            return self.insert(value);
        }
        // SAFETY: It is taken, by us, and part of what `value` keeps alive.
        unsafe { self.fill(node.cast_mut(), value) }
    }
}

/// Frees a node after its grace period.
///
/// # Safety
///
/// `head` must be the `rcu` of an unlinked `Node<V>` that no reader stands on.
unsafe extern "C" fn free<V>(head: *mut bindings::callback_head) {
    // SAFETY: By the contract.
    unsafe {
        let node = head.byte_sub(offset_of!(Node<V>, rcu)).cast::<Node<V>>();
        drop(Node::release(node));
    }
}

#[pinned_drop]
impl<V: Entry> PinnedDrop for Table<V> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The table is going: no reader is left, the array and its nodes are ours.
        let buckets = unsafe { KBox::from_raw(self.current.read_once()) };
        for head in buckets.heads.iter() {
            let mut node = head.read_once();
            while !node.is_null() {
                // SAFETY: As above.
                let next = unsafe { (*node).next[buckets.link].read_once() };
                // SAFETY: As above.
                drop(unsafe { Node::release(node) });
                node = next;
            }
        }
    }
}
