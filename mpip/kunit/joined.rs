// SPDX-License-Identifier: GPL-2.0

//! Segments that become part of the one before, on real packets.

use super::bytes::{
    all,
    Spec,
    TCP, //
};
use crate::{
    net::tx,
    proto::{
        coalesce::Train,
        packet, //
    },
    sys::{
        skb::OwnSkb,
        testing::Make, //
    },
};
use core::mem::forget;
use kernel::prelude::*;

/// Data in each segment.
const SIZE: usize = 1448;
/// Pages that a packet has at most.
const PAGES: usize = 17;

/// Segment `i` of a stream; `linear` bytes of it are not in pages.
fn nth(family: u8, i: usize, linear: usize) -> Result<(Spec, OwnSkb)> {
    let whole = Spec::new(family, TCP, SIZE);
    let at = SIZE * i;
    let spec = Spec {
        seq: whole.seq.wrapping_add(at as u32),
        first: ((usize::from(whole.first) + at) % 251) as u8,
        id: whole.id.wrapping_add(i as u16),
        flags: packet::ACK,
        ..whole
    };
    let make = Make {
        linear,
        page: 4096,
        headroom: 64,
    };
    Ok((spec, spec.packet(make)?))
}

/// Appends `next` to `first`; it comes back if that is not possible.
fn join(first: &mut OwnSkb, train: &mut Train, mut next: OwnSkb, family: u8) -> Option<OwnSkb> {
    let packet = tx::parse(&mut next.as_skb(), family)?;
    let follows = train.is_followed_by(first.as_skb().head(), next.as_skb().head(), &packet);
    if !follows || !first.as_skb().join(&mut next.as_skb(), train) {
        return Some(next);
    }
    train.append(63, &packet);
    forget(next);
    None
}

fn begin(first: &mut OwnSkb, family: u8) -> Result<Train> {
    let packet = tx::parse(&mut first.as_skb(), family).ok_or(EINVAL)?;
    let train = Train::begin(first.as_skb().head(), &packet);
    train.ok_or(EINVAL)
}

#[kunit_tests(mpip_joined)]
mod tests {
    use super::*;

    /// As many as there is room for become one packet that has the data of all; the next one stays
    /// what it is.
    #[test]
    fn as_many_as_fit() -> Result {
        for family in [4, 6] {
            let (spec, mut first) = nth(family, 0, Spec::new(family, TCP, SIZE).payload())?;
            let mut train = begin(&mut first, family)?;
            let mut n = 1;
            let rest = loop {
                let (_, next) = nth(family, n, spec.payload())?;
                match join(&mut first, &mut train, next, family) {
                    None => n += 1,
                    Some(rest) => break rest,
                }
                ensure!(n < 100, "there is no end");
            };
            ensure!(n == PAGES, "{} segments", n);
            let mut rest = rest;
            let (_, mut other) = nth(family, n, spec.payload())?;
            ensure!(
                *all(&rest.as_skb())? == *all(&other.as_skb())?,
                "the one that did not fit has changed"
            );
            {
                let mut skb = first.as_skb();
                let head = skb.writable(train.header_len()).ok_or(ENOMEM)?;
                train.write(head);
            }
            let facts = first.facts();
            ensure!(
                facts.gso.0 as usize == SIZE && facts.gso.1 as usize == n,
                "{:?}",
                facts
            );
            ensure!(first.ip_is_right(), "its IP header");
            let bytes = all(&first.as_skb())?;
            ensure!(bytes.len() == spec.payload() + SIZE * n, "its length");
            for (i, byte) in bytes[spec.payload()..].iter().enumerate() {
                ensure!(*byte == spec.byte(i), "its data at {}", i);
            }
        }
        Ok(())
    }

    /// Whoever else has one of them sees nothing of it: a sender keeps its segments to send them
    /// again.
    #[test]
    fn others_see_nothing() -> Result {
        for family in [4, 6] {
            let payload = Spec::new(family, TCP, SIZE).payload();
            let (_, mut first) = nth(family, 0, payload)?;
            let (_, mut second) = nth(family, 1, payload)?;
            let mut sent = [first.clone_of()?, second.clone_of()?];
            let before = [all(&sent[0].as_skb())?, all(&sent[1].as_skb())?];
            let mut train = begin(&mut first, family)?;
            ensure!(
                join(&mut first, &mut train, second, family).is_none(),
                "not joined"
            );
            {
                let mut skb = first.as_skb();
                let head = skb.writable(train.header_len()).ok_or(ENOMEM)?;
                train.write(head);
            }
            for (skb, before) in sent.iter_mut().zip(&before) {
                ensure!(*all(&skb.as_skb())? == **before, "a clone has changed");
                ensure!(skb.facts().gso.1 == 0, "a clone stands for two");
            }
            ensure!(
                first.as_skb().len() == payload + 2 * SIZE && first.ip_is_right(),
                "not so long"
            );
        }
        Ok(())
    }

    /// Data that is not in pages cannot be handed over: both stay as they are.
    #[test]
    fn what_cannot_be() -> Result {
        for family in [4, 6] {
            let (spec, mut first) = nth(family, 0, usize::MAX >> 33)?;
            let (_, mut second) = nth(family, 1, usize::MAX >> 33)?;
            // A clone's memory is not to be taken away.
            let twin = second.clone_of()?;
            let (a, b) = (all(&first.as_skb())?, all(&second.as_skb())?);
            let mut train = begin(&mut first, family)?;
            let back = join(&mut first, &mut train, second, family);
            let Some(mut back) = back else {
                ensure!(false, "joined");
                return Ok(());
            };
            ensure!(
                *all(&first.as_skb())? == *a && *all(&back.as_skb())? == *b,
                "something has changed"
            );
            ensure!(first.facts().gso.1 == 0, "it stands for two");
            ensure!(back.as_skb().len() == spec.payload() + SIZE, "its length");
            drop(twin);
            // Nor do merged ones become more: their own length says where they end.
            back.make_gso(SIZE / 2, 2, family, TCP);
            ensure!(
                join(&mut first, &mut train, back, family).is_some(),
                "joined one that was merged"
            );
        }
        Ok(())
    }
}
