// SPDX-License-Identifier: GPL-2.0

//! Packets.

use super::{
    bindings,
    cgroup::Cgroup,
    net::Net,
    route::{
        tuple_of,
        Dst, //
        FlowRoute,
    }, //
};
use crate::proto::{
    addr::Tuple,
    coalesce::Train, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull,
    slice, //
};

/// Who has to do what about a packet's transport checksum (`skb->ip_summed`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Csum {
    /// Nothing is known; the field in the packet is complete.
    None,
    /// It was found good.
    Unnecessary,
    /// The device has summed the packet.
    Complete,
    /// The field holds the pseudo header's sum; a device or the kernel completes it.
    Partial,
}

/// Length of a packet in bytes.
///
/// # Safety
///
/// `skb` must be valid.
pub(super) unsafe fn len(skb: *const bindings::sk_buff) -> u32 {
    // SAFETY: By the contract; the field is where the C compiler says.
    unsafe { field(skb, bindings::mpip_skb_at.len) }
}

/// The field at an offset.
///
/// # Safety
///
/// `skb` must be valid, and have a field of this type there.
unsafe fn field<T: Copy>(skb: *const bindings::sk_buff, at: u32) -> T {
    // SAFETY: By the contract.
    unsafe { skb.byte_add(at as usize).cast::<T>().read() }
}

/// A packet that a netfilter hook was called with: ours alone until the verdict.
///
/// # Invariants
///
/// `ptr` points to an skb that nobody else changes for `'a`; its data starts at the IP header.
pub struct Skb<'a> {
    ptr: NonNull<bindings::sk_buff>,
    state: *const bindings::nf_hook_state,
    _hook: PhantomData<&'a mut bindings::sk_buff>,
}

