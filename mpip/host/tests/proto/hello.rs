// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use crate::common::Host;
use mpip_host::proto::addr::Addr;
use mpip_host::proto::addr::Endpoint;
use mpip_host::proto::addr::Tuple;
use mpip_host::proto::hello::node_id;
use mpip_host::proto::hello::Identity;
use mpip_host::proto::hello::EPOCH_SECONDS;
use proptest::prelude::*;

fn identity(n: u8) -> Identity {
    Identity::new(&Host, [n; 32], [n ^ 0x5a; 16])
}

fn tuple(port: u16) -> Tuple {
    let end = |host, port| Endpoint {
        addr: Addr::V4([192, 0, 2, host]),
        port,
    };
    Tuple {
        proto: 17,
        local: end(1, port),
        remote: end(2, 5004),
    }
}

#[test]
fn ids_belong_to_keys() {
    let (a, b) = (identity(1), identity(2));
    assert_eq!(a.node, node_id(&Host, &a.public));
    assert_ne!(a.node, b.node);
    assert_ne!(a.node, node_id(&Host, &b.public));
    assert_eq!(identity(1).node, a.node);
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn nonces_expire(start in 0..1u64 << 40, later in 0..400u64, salt in any::<u16>()) {
        let id = identity(1);
        let (t, node_a, nonce_a) = (tuple(1000), 77, 78);
        let a = id.nonce_a(&Host, &t, start, salt);
        let b = id.nonce_b(&Host, &t, start, salt, node_a, nonce_a);
        let now = start + later;
        let good = id.check_a(&Host, &t, now, a);
        prop_assert_eq!(good, id.check_b(&Host, &t, now, node_a, nonce_a, b));
        if later <= EPOCH_SECONDS {
            prop_assert!(good, "too early");
        }
        if later >= 2 * EPOCH_SECONDS {
            prop_assert!(!good, "too late");
        }
        // They come from the past only.
        if start >= 2 * EPOCH_SECONDS {
            prop_assert!(!id.check_a(&Host, &t, start - 2 * EPOCH_SECONDS, a));
        }
    }

    #[test]
    fn nonces_are_for_one_exchange(salt in any::<u16>(), bit in 0..64u32, now in 0..1u64 << 40) {
        let (id, other) = (identity(1), identity(2));
        let t = tuple(1000);
        let a = id.nonce_a(&Host, &t, now, salt);
        let b = id.nonce_b(&Host, &t, now, salt, 77, 78);
        prop_assert!(id.check_a(&Host, &t, now, a));
        prop_assert!(id.check_b(&Host, &t, now, 77, 78, b));
        for wrong in [tuple(1001), t.reversed(), Tuple { proto: 6, ..t }] {
            prop_assert!(!id.check_a(&Host, &wrong, now, a));
            prop_assert!(!id.check_b(&Host, &wrong, now, 77, 78, b));
        }
        prop_assert!(!other.check_a(&Host, &t, now, a));
        prop_assert!(!other.check_b(&Host, &t, now, 77, 78, b));
        prop_assert!(!id.check_b(&Host, &t, now, 76, 78, b));
        prop_assert!(!id.check_b(&Host, &t, now, 77, 79, b));
        // One kind does not pass for the other.
        prop_assert!(!id.check_b(&Host, &t, now, 0, 0, a));
        prop_assert!(!id.check_a(&Host, &t, now, b));
        prop_assert!(!id.check_a(&Host, &t, now, a ^ (1 << bit)));
        prop_assert!(!id.check_b(&Host, &t, now, 77, 78, b ^ (1 << bit)));
        prop_assert_ne!(a, id.nonce_a(&Host, &t, now, salt ^ 1));
    }
}
