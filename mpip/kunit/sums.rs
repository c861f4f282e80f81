// SPDX-License-Identifier: GPL-2.0

//! Checksums: of what the module makes and changes, and in whatever state a packet has them.

use super::bytes::{
    lane,
    total,
    Spec,
    FORMS,
    TCP,
    UDP, //
};
use crate::{
    proto::{
        packet::{
            self,
            Packet, //
        },
        wire::surplus,
        wrap::Place, //
    },
    sys::{
        clock,
        skb::{
            Csum,
            OwnSkb, //
        },
        testing::{
            self,
            Make, //
        }, //
    },
};
use kernel::prelude::*;

/// In one piece, with some room.
const MAKE: Make = Make {
    linear: 1 << 20,
    page: 4096,
    headroom: 64,
};
const HEADERS: [(u8, usize); 2] = [(4, 20), (6, 40)];

/// A packet made by the module, which `write` does: its sums are right.
fn made(family: u8, proto: u8, len: usize, write: impl FnOnce(&mut [u8])) -> Result<OwnSkb> {
    let l4 = if family == 4 { 20 } else { 40 };
    let mut bytes = KVec::from_elem(0u8, l4 + len, GFP_KERNEL)?;
    write(&mut bytes);
    let mut own = testing::packet(&bytes, MAKE)?;
    ensure!(own.ip_is_right(), "the IP header is wrong");
    ensure!(
        own.sum_is_right(l4, l4 + len, proto, family),
        "the sum is wrong"
    );
    Ok(own)
}

#[kunit_tests(mpip_sums)]
mod tests {
    use super::*;

    /// Sums of any bytes are those that were added up by hand.
    #[test]
    fn any_bytes() -> Result {
        for n in 0..400 {
            let noise: [u8; 512] = clock::random_bytes();
            let some = &noise[..n];
            let got = packet::fold(packet::sum(u64::from(n as u16), some));
            ensure!(got == total(some, n as u16), "{} bytes", n);
        }
        let ones = [0xff; 512];
        ensure!(packet::fold(packet::sum(0, &ones)) == 0xffff, "all ones");
        ensure!(packet::fold(packet::sum(0, &[0; 512])) == 0, "all zeros");
        Ok(())
    }

    /// Each packet of the module's own making is accepted by the kernel's functions.
    #[test]
    fn made_by_us() -> Result {
        for (family, _) in HEADERS {
            for cm in [12, 13, 32, 76, 255] {
                let noise: [u8; 255] = clock::random_bytes();
                let cm = &noise[..cm];
                let (tcp, udp) = (lane(family, TCP), lane(family, UDP));
                made(family, TCP, packet::tcp_carrier_len(cm.len()), |out| {
                    packet::tcp_carrier(out, &tcp, 0xffff_fff0, 7, 512, cm);
                })?;
                made(family, UDP, 8 + cm.len(), |out| {
                    packet::udp_message(out, &udp, cm)
                })?;
                for flags in [packet::SYN, packet::ACK | packet::PSH] {
                    let place = Place {
                        seq: 1,
                        ack: 2,
                        flags,
                    };
                    made(
                        family,
                        TCP,
                        packet::tcp_message_len(cm.len(), &place),
                        |out| {
                            packet::tcp_message(out, &tcp, &place, cm);
                        },
                    )?;
                }
            }
            made(family, TCP, 20, |out| {
                packet::tcp_reset(out, &lane(family, TCP), 0x8000_0000)
            })?;
        }
        Ok(())
    }

    /// What rides behind a datagram leaves its sum right, be it taken over the datagram or, as
    /// some boxes do, over all of it. A carrier's is wrong on purpose, in both ways.
    #[test]
    fn behind_a_datagram() -> Result {
        for (family, l4) in HEADERS {
            for data in [0, 1, 100, 333] {
                for cm in [12, 32, 76] {
                    let noise: [u8; 76] = clock::random_bytes();
                    let spec = Spec::new(family, UDP, data);
                    let mut own = spec.packet(MAKE)?;
                    let len = own.as_skb().len();
                    let mut behind = [0; 90];
                    let n = surplus::build(8 + data, &noise[..cm], &mut behind);
                    ensure!(own.as_skb().append(&behind[..n]), "not appended");
                    let mut skb = own.as_skb();
                    packet::set_ip_len(skb.writable(l4 + 8).ok_or(ENOMEM)?, family, len + n);
                    ensure!(own.ip_is_right(), "the IP header is wrong");
                    ensure!(
                        own.sum_is_right(l4, len, UDP, family),
                        "the datagram's sum is wrong"
                    );
                    ensure!(
                        own.sum_is_right(l4, len + n, UDP, family),
                        "the whole sum is wrong"
                    );

                    let n = surplus::build(8, &noise[..cm], &mut behind);
                    let mut bytes = KVec::from_elem(0u8, l4 + 8 + n, GFP_KERNEL)?;
                    packet::udp_carrier(&mut bytes, &lane(family, UDP), &behind[..n], true);
                    let mut carrier = testing::packet(&bytes, MAKE)?;
                    ensure!(carrier.ip_is_right(), "the carrier's IP header is wrong");
                    for end in [l4 + 8, l4 + 8 + n] {
                        ensure!(
                            !carrier.sum_is_right(l4, end, UDP, family),
                            "its sum is right"
                        );
                    }
                    let check = [bytes[l4 + 6], bytes[l4 + 7]];
                    ensure!(check != [0, 0], "it claims to have no sum");
                }
            }
        }
        Ok(())
    }

