// SPDX-License-Identifier: GPL-2.0

//! What is done to packets on their way out and in, on packets of every make.

use super::bytes::{
    all,
    has_ends,
    lane,
    seed,
    session,
    Spec,
    FORMS,
    TCP,
    UDP, //
};
use crate::{
    net::tx,
    proto::{
        addr::Tuple,
        packet,
        wrap::{
            self,
            Place,
            Via, //
        },
    },
    sys::{
        skb::{
            Csum,
            OwnSkb, //
        },
        testing::Make, //
    },
};
use kernel::prelude::*;

/// Sizes of data: none, odd, even, more than a page.
const SIZES: [usize; 6] = [0, 1, 2, 999, 1448, 9001];

/// Gives a packet the addresses of a lane, as the hook does.
fn redirect(own: &mut OwnSkb, family: u8, tuple: &Tuple) -> Result {
    let mut skb = own.as_skb();
    let packet = tx::parse(&mut skb, family).ok_or(EINVAL)?;
    ensure!(tx::rewrite(&mut skb, &packet, tuple), "not rewritten");
    Ok(())
}

/// A rewritten packet: new ends, right sums, the rest as it was.
fn is_redirected(own: &mut OwnSkb, spec: &Spec, before: &[u8], tuple: &Tuple) -> Result {
    let after = all(&own.as_skb())?;
    let (l4, payload) = (spec.l4(), spec.payload());
    ensure!(
        after.len() == before.len(),
        "{} bytes are {}",
        before.len(),
        after.len()
    );
    ensure!(
        has_ends(&after, l4, tuple),
        "not the lane's addresses and ports"
    );
    ensure!(
        after[payload..] == before[payload..],
        "the data has changed"
    );
    let check = l4 + spec.check();
    ensure!(
        after[l4 + 4..check] == before[l4 + 4..check],
        "the header has changed"
    );
    ensure!(
        after[check + 2..payload] == before[check + 2..payload],
        "its end has changed"
    );
    ensure!(own.ip_is_right(), "the IP header is wrong");
    if spec.family == 4 {
        ensure!(after[6] & 0x40 != 0, "it may be fragmented");
    }
    Ok(())
}

/// Cuts a packet that stands for many into them, and checks each: its ends and sums, and that
/// together they have the data.
pub(super) fn all_segments(
    own: &mut OwnSkb,
    spec: &Spec,
    size: usize,
    tuple: &Tuple,
) -> Result<usize> {
    let segments = own.as_skb().segment().ok_or(ENOMEM)?;
    let (mut n, mut at) = (0, 0);
    for mut segment in segments {
        let bytes = all(&segment.as_skb())?;
        let data = bytes.len() - spec.payload();
        ensure!(
            has_ends(&bytes, spec.l4(), tuple),
            "segment {}: its ends",
            n
        );
        ensure!(segment.ip_is_right(), "segment {}: its IP header", n);
        ensure!(
            segment.sum_is_right(spec.l4(), bytes.len(), spec.proto, spec.family),
            "segment {}: its sum",
            n
        );
        ensure!(data <= size && data != 0, "segment {}: {} bytes", n, data);
        if spec.proto == TCP {
            let seq = spec.seq.wrapping_add(at as u32).to_be_bytes();
            ensure!(
                bytes[spec.l4() + 4..spec.l4() + 8] == seq,
                "segment {}: its place",
                n
            );
        }
        for (i, byte) in bytes[spec.payload()..].iter().enumerate() {
            ensure!(
                *byte == spec.byte(at + i),
                "segment {}: its data at {}",
                n,
                i
            );
        }
        at += data;
        n += 1;
    }
    ensure!(
        at == spec.data,
        "{} of {} bytes in the segments",
        at,
        spec.data
    );
    Ok(n)
}

/// As sent with GSO: `n` segments of `size` bytes but for the last, headers in the head.
fn gso(family: u8, proto: u8, size: usize, n: usize) -> Result<(Spec, OwnSkb)> {
    let spec = Spec::new(family, proto, size * n - size / 2);
    let make = Make {
        linear: spec.payload(),
        page: 4096,
        headroom: 160,
    };
    let mut own = spec.unfinished(make)?;
    own.make_gso(size, n, family, proto);
    Ok((spec, own))
}

