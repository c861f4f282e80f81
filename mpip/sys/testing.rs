// SPDX-License-Identifier: GPL-2.0

//! What the suites in [`crate::kunit`] need of the kernel, safe to use: packets of every make, a
//! device that merges them, and the hooks as the stack calls them. Process context.

use super::{
    bindings,
    gate::{
        Gate,
        Way, //
    },
    net::Net,
    skb::OwnSkb, //
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// The make of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Make {
    /// So many bytes in its head, the rest in pages.
    pub linear: usize,
    /// At most so many bytes in each page.
    pub page: usize,
    /// Bytes before it.
    pub headroom: usize,
}

/// What can be seen of a packet besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Its length.
    pub len: u32,
    /// Of these, bytes in its head.
    pub headlen: u32,
    /// Pages, and packets that hang on it.
    pub frags: u32,
    /// A hash of where these are.
    pub place: u32,
    /// Size, number and type of the segments that it stands for.
    pub gso: (u32, u32, u32),
    /// Where the checksum is to be made, and put, if that is still to be done.
    pub partial: (u32, u32),
    /// Bytes before it.
    pub headroom: u32,
    /// Whether others use its data, too.
    pub cloned: bool,
    /// Whether packets hang on it.
    pub listed: bool,
}

/// A packet with these bytes.
pub fn packet(bytes: &[u8], make: Make) -> Result<OwnSkb> {
    // SAFETY: `bytes` is valid for its length; the packet is handed over.
    let own = unsafe {
        OwnSkb::from_raw(bindings::mpip_test_skb(
            bytes.as_ptr(),
            bytes.len() as u32,
            make.linear as u32,
            make.page as u32,
            make.headroom as u32,
        ))
    };
    own.ok_or(ENOMEM)
}

impl OwnSkb {
    /// Another packet with the same data, as TCP sends.
    pub fn clone_of(&mut self) -> Result<OwnSkb> {
        let raw = self.as_skb().raw();
        // SAFETY: Valid; the clone is handed over.
        unsafe { OwnSkb::from_raw(bindings::mpip_test_clone(raw)) }.ok_or(ENOMEM)
    }

    /// Leaves its first `len` bytes, as TCP does with what it takes for not sent: whoever shares
    /// its list of pages is left with the same.
    pub fn cut_off(&mut self, len: usize) -> Result {
        let raw = self.as_skb().raw();
        // SAFETY: Valid; `skb_split` takes care of the range.
        let done = unsafe { bindings::mpip_test_cut_off(raw, len as u32) };
        done.then_some(()).ok_or(ENOMEM)
    }

    /// Looks at it.
    pub fn facts(&mut self) -> Facts {
        let mut raw = bindings::mpip_test_facts {
            len: 0,
            headlen: 0,
            frags: 0,
            place: 0,
            gso_size: 0,
            gso_segs: 0,
            gso_type: 0,
            csum_start: 0,
            csum_offset: 0,
            headroom: 0,
            cloned: false,
            listed: false,
        };
        // SAFETY: Valid; `raw` is valid for writes.
        unsafe { bindings::mpip_test_look(self.as_skb().raw(), &mut raw) };
        Facts {
            len: raw.len,
            headlen: raw.headlen,
            frags: raw.frags,
            place: raw.place,
            gso: (raw.gso_size, raw.gso_segs, raw.gso_type),
            partial: (raw.csum_start, raw.csum_offset),
            headroom: raw.headroom,
            cloned: raw.cloned,
            listed: raw.listed,
        }
    }

    /// Leaves the checksum at `start + offset`, which has its seed, to the device.
    pub fn make_partial(&mut self, start: usize, offset: usize) {
        let raw = self.as_skb().raw();
        // SAFETY: Valid.
        unsafe { bindings::mpip_test_partial(raw, start as u32, offset as u32) };
    }

    /// Sums it up as a device does that leaves the rest to the kernel.
    pub fn make_complete(&mut self) {
        let raw = self.as_skb().raw();
        // SAFETY: Valid.
        unsafe { bindings::mpip_test_complete(raw) };
    }

    /// Has it stand for segments with `size` bytes of data each.
    pub fn make_gso(&mut self, size: usize, segments: usize, family: u8, proto: u8) {
        let raw = self.as_skb().raw();
        // SAFETY: Valid, and its data is not shared.
        unsafe { bindings::mpip_test_gso(raw, size as u32, segments as u32, family, proto) };
    }

    /// Whether the transport's checksum is right, computed by the kernel's own functions, over
    /// what lies between `l4` and `end`.
    pub fn sum_is_right(&mut self, l4: usize, end: usize, proto: u8, family: u8) -> bool {
        let raw = self.as_skb().raw();
        // SAFETY: Valid; the function checks the range.
        unsafe { bindings::mpip_test_sum_ok(raw, l4 as u32, end as u32, proto, family) }
    }

    /// Whether length and checksum in the IP header are right.
    pub fn ip_is_right(&mut self) -> bool {
        // SAFETY: Valid; the suites keep the IP header in the head.
        unsafe { bindings::mpip_test_header_ok(self.as_skb().raw()) }
    }

    /// Whether what the device has summed up is the sum of the packet as it is now.
    pub fn complete_is_right(&mut self) -> bool {
        // SAFETY: Valid.
        unsafe { bindings::mpip_test_ip_summed_ok(self.as_skb().raw()) }
    }
}