    /// Numbers replaced within a TCP header, at even and odd places.
    #[test]
    fn replaced() -> Result {
        for (family, l4) in HEADERS {
            for at in [4, 8, 14, 21, 24, 25, 30] {
                for word in [0, 1, 0xff00, 0x00ff, 0xffff] {
                    let spec = Spec::new(family, TCP, 77);
                    let mut bytes = spec.bytes()?;
                    let len = bytes.len();
                    let packet = Packet::parse(&bytes, len, family).map_err(|_| EINVAL)?;
                    packet::replace_tcp_word(&mut bytes, &packet, l4 + at, word, false);
                    ensure!(
                        bytes[l4 + at..l4 + at + 2] == word.to_be_bytes(),
                        "not replaced"
                    );
                    let mut own = testing::packet(&bytes, MAKE)?;
                    ensure!(own.sum_is_right(l4, len, TCP, family), "{} at {}", word, at);
                }
                let spec = Spec::new(family, TCP, 0);
                let mut bytes = spec.bytes()?;
                let len = bytes.len();
                let packet = Packet::parse(&bytes, len, family).map_err(|_| EINVAL)?;
                packet::replace_tcp_long(&mut bytes, &packet, l4 + at, 0xfffe_0100, false);
                let mut own = testing::packet(&bytes, MAKE)?;
                ensure!(
                    own.sum_is_right(l4, len, TCP, family),
                    "four bytes at {}",
                    at
                );
            }
        }
        Ok(())
    }

    /// A packet that comes in is verified, whoever was to do it; one changed bit is noticed.
    #[test]
    fn verified() -> Result {
        for (family, proto) in FORMS {
            for data in [1, 500, 3001] {
                let spec = Spec::new(family, proto, data);
                for make in spec.makes() {
                    let whole = spec.bytes()?;
                    for summed in [false, true] {
                        let mut own = spec.packet(make)?;
                        if summed {
                            own.make_complete();
                        }
                        let want = if summed { Csum::Complete } else { Csum::None };
                        ensure!(own.as_skb().csum() == want, "not as it should be");
                        ensure!(
                            own.as_skb().csum_ok(spec.l4(), proto, family),
                            "{:?}, summed {}: refused",
                            make,
                            summed
                        );
                        let mut bytes = KVec::with_capacity(whole.len(), GFP_KERNEL)?;
                        bytes.extend_from_slice(&whole, GFP_KERNEL)?;
                        let last = bytes.len() - 1;
                        bytes[last] ^= 0x10;
                        let mut own = testing::packet(&bytes, make)?;
                        if summed {
                            own.make_complete();
                        }
                        ensure!(
                            !own.as_skb().csum_ok(spec.l4(), proto, family),
                            "{:?}, summed {}: a changed bit is not noticed",
                            make,
                            summed
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// What the device has summed up stays the sum of the packet when its end is cut off.
    #[test]
    fn trimmed() -> Result {
        for (family, proto) in FORMS {
            for cut in [1, 2, 32, 33] {
                let spec = Spec::new(family, proto, 1001);
                for make in spec.makes() {
                    let mut own = spec.packet(make)?;
                    own.make_complete();
                    let len = own.as_skb().len();
                    ensure!(own.as_skb().trim(len - cut), "not trimmed");
                    ensure!(own.as_skb().csum() == Csum::Complete, "the sum was dropped");
                    ensure!(own.complete_is_right(), "{} cut off {:?}", cut, make);
                }
            }
        }
        Ok(())
    }

    /// A receiver takes a packet out of another one for right, as its sum is left to be completed,
    /// and what is marked as good is believed.
    #[test]
    fn marked() -> Result {
        for (family, proto) in FORMS {
            let spec = Spec::new(family, proto, 100);
            let mut own = spec.packet(MAKE)?;
            own.as_skb().set_csum(Csum::Unnecessary);
            ensure!(own.as_skb().csum() == Csum::Unnecessary, "not marked");
            let mut own = spec.unfinished(MAKE)?;
            let partial = (spec.l4() as u32, spec.check() as u32);
            ensure!(own.facts().partial == partial, "left elsewhere");
            ensure!(own.as_skb().complete_csum(), "not completed");
            ensure!(own.as_skb().csum() == Csum::None, "still to be completed");
            let len = own.as_skb().len();
            ensure!(
                own.sum_is_right(spec.l4(), len, proto, family),
                "the sum is wrong"
            );
            // Nothing is left to be done, and nothing done.
            ensure!(own.as_skb().complete_csum(), "once more");
            ensure!(
                own.sum_is_right(spec.l4(), len, proto, family),
                "the sum was changed"
            );
        }
        Ok(())
    }
}