/// The way of a packet into something else and out of it again.
fn wrap_and_unwrap(spec: &Spec, make: Make, via: Via) -> Result {
    let (family, l4) = (spec.family, spec.l4());
    let before = spec.bytes()?;
    let mut own = spec.packet(make)?;
    let mut twin = own.clone_of()?;
    let tuple = lane(family, via.proto(spec.proto));
    let place = Place {
        seq: 0xfedc_ba98,
        ack: 0x0102_0304,
        flags: 0x18,
    };
    let more = via.overhead();
    let end = before.len() + more;
    {
        let mut skb = own.as_skb();
        ensure!(skb.insert(l4, more), "no room");
        ensure!(skb.len() == end, "{} bytes, not {}", skb.len(), end);
        let head = skb.writable(l4 + more + 4).ok_or(ENOMEM)?;
        wrap::wrap(head, l4, end, via, &tuple, 0xdead_beef, &place);
        let at = if via == Via::Tcp { 16 } else { 6 };
        ensure!(skb.set_partial(l4, at), "nothing left to a device");
        ensure!(
            skb.csum() == Csum::Partial && skb.complete_csum(),
            "not completed"
        );
    }
    ensure!(own.ip_is_right(), "the outer IP header is wrong");
    ensure!(
        own.sum_is_right(l4, end, tuple.proto, family),
        "the outer sum is wrong"
    );
    let outside = all(&own.as_skb())?;
    ensure!(has_ends(&outside, l4, &tuple), "the outer ends are wrong");
    ensure!(
        outside[l4 + more..l4 + more + 4] == 0xdead_beefu32.to_be_bytes(),
        "no session id"
    );
    ensure!(
        outside[l4 + more + 4..] == before[l4 + 4..],
        "the inner packet has changed"
    );
    ensure!(*all(&twin.as_skb())? == *before, "the clone has changed");
    {
        let mut skb = own.as_skb();
        ensure!(skb.remove(l4, more), "not removed");
        let head = skb.writable(spec.payload()).ok_or(ENOMEM)?;
        wrap::unwrap(
            head,
            l4,
            before.len(),
            &session(family, spec.proto).reversed(),
        );
        ensure!(
            skb.set_partial(l4, spec.check()) && skb.complete_csum(),
            "not completed"
        );
    }
    ensure!(own.ip_is_right(), "the IP header is wrong");
    ensure!(
        own.sum_is_right(l4, before.len(), spec.proto, family),
        "the sum is wrong"
    );
    let mut inside = all(&own.as_skb())?;
    if family == 4 {
        // What lanes carry is never fragmented.
        ensure!(inside[6] == 0x40, "it may be fragmented");
        inside[6] = before[6];
        inside[10..12].copy_from_slice(&before[10..12]);
    }
    ensure!(*inside == *before, "it is not the packet that it was");
    Ok(())
}

#[kunit_tests(mpip_packets)]
mod tests {
    use super::*;

    /// New addresses and ports, right sums, the data and the pages it lies in untouched.
    #[test]
    fn rewritten() -> Result {
        for (family, proto) in FORMS {
            for data in SIZES {
                let spec = Spec::new(family, proto, data);
                let before = spec.bytes()?;
                for make in spec.makes() {
                    let mut own = spec.packet(make)?;
                    let facts = own.facts();
                    redirect(&mut own, family, &lane(family, proto))?;
                    is_redirected(&mut own, &spec, &before, &lane(family, proto))?;
                    ensure!(
                        own.sum_is_right(spec.l4(), before.len(), proto, family),
                        "{} bytes, {:?}: the sum is wrong",
                        data,
                        make
                    );
                    let now = own.facts();
                    if make.linear >= spec.payload() {
                        ensure!(now.place == facts.place, "the pages are others");
                        ensure!(now.headlen == facts.headlen, "the head has grown");
                    }
                    // And back again: nothing has been lost.
                    redirect(&mut own, family, &session(family, proto))?;
                    is_redirected(&mut own, &spec, &before, &session(family, proto))?;
                }
            }
        }
        Ok(())
    }

