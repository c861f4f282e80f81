// SPDX-License-Identifier: GPL-2.0

//! Packets that the kernel has merged on their way in (GRO): one packet that stands for many, whose
//! data is in pages, or in packets that hang on it.

use super::{
    bytes::{
        all,
        has_ends,
        lane,
        session,
        Spec,
        TCP, //
    },
    packets::all_segments,
};
use crate::{
    net::tx,
    proto::packet,
    sys::{
        skb::{
            Csum,
            OwnSkb, //
        },
        testing::{
            Device,
            Make, //
        }, //
    },
};
use kernel::prelude::*;

/// How a device hands over what it receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    /// Each packet in one piece of memory: merged ones hang on the first.
    Whole,
    /// Data in pages: merged ones are pages of the first.
    Pages,
}

/// A stream of `n` segments with `size` bytes each, `last` in the last one, as one packet.
fn merged(
    device: &Device,
    style: Style,
    family: u8,
    size: usize,
    n: usize,
    last: usize,
) -> Result<(Spec, OwnSkb)> {
    let whole = Spec::new(family, TCP, size * (n - 1) + last);
    for i in 0..n {
        let at = size * i;
        let segment = Spec {
            seq: whole.seq.wrapping_add(at as u32),
            first: ((usize::from(whole.first) + at) % 251) as u8,
            data: if i == n - 1 { last } else { size },
            id: whole.id.wrapping_add(i as u16),
            // PSH ends a train.
            flags: if i == n - 1 { 0x18 } else { 0x10 },
            ..whole
        };
        let make = Make {
            linear: match style {
                Style::Whole => usize::MAX >> 33,
                Style::Pages => segment.payload(),
            },
            page: 4096,
            headroom: 64,
        };
        device.receive(segment.packet(make)?);
    }
    ensure!(device.poll(), "the device was not asked");
    let own = device.take().ok_or(ENOENT)?;
    ensure!(device.take().is_none(), "more than one packet");
    Ok((whole, own))
}

/// What the tests are repeated for.
const CASES: [(Style, u8); 4] = [
    (Style::Whole, 4),
    (Style::Whole, 6),
    (Style::Pages, 4),
    (Style::Pages, 6),
];

#[kunit_tests(mpip_merged)]
mod tests {
    use super::*;

    /// The packets are what the tests want them to be.
    #[test]
    fn layout() -> Result {
        let device = Device::new()?;
        for (style, family) in CASES {
            let (spec, mut own) = merged(&device, style, family, 1000, 7, 600)?;
            let facts = own.facts();
            ensure!(facts.gso.0 == 1000 && facts.gso.1 == 7, "{:?}", facts);
            ensure!(
                facts.listed == (style == Style::Whole),
                "{:?}: {:?}",
                style,
                facts
            );
            ensure!(own.as_skb().segments() == 7, "segments");
            ensure!(own.as_skb().segment_size() == 1000, "size of segments");
            ensure!(
                own.as_skb().len() == spec.payload() + spec.data,
                "{:?}",
                facts
            );
            all_segments(&mut own, &spec, 1000, &session(family, TCP))?;
        }
        Ok(())
    }

    /// A lane's addresses replaced, as the hook does: still merged, and each segment is right.
    #[test]
    fn rewritten() -> Result {
        let device = Device::new()?;
        for (style, family) in CASES {
            let (spec, mut own) = merged(&device, style, family, 1448, 10, 1448)?;
            let before = all(&own.as_skb())?;
            let facts = own.facts();
            let tuple = lane(family, TCP);
            {
                let mut skb = own.as_skb();
                let packet = tx::parse(&mut skb, family).ok_or(EINVAL)?;
                let partial = skb.csum() == Csum::Partial;
                ensure!(partial, "GRO leaves the sum to be completed");
                let head = skb.writable(packet.payload).ok_or(ENOMEM)?;
                packet::rewrite(head, &packet, &tuple.local, &tuple.remote, partial);
                skb.clear_hash();
            }
            let after = all(&own.as_skb())?;
            let now = own.facts();
            ensure!(
                now.gso == facts.gso,
                "GSO {:?} was {:?}",
                now.gso,
                facts.gso
            );
            ensure!(now.place == facts.place, "the data has moved");
            ensure!(now.partial == facts.partial, "the sum is left elsewhere");
            ensure!(
                after[spec.payload()..] == before[spec.payload()..],
                "the data has changed"
            );
            ensure!(has_ends(&after, spec.l4(), &tuple), "its ends");
            let n = all_segments(&mut own, &spec, 1448, &tuple)?;
            ensure!(n == 10, "{} segments", n);
        }
        Ok(())
    }

    /// A message behind the data of the last segment is cut off, whatever holds its bytes.
    #[test]
    fn trimmed() -> Result {
        let device = Device::new()?;
        for (style, family) in CASES {
            for cut in [1, 32, 599] {
                let (spec, mut own) = merged(&device, style, family, 1000, 5, 600)?;
                let before = all(&own.as_skb())?;
                let mut kept = own.clone_of()?;
                let end = before.len() - cut;
                {
                    let mut skb = own.as_skb();
                    ensure!(skb.trim(end), "not trimmed");
                    let head = skb.writable(spec.payload()).ok_or(ENOMEM)?;
                    packet::set_ip_len(head, family, end);
                }
                ensure!(
                    own.as_skb().len() == end && own.ip_is_right(),
                    "not so long"
                );
                ensure!(
                    all(&own.as_skb())?[spec.payload()..] == before[spec.payload()..end],
                    "its data"
                );
                ensure!(
                    *all(&kept.as_skb())? == *before,
                    "the other one has changed"
                );
                ensure!(
                    own.as_skb().csum() == Csum::Partial,
                    "the sum was completed"
                );
            }
        }
        Ok(())
    }

    /// Headers that are read, written and removed while the data hangs on the packet.
    #[test]
    fn taken_apart() -> Result {
        let device = Device::new()?;
        for (style, family) in CASES {
            let (_, mut own) = merged(&device, style, family, 1000, 4, 1000)?;
            let before = all(&own.as_skb())?;
            let mut twin = own.clone_of()?;
            let mut skb = own.as_skb();
            let len = skb.len();
            // Across the border of two segments.
            let at = len - 1010;
            let mut some = [0; 20];
            ensure!(
                skb.copy(at, &mut some) && some == before[at..at + 20],
                "read"
            );
            ensure!(skb.pull(len) && *skb.head() == *before, "not made linear");
            ensure!(
                skb.writable(len).is_some_and(|head| *head == *before),
                "written"
            );
            ensure!(
                skb.append(&[7; 40]) && skb.len() == len + 40,
                "not appended"
            );
            ensure!(
                *all(&twin.as_skb())? == *before,
                "the other one has changed"
            );
        }
        Ok(())
    }
}
