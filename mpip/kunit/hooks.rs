// SPDX-License-Identifier: GPL-2.0

//! The hooks: where they are, what may be touched, and what they do to packets of a host whose
//! peers are not known to speak MPIP. In the initial namespace, with a device of our own.

use super::bytes::{
    all,
    Spec,
    FORMS,
    TCP,
    UDP, //
};
use crate::{
    net::ns::Namespace,
    proto::{
        addr::{
            Addr,
            Endpoint, //
        },
        packet::{
            self,
            Packet, //
        },
        wire::option, //
    },
    sys::{
        clock,
        gate::{
            Gate,
            Way, //
        },
        pernet,
        testing::{
            self,
            Device,
            Flaw,
            Make, //
        }, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

const PRE_ROUTING: u32 = 0;
const POST_ROUTING: u32 = 4;
const MAKE: Make = Make {
    linear: 1 << 20,
    page: 4096,
    headroom: 128,
};

/// The initial namespace with MPIP on, however the kernel was started.
struct On {
    namespace: Arc<Namespace>,
    was_on: bool,
}

impl On {
    fn new() -> Result<On> {
        let namespace = pernet::get(testing::net()?).ok_or(ENODEV)?;
        let was_on = namespace.instance().is_some();
        namespace.enable()?;
        Ok(On { namespace, was_on })
    }
}

impl Drop for On {
    fn drop(&mut self) {
        if !self.was_on {
            self.namespace.disable(false);
        }
    }
}

fn hooked(hook: u32, priority: i32) -> [bool; 2] {
    [4, 6].map(|family| testing::is_hooked(family, hook, priority))
}

/// Sends bytes through the hooks, out or in, and returns what came through.
fn through(device: &Device, bytes: &[u8], make: Make, family: u8, out: bool) -> Result<KVec<u8>> {
    let own = testing::packet(bytes, make)?;
    let passed = if out {
        device.send(own, family)
    } else {
        device.arrive(own, family)
    };
    ensure!(passed, "it did not get through");
    let mut own = device.take().ok_or(ENOENT)?;
    ensure!(device.take().is_none(), "another one came through");
    all(&own.as_skb())
}

#[kunit_tests(mpip_hooks)]
mod tests {
    use super::*;

    /// Registered in both families where they belong, and gone when MPIP is off.
    #[test]
    fn places() -> Result {
        let on = On::new()?;
        let wire = || [hooked(PRE_ROUTING, -250), hooked(POST_ROUTING, 200)];
        ensure!(wire() == [[true; 2]; 2], "not there: {:?}", wire());
        on.namespace.disable(false);
        ensure!(wire() == [[false; 2]; 2], "still there: {:?}", wire());
        on.namespace.enable()?;
        ensure!(wire() == [[true; 2]; 2], "not there again: {:?}", wire());
        Ok(())
    }

    /// What leaves may be touched unless something speaks against it.
    #[test]
    fn may_be_touched_out() -> Result {
        let device = Device::new()?;
        let spec = Spec::new(4, TCP, 100);
        let mut own = spec.packet(MAKE)?;
        ensure!(
            device.may_touch(&mut own, true, Flaw::Sound),
            "a sound one may not"
        );
        ensure!(
            device.may_touch(&mut own, true, Flaw::KnownMark),
            "one with a mark that steers nothing may not"
        );
        for flaw in [
            Flaw::Mark,
            Flaw::Passing,
            Flaw::Tunnelled,
            Flaw::Forwarded,
            Flaw::Transformed,
            Flaw::Broadcast,
            Flaw::Multicast,
            Flaw::Local,
            Flaw::NoRoute,
            Flaw::NoDevice,
            Flaw::Loopback,
            Flaw::Protocol,
        ] {
            ensure!(
                !device.may_touch(&mut own, true, flaw),
                "{:?} may be touched",
                flaw
            );
            ensure!(
                device.may_touch(&mut own, true, Flaw::Sound),
                "not after {:?}",
                flaw
            );
        }
        let mut own = Spec::new(6, UDP, 100).packet(MAKE)?;
        ensure!(
            device.may_touch(&mut own, true, Flaw::Sound),
            "a sound one may not, IPv6"
        );
        for flaw in [Flaw::Mark, Flaw::Forwarded, Flaw::Transformed] {
            ensure!(
                !device.may_touch(&mut own, true, flaw),
                "{:?} may be touched, IPv6",
                flaw
            );
        }
        Ok(())
    }

    /// The same for what comes in.
    #[test]
    fn may_be_touched_in() -> Result {
        let device = Device::new()?;
        for family in [4, 6] {
            let mut own = Spec::new(family, TCP, 100).packet(MAKE)?;
            ensure!(
                device.may_touch(&mut own, false, Flaw::Sound),
                "a sound one may not"
            );
            for flaw in [
                Flaw::OtherHost,
                Flaw::NoRoute,
                Flaw::NoDevice,
                Flaw::Loopback,
            ] {
                ensure!(
                    !device.may_touch(&mut own, false, flaw),
                    "{:?} may be touched",
                    flaw
                );
            }
        }
        Ok(())
    }

    /// The first SYN to a destination asks, and is right; the same again does not, as the
    /// option may be why it was lost.
    #[test]
    fn a_syn_asks() -> Result {
        let _on = On::new()?;
        let device = Device::new()?;
        let make = Make {
            headroom: 0,
            ..MAKE
        };
        // Nobody has been asked there before.
        let spec = Spec {
            flags: packet::SYN,
            ..Spec::new(4, TCP, 0)
        };
        let mut before = spec.bytes()?;
        let packet = Packet::parse(&before, before.len(), 4).map_err(|_| EINVAL)?;
        let [a, b] = clock::random_bytes();
        let somebody = Endpoint {
            addr: Addr::V4([198, 18, a, b]),
            port: 443,
        };
        packet::rewrite(&mut before, &packet, &packet.src, &somebody, false);

        let after = through(&device, &before, make, 4, true)?;
        ensure!(
            after.len() == before.len() + option::LEN,
            "{} bytes",
            after.len()
        );
        let found = option::find(&after[40..64]);
        ensure!(found.is_some_and(|o| !o.answer), "no question in it");
        ensure!(
            after[40 + option::LEN..] == before[40..],
            "other options have changed"
        );
        ensure!(
            after[20..32] == before[20..32],
            "ports and numbers have changed"
        );
        let mut own = testing::packet(&after, MAKE)?;
        ensure!(own.ip_is_right(), "the IP header is wrong");
        ensure!(
            own.sum_is_right(20, after.len(), TCP, 4),
            "the sum is wrong"
        );

        let again = through(&device, &before, make, 4, true)?;
        ensure!(*again == *before, "asked again");
        Ok(())
    }

    /// Whatever is no part of a session passes as it is, in both directions.
    #[test]
    fn left_alone() -> Result {
        let _on = On::new()?;
        let device = Device::new()?;
        for (family, proto) in FORMS {
            for data in [0, 5, 900] {
                let spec = Spec::new(family, proto, data);
                let before = spec.bytes()?;
                for make in spec.makes() {
                    let after = through(&device, &before, make, family, false)?;
                    ensure!(*after == *before, "changed on its way in");
                    if proto == TCP {
                        // No socket sends it: nobody is asked about it.
                        let after = through(&device, &before, make, family, true)?;
                        ensure!(*after == *before, "changed on its way out");
                    }
                }
            }
        }
        Ok(())
    }

    /// Headers that lie about what follows, or that end too soon, pass as they are.
    #[test]
    fn garbled() -> Result {
        let _on = On::new()?;
        let device = Device::new()?;
        for (family, proto) in FORMS {
            let spec = Spec::new(family, proto, 60);
            let whole = spec.bytes()?;
            for n in 0..600 {
                let dice: [u8; 8] = clock::random_bytes();
                let mut bytes = KVec::with_capacity(whole.len(), GFP_KERNEL)?;
                // Its IP header is there and has the right version, as `ip_rcv` has seen to.
                let end = if n % 3 == 0 {
                    spec.l4() + usize::from(dice[0]) % (whole.len() - spec.l4())
                } else {
                    whole.len()
                };
                bytes.extend_from_slice(&whole[..end], GFP_KERNEL)?;
                for change in dice[1..].chunks(2).take(n % 4) {
                    let at = usize::from(change[0]) % bytes.len();
                    if at != 0 {
                        bytes[at] = *change.last().unwrap_or(&0);
                    }
                }
                if family == 4 {
                    bytes[0] = 0x40 | (5 + (dice[7] & 3));
                    // Options as long as they say.
                    if usize::from(bytes[0] & 15) * 4 > bytes.len() {
                        bytes[0] = 0x45;
                    }
                }
                let make = spec.makes()[n % 4];
                let make = Make {
                    linear: make.linear.max(spec.l4() + 20),
                    ..make
                };
                let after = through(&device, &bytes, make, family, false)?;
                ensure!(*after == *bytes, "changed on its way in");
            }
        }
        Ok(())
    }

    /// The gate takes no flow for one that differs from it by a little, which is as far from it as
    /// any other: a slot holds hash and time together.
    #[test]
    fn neighbours_are_strangers() -> Result {
        const FAR: u64 = 1 << 20; // more jiffies than a slot lives
        let gate = Gate::new()?;
        for (family, proto) in FORMS {
            let spec = Spec::new(family, proto, 100);
            let bytes = spec.bytes()?;
            let mut known = testing::packet(&bytes, MAKE)?;
            // Addresses and ports lie side by side.
            let ends = if family == 4 { 12..24 } else { 8..44 };
            for at in ends {
                for by in [1u8, 2, 14, 64, 128, 242, 255] {
                    let mut bytes = spec.bytes()?;
                    bytes[at] = bytes[at].wrapping_add(by);
                    let mut other = testing::packet(&bytes, MAKE)?;
                    for way in [Way::Out, Way::In] {
                        let packets = [&mut known, &mut other];
                        let far = testing::gate_distance(&gate, packets, family, proto, way);
                        ensure!(far >= FAR, "byte {} and {} more: {} apart", at, by, far);
                    }
                }
            }
            let mut same = testing::packet(&bytes, MAKE)?;
            let packets = [&mut known, &mut same];
            let far = testing::gate_distance(&gate, packets, family, proto, Way::Out);
            ensure!(far == 0, "the same flow: {} apart", far);
        }
        Ok(())
    }

    /// A packet that is held goes on where it would have gone, unless its device has gone.
    #[test]
    fn held() -> Result {
        let device = Device::new()?;
        let spec = Spec::new(4, TCP, 700);
        for make in spec.makes() {
            ensure!(device.hold(spec.packet(make)?, false), "not held");
            let mut own = device.take().ok_or(ENOENT)?;
            ensure!(*all(&own.as_skb())? == *spec.bytes()?, "it has changed");
            ensure!(device.hold(spec.packet(make)?, true), "not held");
            ensure!(device.take().is_none(), "it went on without its device");
        }
        Ok(())
    }
}