impl Skb<'_> {
    /// # Safety
    ///
    /// The pointers must be those that netfilter called the running hook with.
    pub(super) unsafe fn from_hook(
        ptr: NonNull<bindings::sk_buff>,
        state: *const bindings::nf_hook_state,
    ) -> Self {
        Skb {
            ptr,
            state,
            _hook: PhantomData,
        }
    }

    pub(super) fn raw(&self) -> *mut bindings::sk_buff {
        self.ptr.as_ptr()
    }

    /// What the hook knows of it; valid for the hook's run.
    pub(super) fn state(&self) -> *const bindings::nf_hook_state {
        self.state
    }

    /// Length in bytes, from the IP header on; never 0.
    #[expect(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        // SAFETY: Valid by the invariant.
        unsafe { len(self.raw()) as usize }
    }

    /// The linear part.
    pub fn head(&self) -> &[u8] {
        let skb = self.raw();
        // SAFETY: `skb->data` is valid for `skb_headlen` bytes, which nobody changes while
        // `self` is borrowed; the fields are where the C compiler says.
        unsafe {
            let others: u32 = field(skb, bindings::mpip_skb_at.data_len);
            let linear = len(skb).wrapping_sub(others);
            slice::from_raw_parts(field(skb, bindings::mpip_skb_at.data), linear as usize)
        }
    }

    /// Makes the first `len` bytes linear.
    pub fn pull(&mut self, len: usize) -> bool {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        unsafe { bindings::mpip_shim_skb_pull(self.raw(), len as u32) }
    }

    /// The first `len` bytes, linear and not shared with anybody, to be changed.
    pub fn writable(&mut self, len: usize) -> Option<&mut [u8]> {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        unsafe {
            if !bindings::mpip_shim_skb_writable(self.raw(), len as u32) {
                return None;
            }
            let data = field(self.raw(), bindings::mpip_skb_at.data);
            Some(slice::from_raw_parts_mut(data, len))
        }
    }

    /// Copies `to.len()` bytes from offset `off`.
    pub fn copy(&self, off: usize, to: &mut [u8]) -> bool {
        // SAFETY: Valid by the invariant; the function checks the range within the skb.
        unsafe {
            bindings::mpip_shim_skb_copy(self.raw(), off as u32, to.as_mut_ptr(), to.len() as u32)
        }
    }

    /// Cuts the packet to `len` bytes.
    pub fn trim(&mut self, len: usize) -> bool {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        unsafe { bindings::mpip_shim_skb_trim(self.raw(), len as u32) }
    }

    /// Adds `bytes` at the end; linearises the packet. The lengths and checksums in its headers
    /// are the caller's business.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        let to = unsafe { bindings::mpip_shim_skb_append(self.raw(), bytes.len() as u32) };
        if to.is_null() {
            return false;
        }
        // SAFETY: `to` is valid for writes of the length asked for.
        unsafe { slice::from_raw_parts_mut(to, bytes.len()) }.copy_from_slice(bytes);
        true
    }

    /// State of the transport checksum.
    pub fn csum(&self) -> Csum {
        // SAFETY: Valid by the invariant.
        match unsafe { bindings::mpip_shim_skb_csum(self.raw()) } {
            0 => Csum::None,
            1 => Csum::Unnecessary,
            2 => Csum::Complete,
            _ => Csum::Partial,
        }
    }

    /// Marks the transport checksum.
    pub fn set_csum(&mut self, csum: Csum) {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_skb_set_csum(self.raw(), csum as u8) };
    }

    /// Completes a partial checksum in software.
    pub fn complete_csum(&mut self) -> bool {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        unsafe { bindings::mpip_shim_skb_csum_help(self.raw()) }
    }

    /// Whether it stands for several segments.
    pub fn is_gso(&self) -> bool {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_skb_gso(self.raw()) }
    }

    /// The number of segments it stands for.
    pub fn segments(&self) -> u32 {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_skb_segs(self.raw()) }
    }

    /// Bytes of data in each of the segments that it stands for; 0 if it is one.
    pub fn segment_size(&self) -> usize {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_skb_gso_size(self.raw()) as usize }
    }

    /// MTU of the route it has.
    pub fn dst_mtu(&self) -> u32 {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_skb_dst_mtu(self.raw()) }
    }

    /// The route it has, with a reference of our own.
    pub fn dst(&self) -> Option<Dst> {
        let mut out = bindings::mpip_dst {
            dst: core::ptr::null_mut(),
            cookie: 0,
        };
        // SAFETY: Valid by the invariant; `out` is valid for writes.
        unsafe {
            // The reference is handed over.
            bindings::mpip_shim_skb_get_dst(self.raw(), &mut out).then(|| Dst::from_raw(out))?
        }
    }

    /// Whether the interface that it is to leave by runs and has carrier.
    pub fn is_ready(&self) -> bool {
        // SAFETY: Valid by the invariant; a packet in the output hook has a device.
        unsafe { bindings::mpip_shim_skb_ready(self.raw()) }
    }

    /// Whether each of its segments fits `mtu`.
    pub fn fits(&self, mtu: u32) -> bool {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_skb_fits(self.raw(), mtu) }
    }

    /// Forgets the flow hash, which was computed from the old header.
    pub fn clear_hash(&mut self) {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_skb_clear_hash(self.raw()) };
    }

    /// Has the packet leave by `dst`.
    pub fn set_dst(&mut self, dst: &Dst) {
        // SAFETY: Valid by the invariant; `dst` holds a reference, another is taken.
        unsafe { bindings::mpip_shim_skb_set_dst(self.raw(), &dst.raw()) };
    }

    /// Whether an outgoing packet is one that multipath may touch. `marks` are the bits of marks
    /// that steer nothing.
    pub fn tx_eligible(&self, marks: u32) -> bool {
        // SAFETY: Valid by the invariant, as is the state.
        unsafe { bindings::mpip_shim_tx_eligible(self.raw(), self.state, marks) }
    }

    /// Whether an outgoing packet of a session that is at home on `ifindex` goes into a tunnel now.
    pub fn enters_tunnel(&self, ifindex: u32) -> bool {
        // SAFETY: Valid by the invariant; a packet in the output hook has a device.
        unsafe { bindings::mpip_shim_skb_enters_tunnel(self.raw(), ifindex) }
    }

    /// Whether an incoming packet is one that multipath may touch.
    pub fn rx_eligible(&self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::mpip_shim_rx_eligible(self.raw(), self.state) }
    }

    /// The user, in the namespace of the network's users, that the socket which sends the packet
    /// belongs to; `None` if no socket of a user does.
    pub fn user(&self) -> Option<u32> {
        let mut uid = 0;
        // SAFETY: Valid by the invariant; `uid` is valid for writes.
        unsafe { bindings::mpip_shim_tx_user(self.raw(), &mut uid) }.then_some(uid)
    }

    /// The control group that the socket which sends the packet belongs to, if any does.
    pub fn cgroup(&self) -> Option<Cgroup> {
        // SAFETY: Valid by the invariant.
        let group = NonNull::new(unsafe { bindings::mpip_shim_tx_cgroup(self.raw()) })?;
        // SAFETY: The reference is handed over.
        Some(unsafe { Cgroup::from_raw(group) })
    }

    /// Whether NAT of this host has changed the addresses or ports of the packet's flow, so that
    /// no socket has them. Known once connection tracking has seen the packet.
    pub fn is_translated(&self) -> bool {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_is_translated(self.raw()) }
    }

    /// `snd_una` and `snd_nxt` of the established TCP socket that sends the packet; the latter
    /// before the packet, if that is new.
    pub fn socket_sent(&self) -> Option<(u32, u32)> {
        let (mut una, mut nxt) = (0, 0);
        // SAFETY: Valid by the invariant; both are valid for writes.
        let known = unsafe { bindings::mpip_shim_tx_sent(self.raw(), &mut una, &mut nxt) };
        known.then_some((una, nxt))
    }

    /// Whether the TCP connection of the socket that sends the packet acknowledges selectively.
    pub fn has_sack(&self) -> bool {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_tx_sack(self.raw()) }
    }

    /// Has the TCP socket that sends the packet open its window in the next round trip, as in slow
    /// start, if it is not in that anyway: by a quarter, or to so many bytes, if that is more.
    pub fn grow_window(&mut self, bytes: u32) {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_tx_grow(self.raw(), bytes) };
    }

    /// Has the TCP socket that sends the packet make its window smaller, to `part` of `whole`:
    /// what it has in flight on paths that have gone does not fit into the others.
    pub fn shrink_window(&mut self, part: u32, whole: u32) {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_tx_shrink(self.raw(), part, whole) };
    }

    /// Has the TCP socket that sends the packet make its window smaller by so many segments, the
    /// [credit](super::socket::credit) that it had. False if it cannot now.
    pub fn take_back_credit(&mut self, segments: u32) -> bool {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_tx_take_back(self.raw(), segments) }
    }

    /// Has the TCP socket that sends the packet again wait so many microseconds longer before it
    /// takes for lost what it sent earlier: that may be on a slower path. Until it has recovered.
    pub fn be_patient(&mut self, us: u32) {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_tx_patience(self.raw(), us) };
    }

    /// Index of the interface it came in by.
    pub fn ifindex_in(&self) -> u32 {
        // SAFETY: The state is valid for the hook's run.
        unsafe { bindings::mpip_shim_state_in(self.state) as u32 }
    }

    /// The tuple with which it came, if this host's own NAT has changed it. At LOCAL_IN.
    pub fn tuple_before_nat(&self) -> Option<Tuple> {
        let mut flow = bindings::mpip_flow {
            family: 0,
            proto: 0,
            sport: 0,
            dport: 0,
            src: [0; 16],
            dst: [0; 16],
        };
        // SAFETY: Valid by the invariant; `flow` is written to.
        let changed = unsafe { bindings::mpip_shim_rx_before_nat(self.raw(), &mut flow) };
        changed.then(|| tuple_of(&flow).reversed())
    }

    /// Verifies the transport checksum on the header as it stands.
    pub fn csum_ok(&mut self, l4: usize, proto: u8, family: u8) -> bool {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        unsafe { bindings::mpip_shim_rx_csum_ok(self.raw(), l4 as u32, proto, family) }
    }

    /// Takes the routing decision on the header as it stands; true if it ends on this host.
    pub fn route_local(&mut self, family: u8) -> bool {
        // SAFETY: Valid by the invariant; called from PRE_ROUTING under RCU.
        unsafe { bindings::mpip_shim_rx_route_local(self.raw(), family) }
    }

    /// The same for a packet of a flow all of whose packets have these addresses and come by the
    /// interface `ifindex`.
    pub fn route_flow(&mut self, family: u8, flow: &FlowRoute, ifindex: u32) -> bool {
        // SAFETY: Valid by the invariant; called from PRE_ROUTING under RCU. What `flow` keeps is
        // read and changed atomically.
        unsafe { bindings::mpip_shim_rx_route_flow(self.raw(), family, flow.raw(), ifindex as i32) }
    }

    /// Answers "port unreachable".
    pub fn send_unreachable(&mut self, family: u8) {
        // SAFETY: Valid by the invariant, with a network header.
        unsafe { bindings::mpip_shim_icmp_unreach(self.raw(), family) };
    }

    /// Whether it can leave the hook by [`hold`](Self::hold) and [`pass_on`](Self::pass_on):
    /// connection tracking needs the first packets of a flow itself, behind us.
    pub fn may_leave(&self) -> bool {
        // SAFETY: Valid by the invariant.
        unsafe { bindings::mpip_shim_is_tracked(self.raw()) }
    }

    /// Hands the packet to the transport here and now; the verdict must be "stolen". Of the last
    /// hook at LOCAL_IN, no lock of ours held.
    pub fn pass_on(&mut self) {
        // SAFETY: Valid by the invariant, as is the hook's state; what `Stolen` gives us we give
        // away.
        unsafe { bindings::mpip_shim_pass_on(self.raw(), self.state) };
    }

    /// Keeps the packet beyond the hook; on success the verdict must be "stolen".
    pub fn hold(&mut self) -> Option<Held> {
        let mut raw = bindings::mpip_held {
            skb: core::ptr::null_mut(),
            okfn: core::ptr::null_mut(),
            ifindex: 0,
        };
        // SAFETY: Valid by the invariant; `raw` is valid for writes.
        let held = unsafe { bindings::mpip_shim_hold(self.raw(), self.state, &mut raw) };
        held.then(|| Held {
            // SAFETY: Valid by the invariant.
            truesize: unsafe { bindings::mpip_shim_skb_truesize(self.raw()) },
            raw,
        })
    }

    /// At PRE_ROUTING: whether the transport is all that it would still meet if it ends here.
    /// Connection tracking, filters and counters have to see each byte.
    pub fn is_unwatched(&self) -> bool {
        // SAFETY: A hook's state is valid while the hook runs, which is under RCU.
        !self.state.is_null() && unsafe { bindings::mpip_shim_rx_unwatched(self.state) }
    }

    /// Appends the data of a segment whose checksum is right, as is this one's, and that follows in
    /// the `train` which this one began. False if they have to stay two packets; else `next` is
    /// used up.
    pub fn join(&mut self, next: &mut Skb<'_>, train: &Train) -> bool {
        let (header, size) = (train.header_len() as u32, train.size() as u32);
        // SAFETY: Both are valid by the invariant, with no slice of them alive; who has the other
        // one gives it away if it is used up.
        unsafe { bindings::mpip_shim_join(self.raw(), next.raw(), header, size) }
    }

    /// A copy that shares the data and can be sent again later. Any context.
    pub fn keep(&mut self) -> Option<KeptSkb> {
        // SAFETY: Valid by the invariant.
        let kept = unsafe { bindings::mpip_shim_skb_keep(self.raw()) };
        NonNull::new(kept).map(|skb| KeptSkb(ManuallyDrop::new(OwnSkb(skb))))
    }

    /// Makes room for `len` bytes behind the first `at`. The route may be set already: its link
    /// header is thought of.
    pub fn insert(&mut self, at: usize, len: usize) -> bool {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        unsafe { bindings::mpip_shim_skb_insert(self.raw(), at as u32, len as u32) }
    }

    /// Takes `len` bytes behind the first `at` away.
    pub fn remove(&mut self, at: usize, len: usize) -> bool {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        unsafe { bindings::mpip_shim_skb_remove(self.raw(), at as u32, len as u32) }
    }

    /// The checksum `offset` bytes behind `start`, which holds the pseudo header's sum, is still to
    /// be completed, by a device or in software; a receiver takes it for right.
    pub fn set_partial(&mut self, start: usize, offset: usize) -> bool {
        // SAFETY: Valid by the invariant; the function checks the range.
        unsafe { bindings::mpip_shim_skb_set_partial(self.raw(), start as u32, offset as u32) }
    }

    /// Cuts a TCP packet into segments of at most `size` bytes of data.
    pub fn cut(&mut self, size: usize) -> Option<Segments> {
        // SAFETY: Valid by the invariant; no slice of it is alive.
        let list = unsafe { bindings::mpip_shim_skb_cut(self.raw(), size as u32) };
        NonNull::new(list).map(|head| Segments(Some(head)))
    }

    /// Makes the packet our own; the verdict must be "stolen".
    pub fn take(&mut self) -> OwnSkb {
        OwnSkb(self.ptr)
    }

    /// Cuts a GSO packet into its segments.
    pub fn segment(&mut self) -> Option<Segments> {
        // SAFETY: Valid by the invariant.
        let list = unsafe { bindings::mpip_shim_skb_segment(self.raw()) };
        NonNull::new(list).map(|head| Segments(Some(head)))
    }

    /// Has the packets that receive offload has merged into this one come in one by one; then the
    /// verdict must be "stolen" and nothing be done with it any more. False without memory.
    /// Input hooks, softirq, no lock held: they take the whole way through the stack in here.
    pub fn receive_apart(&mut self) -> bool {
        // SAFETY: Ours by the invariant, and not used after this if it is consumed.
        unsafe { bindings::mpip_shim_skb_receive_apart(self.raw()) }
    }

    /// Frees the packet; the verdict must be "stolen" and nothing be done with it any more.
    pub fn discard(&mut self) {
        // SAFETY: Ours by the invariant, and not used after this.
        unsafe { bindings::mpip_shim_skb_free(self.raw()) };
    }
}

