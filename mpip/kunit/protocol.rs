// SPDX-License-Identifier: GPL-2.0

//! The protocol as it runs in the kernel: with the kernel's cryptography, its checks of arithmetic
//! and its memory. The rest of the protocol's tests is in user space.

use crate::{
    proto::{
        addr::Addr,
        crypto::{
            self,
            Crypto,
            HelloIds,
            PUBLIC_KEY, //
        },
        packet::{
            Packet,
            ParseError, //
        },
        replay::Window,
        wire::{
            cm::{
                self,
                trailer_len,
                AddrList,
                Close,
                Cm,
                Data,
                Entry,
                Header,
                Hello,
                Lane,
                Missing,
                Moved,
                Open,
                OpenBlock,
                Ranges,
                Raw, //
            },
            option,
            surplus,
            MAX_LEN, //
        },
    },
    sys::{
        clock,
        crypto::Algo,
        table::{
            self,
            InsertError,
            Key,
            Node,
            Placed,
            Secret,
            Table, //
        },
        testing, //
    },
};
use core::ops::ControlFlow;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu,
        Arc, //
    },
};

const NODE: u64 = 0x1122_3344_5566_7788;

/// The bytes that a string of hexadecimal digits stands for.
fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    let digit = |c: u8| match c {
        b'0'..=b'9' => c - b'0',
        _ => c - b'a' + 10,
    };
    core::array::from_fn(|i| digit(digits[2 * i]) * 16 + digit(digits[2 * i + 1]))
}

/// 0, 1, 2 and so on.
fn counting<const N: usize>() -> [u8; N] {
    core::array::from_fn(|i| i as u8)
}