    /// TCP keeps what it sends: its own packet may not change with the clone's.
    #[test]
    fn clone_rewritten() -> Result {
        for (family, proto) in FORMS {
            let spec = Spec::new(family, proto, 1448);
            let before = spec.bytes()?;
            for make in spec.makes() {
                let mut kept = spec.packet(make)?;
                let facts = kept.facts();
                let mut sent = kept.clone_of()?;
                ensure!(kept.facts().cloned, "no clone");
                redirect(&mut sent, family, &lane(family, proto))?;
                is_redirected(&mut sent, &spec, &before, &lane(family, proto))?;
                ensure!(*all(&kept.as_skb())? == *before, "the original has changed");
                ensure!(kept.facts().place == facts.place, "its pages are others");
                ensure!(!kept.facts().cloned, "the header is still shared");
                // The other way round, and with the clone gone first.
                let twin = sent.clone_of()?;
                drop(sent);
                redirect(&mut kept, family, &lane(family, proto))?;
                drop(kept);
                drop(twin);
            }
        }
        Ok(())
    }

    /// What is left to the device stays so, and comes out right.
    #[test]
    fn unfinished_rewritten() -> Result {
        for (family, proto) in FORMS {
            for data in SIZES {
                let spec = Spec::new(family, proto, data);
                let before = spec.bytes()?;
                // The checksum must be within the head: `skb_checksum_help` pulls it in.
                for make in spec.makes() {
                    let mut own = spec.unfinished(make)?;
                    let facts = own.facts();
                    redirect(&mut own, family, &lane(family, proto))?;
                    ensure!(own.as_skb().csum() == Csum::Partial, "it was completed");
                    ensure!(own.facts().partial == facts.partial, "at another place");
                    let at = spec.l4() + spec.check();
                    let want = seed(&lane(family, proto), before.len() - spec.l4());
                    let got = all(&own.as_skb())?;
                    ensure!(got[at..at + 2] == want.to_be_bytes(), "the seed is wrong");
                    ensure!(own.as_skb().complete_csum(), "not completed");
                    is_redirected(&mut own, &spec, &before, &lane(family, proto))?;
                    ensure!(
                        own.sum_is_right(spec.l4(), before.len(), proto, family),
                        "the sum is wrong"
                    );
                }
            }
        }
        Ok(())
    }

    /// A datagram without a checksum stays one.
    #[test]
    fn no_checksum() -> Result {
        let spec = Spec::new(4, UDP, 100);
        let mut bytes = spec.bytes()?;
        bytes[26..28].copy_from_slice(&[0, 0]);
        let mut own = crate::sys::testing::packet(&bytes, spec.makes()[0])?;
        redirect(&mut own, 4, &lane(4, UDP))?;
        is_redirected(&mut own, &spec, &bytes, &lane(4, UDP))?;
        ensure!(
            all(&own.as_skb())?[26..28] == [0, 0],
            "it has a checksum now"
        );
        Ok(())
    }

    /// A packet that stands for many still does, and each of them is right.
    #[test]
    fn gso_rewritten() -> Result {
        for (family, proto) in FORMS {
            for (size, n) in [(1448, 10), (536, 25), (100, 2)] {
                let (spec, mut own) = gso(family, proto, size, n)?;
                let before = all(&own.as_skb())?;
                let facts = own.facts();
                let mut kept = own.clone_of()?;
                redirect(&mut own, family, &lane(family, proto))?;
                is_redirected(&mut own, &spec, &before, &lane(family, proto))?;
                let now = own.facts();
                ensure!(
                    now.gso == facts.gso,
                    "GSO {:?} was {:?}",
                    now.gso,
                    facts.gso
                );
                ensure!(now.place == facts.place, "the pages are others");
                ensure!(now.partial == facts.partial, "the sum is left elsewhere");
                let found = all_segments(&mut own, &spec, size, &lane(family, proto))?;
                ensure!(found == n, "{} segments of {}", found, n);
                ensure!(*all(&kept.as_skb())? == *before, "the original has changed");
                ensure!(kept.facts().gso == facts.gso, "its GSO has changed");
                all_segments(&mut kept, &spec, size, &session(family, proto))?;
            }
        }
        Ok(())
    }