/// A sent packet that may have to be sent again. To let go of it is no loss.
pub struct KeptSkb(ManuallyDrop<OwnSkb>);

impl KeptSkb {
    /// A packet of our own that need not be sent.
    pub fn new(packet: OwnSkb) -> KeptSkb {
        KeptSkb(ManuallyDrop::new(packet))
    }

    /// The packet as a hook would see it, to be changed.
    pub fn as_skb(&mut self) -> Skb<'_> {
        self.0.as_skb()
    }

    /// The packet, to be sent.
    pub fn into_own(self) -> OwnSkb {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped nor used again.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl Drop for KeptSkb {
    fn drop(&mut self) {
        // SAFETY: We own the skb; the field is `ManuallyDrop`, so this is its only release.
        unsafe { bindings::mpip_shim_skb_consume(self.0 .0.as_ptr()) };
    }
}

/// A list of owned segments.
pub struct Segments(Option<NonNull<bindings::sk_buff>>);

impl Iterator for Segments {
    type Item = OwnSkb;

    fn next(&mut self) -> Option<OwnSkb> {
        let head = self.0?;
        // SAFETY: `head` is the first of a list that we own.
        self.0 = NonNull::new(unsafe { bindings::mpip_shim_skb_next_unlink(head.as_ptr()) });
        Some(OwnSkb(head))
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for segment in self.by_ref() {
            drop(segment);
        }
    }
}

/// A packet that we own and send ourselves. Its data starts at the IP header.
pub struct OwnSkb(NonNull<bindings::sk_buff>);

// SAFETY: An skb may be sent or freed on any CPU.
unsafe impl Send for OwnSkb {}

impl OwnSkb {
    /// A linear packet of `len` zero bytes. Any context.
    pub fn alloc(len: usize) -> Option<OwnSkb> {
        // SAFETY: No preconditions.
        NonNull::new(unsafe { bindings::mpip_shim_skb_alloc(len as u32) }).map(OwnSkb)
    }

    /// # Safety
    ///
    /// `ptr` must point to a packet that the caller owns and gives away, or be null.
    #[cfg(CONFIG_MPIP_KUNIT_TEST)]
    pub(super) unsafe fn from_raw(ptr: *mut bindings::sk_buff) -> Option<OwnSkb> {
        NonNull::new(ptr).map(OwnSkb)
    }

    /// Gives the packet away.
    #[cfg(CONFIG_MPIP_KUNIT_TEST)]
    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// The packet as a hook would see it, to be changed.
    pub fn as_skb(&mut self) -> Skb<'_> {
        Skb {
            ptr: self.0,
            state: core::ptr::null(),
            _hook: PhantomData,
        }
    }

    /// Sends the packet by `dst`, past the hooks. No lock of ours may be held.
    pub fn send(self, net: Net, dst: &Dst, family: u8) {
        let skb = self.0.as_ptr();
        core::mem::forget(self);
        // SAFETY: We own the skb and give it away; `net` and `dst` are alive.
        unsafe { bindings::mpip_shim_skb_xmit(net.as_ptr(), skb, &dst.raw(), family) };
    }
}