/// In which way a packet is not to be touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Flaw {
    /// In none.
    Sound = bindings::MPIP_TEST_SOUND as u8,
    /// Somebody steers it by a mark.
    Mark = bindings::MPIP_TEST_MARK as u8,
    /// Its mark has only bits that steer nothing: that is none.
    KnownMark = bindings::MPIP_TEST_KNOWN_MARK as u8,
    /// It came in by an interface.
    Passing = bindings::MPIP_TEST_PASSING as u8,
    /// There is another one in it.
    Tunnelled = bindings::MPIP_TEST_TUNNELLED as u8,
    /// It is forwarded.
    Forwarded = bindings::MPIP_TEST_FORWARDED as u8,
    /// IPsec has had it.
    Transformed = bindings::MPIP_TEST_TRANSFORMED as u8,
    /// It is for all.
    Broadcast = bindings::MPIP_TEST_BROADCAST as u8,
    /// It is for many.
    Multicast = bindings::MPIP_TEST_MULTICAST as u8,
    /// It is for this host.
    Local = bindings::MPIP_TEST_LOCAL as u8,
    /// It has no route, or one before it should.
    NoRoute = bindings::MPIP_TEST_NO_ROUTE as u8,
    /// It has no interface.
    NoDevice = bindings::MPIP_TEST_NO_DEVICE as u8,
    /// Its interface is the loopback.
    Loopback = bindings::MPIP_TEST_LOOPBACK as u8,
    /// It is for another host.
    OtherHost = bindings::MPIP_TEST_OTHER_HOST as u8,
    /// It is no IP.
    Protocol = bindings::MPIP_TEST_PROTOCOL as u8,
}

/// The initial namespace.
pub fn net() -> Result<Net> {
    // SAFETY: It is there for ever.
    unsafe { Net::from_raw(bindings::mpip_test_net()) }.ok_or(ENODEV)
}

/// How far the hashes are apart by which a gate knows the flows of two packets.
pub fn gate_distance(
    gate: &Gate,
    packets: [&mut OwnSkb; 2],
    family: u8,
    proto: u8,
    way: Way,
) -> u64 {
    let [a, b] = packets.map(|own| own.as_skb().raw().cast_const());
    // SAFETY: All are valid; the suites keep addresses and ports in the head.
    unsafe { bindings::mpip_test_gate_distance(gate.raw(), a, b, family, proto, way == Way::In) }
}

/// Waits until what was to be freed after a grace period has been.
pub fn wait_for_readers() {
    // SAFETY: Process context.
    unsafe { bindings::mpip_shim_rcu_barrier() };
}

/// Whether a hook is registered in the initial namespace.
pub fn is_hooked(family: u8, hook: u32, priority: i32) -> bool {
    // SAFETY: The numbers are those of netfilter.
    unsafe { bindings::mpip_test_hooked(family, hook, priority) }
}

/// A network device of the initial namespace.
pub struct Device(NonNull<bindings::mpip_test_dev>);

impl Device {
    /// Registers one.
    pub fn new() -> Result<Device> {
        // SAFETY: No preconditions.
        let raw = unsafe { bindings::mpip_test_dev_new() };
        NonNull::new(raw).map(Device).ok_or(ENOMEM)
    }

    /// The device will receive this packet.
    pub fn receive(&self, packet: OwnSkb) {
        // SAFETY: The device is there; the packet is given away.
        unsafe { bindings::mpip_test_dev_receive(self.0.as_ptr(), packet.into_raw()) };
    }

    /// Has the kernel ask the device for what it has received, and merge it.
    pub fn poll(&self) -> bool {
        // SAFETY: The device is there.
        unsafe { bindings::mpip_test_dev_poll(self.0.as_ptr()) }
    }

    /// The next packet that came through.
    pub fn take(&self) -> Option<OwnSkb> {
        // SAFETY: The device is there; the packet is handed over.
        unsafe { OwnSkb::from_raw(bindings::mpip_test_dev_take(self.0.as_ptr())) }
    }

    /// Whether a packet may be touched as it leaves, or as it comes in.
    pub fn may_touch(&self, packet: &mut OwnSkb, out: bool, flaw: Flaw) -> bool {
        let raw = packet.as_skb().raw();
        // SAFETY: The device is there, the packet is valid.
        unsafe { bindings::mpip_test_eligible(self.0.as_ptr(), raw, out, flaw as u8) }
    }

    /// Has a packet leave by the device; what gets through the hooks is to be taken.
    pub fn send(&self, packet: OwnSkb, family: u8) -> bool {
        // SAFETY: The device is there; the packet is given away.
        unsafe { bindings::mpip_test_send(self.0.as_ptr(), packet.into_raw(), family) }
    }

    /// Has a packet come in by the device, likewise.
    pub fn arrive(&self, packet: OwnSkb, family: u8) -> bool {
        // SAFETY: The device is there; the packet is given away.
        unsafe { bindings::mpip_test_arrive(self.0.as_ptr(), packet.into_raw(), family) }
    }

    /// Has a packet be held at a hook and released again, by its own device or, if that has gone,
    /// by another one.
    pub fn hold(&self, packet: OwnSkb, gone: bool) -> bool {
        // SAFETY: The device is there; the packet is given away.
        unsafe { bindings::mpip_test_hold(self.0.as_ptr(), packet.into_raw(), gone) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: It is ours, and nobody has it any more.
        unsafe { bindings::mpip_test_dev_free(self.0.as_ptr()) };
    }
}