/// Calls `f` with messages of all lengths.
fn messages(mut f: impl FnMut(&Cm<'_>) -> Result) -> Result {
    let header = Header {
        node: NODE,
        session: 0xa1b2_c3d4,
        number: 3,
    };
    let entries = [[192, 0, 2, 1], [198, 51, 100, 2]].map(|addr| Entry {
        flags: 0,
        port: 0,
        addr: Addr::V4(addr),
    });
    let block = OpenBlock {
        udp_port: 4096,
        path: 0,
        addrs: AddrList::new(&entries),
    };
    let mut ranges = Ranges::new();
    ensure!(
        ranges.push(100, 1000) && ranges.push(0xffff_fff0, 16),
        "no room"
    );
    f(&Cm::Data(Data {
        session: 0xa1b2_c3d4,
        path: 1,
        feedback: 2,
        length: 1400,
        timestamp: 0x0102_0304,
        delay: -5,
        number: 7,
    }))?;
    f(&Cm::Hello(Hello {
        header,
        nonce_a: 0x0102_0304_0506_0708,
    }))?;
    f(&Cm::Open(Open { header, block }))?;
    f(&Cm::Addr(Moved {
        header,
        down: (1 << 63) | 1,
        block,
    }))?;
    f(&Cm::LaneAck(Lane {
        header,
        path: 1,
        flags: 0,
        challenge: 2,
        echo: 3,
        observed: None,
    }))?;
    f(&Cm::Missing(Missing {
        header,
        refused: false,
        ranges,
    }))?;
    f(&Cm::Close(Close { header, seq: 9 }))?;
    f(&Cm::Goodbye(header))
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Number(u32);

impl Key for Number {
    fn hash(&self, secret: &Secret) -> u32 {
        secret.hash(&self.0.to_be_bytes())
    }
}

/// A number with a node, which is its own or that of another one.
struct Numbered {
    number: u32,
    node: Node<Arc<Numbered>>,
    other: Option<Arc<Numbered>>,
}

impl Numbered {
    fn new(number: u32, other: Option<Arc<Numbered>>) -> Result<Arc<Numbered>> {
        let one = Numbered {
            number,
            node: Node::default(),
            other,
        };
        Ok(Arc::new(one, GFP_KERNEL)?)
    }
}

impl table::Entry for Arc<Numbered> {
    type Key = Number;

    fn key(&self) -> Number {
        Number(self.number)
    }
}

impl Placed for Arc<Numbered> {
    type Whole = Numbered;

    fn place(&self) -> Option<(&Arc<Numbered>, &Node<Arc<Numbered>>)> {
        let holder = self.other.as_ref().unwrap_or(self);
        Some((self, &holder.node))
    }
}

/// What a guest's place is part of, and how many guests have been dropped.
struct House {
    place: Node<Guest>,
    left: Atomic<u32>,
}

/// An entry that is not counted itself, and has its place in what it keeps alive.
struct Guest {
    number: u32,
    house: Arc<House>,
}

impl table::Entry for Guest {
    type Key = Number;

    fn key(&self) -> Number {
        Number(self.number)
    }
}

impl Placed for Guest {
    type Whole = House;

    fn place(&self) -> Option<(&Arc<House>, &Node<Guest>)> {
        (self.number == 0).then(|| (&self.house, &self.house.place))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.house.left.add(1u32, Relaxed);
    }
}

#[kunit_tests(mpip_protocol)]
mod tests {
    use super::*;

    /// SipHash-2-4 as its authors publish it.
    #[test]
    fn siphash() -> Result {
        let key = counting();
        let text: [u8; 15] = counting();
        ensure!(
            Algo.siphash(&key, &[]) == 0x726f_db47_dd0e_0e31,
            "of nothing"
        );
        ensure!(
            Algo.siphash(&key, &text) == 0xa129_ca61_49be_45e5,
            "of 15 bytes"
        );
        Ok(())
    }

    /// Keyed BLAKE2s-256 as its authors publish it.
    #[test]
    fn blake2s() -> Result {
        let key = counting();
        let none = hex(b"48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49");
        let one = hex(b"40d15fee7c328830166ac3f918650f807e7e01e177258cdc0a39b11f598066f1");
        ensure!(Algo.blake2s(&key, &[]) == none, "of nothing");
        ensure!(Algo.blake2s(&key, &[0]) == one, "of one byte");
        Ok(())
    }

    /// X25519: the first vector of RFC 7748, section 5.2, an exchange, and a key of small order.
    #[test]
    fn x25519() -> Result {
        let scalar = hex(b"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let point = hex(b"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let want = hex(b"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        ensure!(Algo.x25519(&scalar, &point) == Some(want), "the vector");
        let (a, b): ([u8; 32], [u8; 32]) = (clock::random_bytes(), clock::random_bytes());
        let shared = Algo.x25519(&a, &Algo.x25519_public(&b));
        ensure!(shared.is_some(), "no exchange");
        ensure!(
            shared == Algo.x25519(&b, &Algo.x25519_public(&a)),
            "another one"
        );
        ensure!(Algo.x25519(&a, &[0; 32]).is_none(), "a key of small order");
        Ok(())
    }

    /// Two ends agree on keys, one for each direction; with another secret they do not.
    #[test]
    fn keys() -> Result {
        let (a, b): ([u8; 32], [u8; 32]) = (clock::random_bytes(), clock::random_bytes());
        let (for_a, for_b) = (Algo.x25519_public(&a), Algo.x25519_public(&b));
        let ids = HelloIds {
            node_a: 1,
            node_b: 2,
            nonce_a: 3,
            nonce_b: 4,
        };
        let derive = |secret, public, psk: &[u8; 32], first| {
            crypto::derive(&Algo, secret, public, psk, &ids, first).ok_or(EINVAL)
        };
        let one = derive(&a, &for_b, &[0; 32], true)?;
        let other = derive(&b, &for_a, &[0; 32], false)?;
        ensure!(
            one.tx == other.rx && one.rx == other.tx,
            "not the same keys"
        );
        ensure!(one.tx != one.rx, "one key for both directions");
        let stranger = derive(&b, &for_a, &[1; 32], false)?;
        ensure!(one.tx != stranger.rx, "the same with another secret");
        Ok(())
    }

    /// A message is read as it was written, and not if one bit of it has changed.
    #[test]
    fn messages_are_tagged() -> Result {
        let key: [u8; 16] = clock::random_bytes();
        messages(|message| {
            let mut buf = [0; MAX_LEN];
            let len = cm::emit(&Algo, &key, NODE, 6, message, &mut buf);
            let bytes = &mut buf[..len];
            let raw = Raw::new(bytes).ok_or(EINVAL)?;
            ensure!(raw.verify(&Algo, &key, NODE, 6), "its tag is wrong");
            ensure!(
                !raw.verify(&Algo, &key, NODE, 17),
                "it is for another protocol, too"
            );
            ensure!(
                !raw.verify(&Algo, &PUBLIC_KEY, NODE, 6),
                "anybody can make it"
            );
            ensure!(
                raw.parse().as_ref() == Some(message),
                "it is read otherwise"
            );
            for bit in 0..8 * len {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let fooled = Raw::new(bytes).is_some_and(|raw| raw.verify(&Algo, &key, NODE, 6));
                ensure!(!fooled, "{:?}: bit {} is not noticed", message.kind(), bit);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Ok(())
        })
    }

    /// Any bytes: nothing is taken for a message, no reader panics, nothing is read twice as long.
    #[test]
    fn any_bytes() -> Result {
        let key: [u8; 16] = clock::random_bytes();
        for n in 0..20_000usize {
            let mut noise: [u8; 128] = clock::random_bytes();
            let len = usize::from(noise[127]) % 128;
            if n % 2 == 0 && len >= 4 {
                // A footer that is one, but for the length perhaps.
                noise[len - 4..len - 2].copy_from_slice(b"MP");
                noise[len - 2] = 0x10 | (noise[len - 2] & 15);
                if n % 4 == 0 {
                    noise[len - 1] = (len / 4) as u8;
                }
            }
            let some = &noise[..len];
            if let Some(raw) = Raw::new(some) {
                ensure!(!raw.verify(&Algo, &key, NODE, 6), "noise has a tag");
                let _ = (raw.parse(), raw.session(), raw.node());
            }
            if let Some(tail) = some.last_chunk() {
                ensure!(
                    trailer_len(tail, len).is_none_or(|n| n <= len),
                    "longer than it is"
                );
            }
            ensure!(
                surplus::cm_of(some).is_none_or(|cm| cm.len() <= len),
                "longer than it is"
            );
            let _ = (
                option::find(some),
                option::mss(some),
                option::is_signed(some),
            );
            noise[0] = noise[0] & 15 | if n % 3 == 0 { 0x60 } else { 0x40 };
            for family in [4, 6] {
                match Packet::parse(&noise[..len], usize::from(noise[126]), family) {
                    Ok(p) => ensure!(
                        p.l4 <= p.payload && p.payload <= p.payload_end && p.payload_end <= p.end,
                        "{:?}",
                        p
                    ),
                    Err(ParseError::Need(more)) => ensure!(more > len, "{} more of {}", more, len),
                    Err(ParseError::Skip) => {}
                }
            }
        }
        Ok(())
    }

    /// Each number is taken once, also where they begin again at 0.
    #[test]
    fn replays() -> Result {
        let mut window = Window::new();
        let start = 0xffff_ff80u32;
        ensure!(
            window.check_and_set(0x7fff_ffff) && window.check_and_set(start),
            "new ones"
        );
        for n in 1..300u32 {
            let number = start.wrapping_add(n);
            let new = number != 0;
            ensure!(
                window.check_and_set(number) == new,
                "{} for the first time",
                number
            );
            ensure!(!window.check_and_set(number), "{} once more", number);
            ensure!(
                !window.check_and_set(number.wrapping_sub(400)),
                "one that is too old"
            );
        }
        Ok(())
    }

    /// Entries with a place in what they keep alive, which the last of them to go may free; each is
    /// dropped once, and the place is free again after that.
    #[test]
    fn nodes_in_what_is_kept_alive() -> Result {
        let table = Arc::pin_init(Table::<Guest>::new(2, 100), GFP_KERNEL)?;
        let house = Arc::new(
            House {
                place: Node::default(),
                left: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        let guest = |number| Guest {
            number,
            house: house.clone(),
        };
        for round in 1..=3 {
            ensure!(table.insert_placed(guest(0)) == Ok(()), "not inserted");
            ensure!(
                table.insert_placed(guest(1)) == Ok(()),
                "none without a place"
            );
            ensure!(house.place.is_taken(), "its place is not used");
            ensure!(
                table.insert_placed(guest(0)) == Err(InsertError::Exists),
                "twice"
            );
            // As long as readers may stand there it is not free: this one has memory of its own.
            ensure!(table.remove(&Number(0)), "not removed");
            ensure!(table.insert_placed(guest(0)) == Ok(()), "not again");
            {
                let guard = rcu::read_lock();
                let found = table.get(&guard, &Number(0)).ok_or(ENOENT)?;
                ensure!(Arc::ptr_eq(&found.house, &house), "another one was found");
            }
            ensure!(
                table.remove(&Number(0)) && table.remove(&Number(1)),
                "not removed"
            );
            testing::wait_for_readers();
            ensure!(!house.place.is_taken(), "its place is not given back");
            let left = house.left.load(Relaxed);
            ensure!(left == 4 * round, "{} dropped, not {}", left, 4 * round);
        }
        // From here on only the table keeps it.
        ensure!(table.insert_placed(guest(0)) == Ok(()), "not at last");
        drop(house);
        ensure!(table.remove(&Number(0)), "not removed at last");
        testing::wait_for_readers();
        ensure!(table.is_empty(), "not empty");
        Ok(())
    }

    /// Entries that bring their node along: given back after they were removed, refused or left to
    /// the table; a node that is in use, or part of something else, is left alone.
    #[test]
    fn nodes_of_their_own() -> Result {
        let table = Arc::pin_init(Table::<Arc<Numbered>>::new(2, 100), GFP_KERNEL)?;
        let one = Numbered::new(1, None)?;
        let twin = Numbered::new(1, None)?;
        let guest = Numbered::new(2, Some(twin.clone()))?;
        for _ in 0..3 {
            ensure!(table.insert_placed(one.clone()) == Ok(()), "not inserted");
            ensure!(one.node.is_taken(), "its node is not used");
            ensure!(
                table.insert_placed(twin.clone()) == Err(InsertError::Exists),
                "twice"
            );
            ensure!(table.insert_placed(guest.clone()) == Ok(()), "no room");
            ensure!(
                !twin.node.is_taken() && !guest.node.is_taken(),
                "a node is used that is not in the table"
            );
            // Its node is not free before the grace period is over: this time one is allocated.
            ensure!(table.remove(&Number(1)), "not removed");
            ensure!(table.insert_placed(one.clone()) == Ok(()), "not again");
            {
                let guard = rcu::read_lock();
                let found = table.get(&guard, &Number(1)).ok_or(ENOENT)?;
                ensure!(Arc::ptr_eq(found, &one), "another one was found");
                let found = table.get(&guard, &Number(2)).ok_or(ENOENT)?;
                ensure!(Arc::ptr_eq(found, &guest), "another guest was found");
            }
            ensure!(
                table.remove(&Number(1)) && table.remove(&Number(2)),
                "not removed"
            );
            ensure!(
                one.node.is_taken(),
                "given back before its readers are gone"
            );
            testing::wait_for_readers();
            ensure!(!one.node.is_taken(), "its node is not given back");
        }
        table.set_cap(0);
        ensure!(
            table.insert_placed(twin.clone()) == Err(InsertError::Full) && !twin.node.is_taken(),
            "not full"
        );
        table.set_cap(100);
        ensure!(table.insert_placed(one.clone()) == Ok(()), "not at last");
        drop(table);
        ensure!(!one.node.is_taken(), "the table is gone, not so its hold");
        drop(guest);
        for left in [one, twin] {
            ensure!(
                Arc::into_unique_or_drop(left).is_some(),
                "an entry is still held"
            );
        }
        Ok(())
    }

    /// A table under change: found while it is there, not afterwards, through growth and shrinking,
    /// and what was found stays as long as the reader does.
    #[test]
    fn table() -> Result {
        const MOST: u32 = 3000;
        let table = Arc::pin_init(
            Table::<(Number, Arc<u32>)>::new(2, MOST as usize),
            GFP_KERNEL,
        )?;
        let first = Arc::new(1000u32, GFP_KERNEL)?;
        ensure!(
            table.insert((Number(0), first.clone())).is_ok(),
            "not inserted"
        );
        {
            let guard = rcu::read_lock();
            let (_, found) = table.get(&guard, &Number(0)).ok_or(ENOENT)?;
            ensure!(table.remove(&Number(0)), "not removed");
            ensure!(table.get(&guard, &Number(0)).is_none(), "still found");
            ensure!(**found == 1000, "it has changed under its reader");
        }
        for n in 0..MOST {
            ensure!(
                table.insert((Number(n), Arc::new(n, GFP_KERNEL)?)) == Ok(()),
                "{} not inserted",
                n
            );
            if n % 100 == 0 {
                table.fit();
            }
        }
        let extra = Arc::new(0u32, GFP_KERNEL)?;
        ensure!(
            table.insert((Number(MOST), extra.clone())) == Err(InsertError::Full),
            "not full"
        );
        table.set_cap(MOST as usize + 1);
        ensure!(
            table.insert((Number(7), extra.clone())) == Err(InsertError::Exists),
            "twice"
        );
        ensure!(table.buckets() > 4, "it has not grown");
        {
            let guard = rcu::read_lock();
            for n in 0..MOST {
                ensure!(
                    table.get(&guard, &Number(n)).is_some_and(|(_, v)| **v == n),
                    "{} not found",
                    n
                );
            }
            let mut seen = 0u64;
            table.for_each(&guard, |(key, value)| {
                if key.0 == **value {
                    seen += u64::from(key.0) + 1;
                }
            });
            ensure!(
                seen == u64::from(MOST) * u64::from(MOST + 1) / 2,
                "not each of them once"
            );
            let mut count = 0;
            for bucket in 0..table.buckets() {
                let _ = table.for_bucket(&guard, bucket, |_| {
                    count += 1;
                    ControlFlow::<()>::Continue(())
                });
            }
            ensure!(count == MOST, "{} in the buckets", count);
        }
        for n in 0..MOST {
            ensure!(
                table.remove(&Number(n)) && !table.remove(&Number(n)),
                "{} not removed",
                n
            );
            if n % 100 == 0 {
                table.fit();
            }
        }
        ensure!(table.is_empty(), "{} are left", table.len());
        drop(table);
        // What the table had is given back after a grace period.
        testing::wait_for_readers();
        ensure!(
            Arc::into_unique_or_drop(first).is_some(),
            "a value was not given back"
        );
        Ok(())
    }
}
