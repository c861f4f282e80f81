// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use std::collections::HashSet;
use std::net::IpAddr;

fn addr(text: &str) -> Addr {
    match text.parse().unwrap() {
        IpAddr::V4(a) => Addr::V4(a.octets()),
        IpAddr::V6(a) => Addr::V6(a.octets()),
    }
}

#[test]
fn usable_remotes() {
    for text in [
        "1.1.1.1",
        "10.0.0.1",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.0.1",
        "169.255.0.1",
        "192.168.1.255",
        "223.255.255.255",
        "240.0.0.1",
        "255.255.255.254",
        "2001:db8::1",
        "fd00::1",
        "64:ff9b::102:304",
        "fec0::1",
        "::1:0:0:0",
    ] {
        assert!(addr(text).is_usable_remote(), "{text}");
    }
    for text in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.1",
        "169.254.255.255",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "::",
        "::1",
        "::1.2.3.4",
        "::ffff:1.2.3.4",
        "fe80::1",
        "febf::1",
        "ff00::",
        "ff02::1",
        "ffff::1",
    ] {
        assert!(!addr(text).is_usable_remote(), "{text}");
    }
}

#[test]
fn bytes() {
    for text in ["1.2.3.4", "2001:db8::1"] {
        let a = addr(text);
        assert_eq!(Addr::from_bytes(a.as_bytes()), Some(a));
    }
    assert_eq!(addr("1.2.3.4").family(), 4);
    assert_eq!(addr("::1").family(), 6);
    for len in [0, 3, 5, 15, 17] {
        assert_eq!(Addr::from_bytes(&vec![1; len]), None);
    }
}

#[test]
fn encoding_is_injective() {
    let mut seen = HashSet::new();
    let addrs = [
        addr("1.2.3.4"),
        addr("4.3.2.1"),
        addr("102:304::"),
        addr("::1"),
    ];
    let mut count = 0;
    for proto in [6, 17] {
        for local in addrs {
            for remote in addrs {
                for ports in [(1, 2), (2, 1), (0x100, 0)] {
                    let t = Tuple {
                        proto,
                        local: Endpoint {
                            addr: local,
                            port: ports.0,
                        },
                        remote: Endpoint {
                            addr: remote,
                            port: ports.1,
                        },
                    };
                    assert_eq!(t.reversed().reversed(), t);
                    assert!(seen.insert(t.encode()));
                    count += 1;
                }
            }
        }
    }
    assert_eq!(seen.len(), count);
}