impl Drop for OwnSkb {
    fn drop(&mut self) {
        // SAFETY: We own the skb.
        unsafe { bindings::mpip_shim_skb_free(self.0.as_ptr()) };
    }
}

/// An incoming packet kept between the hook at LOCAL_IN and the transport.
pub struct Held {
    raw: bindings::mpip_held,
    truesize: u32,
}

// SAFETY: A held skb is ours alone and may be delivered or freed on any CPU.
unsafe impl Send for Held {}

impl Held {
    /// Memory that it takes, bytes.
    pub fn bytes(&self) -> u32 {
        self.truesize
    }

    /// The packet, whose data begins with its IP header.
    pub fn as_skb(&mut self) -> Skb<'_> {
        Skb {
            // SAFETY: `Skb::hold` has put a packet there.
            ptr: unsafe { NonNull::new_unchecked(self.raw.skb) },
            state: core::ptr::null(),
            _hook: PhantomData,
        }
    }

    /// It has been [joined](Skb::join) to another one.
    pub fn forget(self) {
        core::mem::forget(self);
    }

    /// Hands the packet to the transport. Softirq or process context, no lock of ours held.
    pub fn deliver(self, net: Net) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: We own the skb and give it away.
        unsafe { bindings::mpip_shim_release(net.as_ptr(), &mut this.raw) };
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: We own the skb.
        unsafe { bindings::mpip_shim_skb_free(self.raw.skb) };
    }
}