    /// TCP cut to fit a narrower path, whatever it was meant to be cut into.
    #[test]
    fn cut() -> Result {
        for family in [4, 6] {
            for (size, n) in [(1448, 1), (1448, 10), (100, 12)] {
                for room in [1447, 700, 64] {
                    let (spec, mut own) = if n == 1 {
                        let spec = Spec::new(family, TCP, size);
                        (spec, spec.unfinished(spec.makes()[1])?)
                    } else {
                        gso(family, TCP, size, n)?
                    };
                    let before = all(&own.as_skb())?;
                    let mut kept = own.clone_of()?;
                    let facts = kept.facts();
                    let segments = own.as_skb().cut(room).ok_or(ENOMEM)?;
                    let (mut at, mut count) = (0, 0);
                    let most = room.min(if n == 1 { room } else { size });
                    for mut segment in segments {
                        ensure!(segment.as_skb().complete_csum(), "not completed");
                        let bytes = all(&segment.as_skb())?;
                        let data = bytes.len() - spec.payload();
                        ensure!(data <= most, "{} bytes where {} have room", data, most);
                        ensure!(segment.ip_is_right(), "its IP header is wrong");
                        ensure!(
                            segment.sum_is_right(spec.l4(), bytes.len(), TCP, family),
                            "its sum is wrong"
                        );
                        let is_last = at + data == spec.data;
                        ensure!(
                            (bytes[spec.l4() + 13] & packet::PSH != 0) == is_last,
                            "PSH belongs to the last one"
                        );
                        for (i, byte) in bytes[spec.payload()..].iter().enumerate() {
                            ensure!(*byte == spec.byte(at + i), "its data at {}", i);
                        }
                        at += data;
                        count += 1;
                    }
                    ensure!(at == spec.data, "{} of {} bytes", at, spec.data);
                    ensure!(count == spec.data.div_ceil(most), "{} segments", count);
                    ensure!(*all(&kept.as_skb())? == *before, "the original has changed");
                    ensure!(kept.facts().gso == facts.gso, "its GSO has changed");
                }
            }
        }
        Ok(())
    }

    /// Nothing is cut that has no checksum to be completed, nor into nothing.
    #[test]
    fn not_cut() -> Result {
        let spec = Spec::new(4, TCP, 1448);
        let mut own = spec.packet(spec.makes()[0])?;
        ensure!(own.as_skb().cut(500).is_none(), "a complete packet was cut");
        let mut own = spec.unfinished(spec.makes()[0])?;
        ensure!(own.as_skb().cut(0).is_none(), "cut into nothing");
        let empty = Spec::new(4, TCP, 0);
        let mut own = empty.unfinished(empty.makes()[0])?;
        ensure!(own.as_skb().cut(500).is_none(), "cut without data");
        Ok(())
    }

    /// Bytes at the end, and away with them.
    #[test]
    fn appended_and_trimmed() -> Result {
        for (family, proto) in FORMS {
            for data in SIZES {
                let spec = Spec::new(family, proto, data);
                let before = spec.bytes()?;
                for make in spec.makes() {
                    let mut own = spec.packet(make)?;
                    let mut twin = own.clone_of()?;
                    let tail = [0xa5; 33];
                    ensure!(own.as_skb().append(&tail), "not appended");
                    let after = all(&own.as_skb())?;
                    ensure!(
                        after[..before.len()] == before[..],
                        "the packet has changed"
                    );
                    ensure!(after[before.len()..] == tail, "not what was appended");
                    ensure!(*all(&twin.as_skb())? == *before, "the clone has changed");
                    ensure!(own.as_skb().trim(before.len()), "not trimmed");
                    ensure!(*all(&own.as_skb())? == *before, "trimmed too far");
                    // A clone trimmed: the other one stays as long as it was.
                    let short = spec.payload() + data / 2;
                    ensure!(twin.as_skb().trim(short), "the clone is not trimmed");
                    ensure!(
                        *all(&twin.as_skb())? == before[..short],
                        "not its beginning"
                    );
                    let mut third = spec.packet(make)?;
                    let mut fourth = third.clone_of()?;
                    ensure!(third.as_skb().trim(short), "not trimmed");
                    ensure!(
                        *all(&fourth.as_skb())? == *before,
                        "the clone was trimmed, too"
                    );
                }
            }
        }
        Ok(())
    }

    /// Into UDP and out again.
    #[test]
    fn wrapped_in_udp() -> Result {
        for family in [4, 6] {
            for data in SIZES {
                let spec = Spec::new(family, TCP, data);
                for make in spec.makes() {
                    wrap_and_unwrap(&spec, make, Via::Udp)?;
                }
            }
        }
        Ok(())
    }

    /// Into a made-up TCP connection and out again.
    #[test]
    fn wrapped_in_tcp() -> Result {
        for (family, proto) in FORMS {
            for data in SIZES {
                let spec = Spec::new(family, proto, data);
                for make in spec.makes() {
                    wrap_and_unwrap(&spec, make, Via::Tcp)?;
                }
            }
        }
        Ok(())
    }

    /// What is kept to be sent again does not change with what is sent.
    #[test]
    fn kept() -> Result {
        for (family, proto) in FORMS {
            let spec = Spec::new(family, proto, 1448);
            let before = spec.bytes()?;
            for make in spec.makes() {
                let mut own = spec.packet(make)?;
                let kept = own.as_skb().keep().ok_or(ENOMEM)?;
                redirect(&mut own, family, &lane(family, proto))?;
                let mut again = kept.into_own();
                ensure!(*all(&again.as_skb())? == *before, "it has changed");
                drop(own);
                redirect(&mut again, family, &lane(family, proto))?;
                is_redirected(&mut again, &spec, &before, &lane(family, proto))?;
            }
        }
        Ok(())
    }

    /// Nor with what TCP does to a packet that it takes for not sent.
    #[test]
    fn kept_from_cutting() -> Result {
        for (family, proto) in FORMS {
            let spec = Spec::new(family, proto, 1448);
            let before = spec.bytes()?;
            for make in spec.makes() {
                let mut own = spec.packet(make)?;
                let kept = own.as_skb().keep().ok_or(ENOMEM)?;
                let half = before.len() / 2;
                own.cut_off(half)?;
                ensure!(own.as_skb().len() == half, "it is as long as before");
                drop(own);
                ensure!(
                    *all(&kept.into_own().as_skb())? == *before,
                    "it has changed"
                );
            }
        }
        Ok(())
    }

    /// Nobody gets at bytes that a packet does not have, and trying changes nothing.
    #[test]
    fn beyond_the_end() -> Result {
        for (family, proto) in FORMS {
            let spec = Spec::new(family, proto, 300);
            let before = spec.bytes()?;
            for make in spec.makes() {
                let mut own = spec.packet(make)?;
                let mut skb = own.as_skb();
                let len = skb.len();
                ensure!(!skb.pull(len + 1), "pulled too much");
                ensure!(skb.writable(len + 1).is_none(), "wrote too much");
                ensure!(!skb.copy(len, &mut [0]), "read too much");
                ensure!(!skb.copy(len - 1, &mut [0; 2]), "read over the end");
                ensure!(!skb.copy(usize::MAX >> 32, &mut [0; 2]), "read far away");
                ensure!(!skb.insert(len + 1, 8), "inserted behind the end");
                ensure!(!skb.remove(len, 1), "removed behind the end");
                ensure!(!skb.set_partial(len, 6), "a sum behind the end");
                ensure!(*all(&skb)? == *before, "it has changed");
                ensure!(skb.pull(len) && skb.head().len() == len, "not made linear");
                ensure!(*skb.head() == *before, "it has changed");
            }
        }
        Ok(())
    }
}
