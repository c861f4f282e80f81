// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use crate::common::Host;
use mpip_host::proto::wire::option;
use mpip_host::proto::wire::option::SynOption;
use proptest::prelude::*;

const NONCE: u64 = 0x0102_0304_0506_0708;
const ASK: [u8; 12] = [253, 12, 0x4d, 0x50, 1, 2, 3, 4, 5, 6, 7, 8];

/// What Linux puts into a SYN.
const LINUX: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
];

#[test]
fn literal() {
    let ask = SynOption {
        answer: false,
        nonce: NONCE,
    };
    assert_eq!(option::emit(&ask), ASK);
    assert_eq!(option::find(&ASK), Some(ask));
    let answer = SynOption {
        answer: true,
        nonce: option::answer_nonce(&Host, NONCE),
    };
    assert_eq!(answer.nonce, 0x6a42_f57c_1b32_bb09);
    let bytes = option::emit(&answer);
    assert_eq!(bytes[..4], [253, 12, 0x4d, 0x51]);
    assert_eq!(option::find(&bytes), Some(answer));
}

#[test]
fn among_others() {
    let nonce = |options: &[u8]| option::find(options).map(|o| o.nonce);
    assert_eq!(nonce(&[&LINUX[..], &ASK].concat()), Some(NONCE));
    assert_eq!(nonce(&[&ASK, &LINUX[..]].concat()), Some(NONCE));
    assert_eq!(nonce(&[&[1, 1, 1][..], &ASK].concat()), Some(NONCE));
    // Another experiment before ours.
    let other = [253, 4, 0xf9, 0x89];
    assert_eq!(nonce(&[&other[..], &ASK].concat()), Some(NONCE));
    assert_eq!(nonce(&LINUX), None);
    assert_eq!(nonce(&[]), None);
}

#[test]
fn malformed() {
    for front in [&[0][..], &[5][..], &[5, 0][..], &[5, 1][..], &[5, 200][..]] {
        assert_eq!(option::find(&[front, &ASK].concat()), None, "{front:?}");
    }
    for len in 0..ASK.len() {
        assert_eq!(option::find(&ASK[..len]), None);
    }
    let mut longer = ASK.to_vec();
    longer.push(0);
    longer[1] = 13;
    assert_eq!(option::find(&longer), None);
}

#[test]
fn mss() {
    assert_eq!(option::mss(&LINUX), Some((2, 1460)));
    assert_eq!(option::mss(&[1, 1, 2, 4, 1, 0]), Some((4, 256)));
    assert_eq!(option::mss(&[2, 4, 1]), None);
    assert_eq!(option::mss(&[2, 3, 1]), None);
    assert_eq!(option::mss(&[0, 2, 4, 1, 0]), None);
    assert_eq!(option::mss(&ASK), None);
}

#[test]
fn timestamp() {
    assert_eq!(option::timestamp(&LINUX), Some((8, 0x0102_0304)));
    // What Linux puts into every other segment.
    let usual = [1, 1, 8, 10, 0xff, 0xfe, 0xfd, 0xfc, 9, 9, 9, 9];
    assert_eq!(option::timestamp(&usual), Some((4, 0xfffe_fdfc)));
    // At an odd offset.
    assert_eq!(option::timestamp(&usual[1..]), Some((3, 0xfffe_fdfc)));
    // The first one counts.
    let two = [&usual[..], &[8, 10, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
    assert_eq!(option::timestamp(&two), Some((4, 0xfffe_fdfc)));
    // Behind another option, whose bytes look like it.
    let hidden = [&[253, 12][..], &usual[2..]].concat();
    assert_eq!(option::timestamp(&hidden), None);
    assert_eq!(
        option::timestamp(&[&hidden[..], &usual].concat()),
        Some((16, 0xfffe_fdfc))
    );
    // Of another length, cut short, behind the end.
    for len in [0, 1, 2, 6, 9, 11, 200] {
        let mut other = [&usual[..], &[1; 4]].concat();
        other[3] = len;
        assert_eq!(option::timestamp(&other), None, "{len}");
    }
    for len in 0..usual.len() {
        assert_eq!(option::timestamp(&usual[..len]), None, "{len}");
    }
    assert_eq!(option::timestamp(&[&[0][..], &usual].concat()), None);
    assert_eq!(option::timestamp(&ASK), None);
}

proptest! {
    #![proptest_config(config(5000))]

    #[test]
    fn random_options(options in proptest::collection::vec(any::<u8>(), 0..=40)) {
        option::find(&options);
        if let Some((at, value)) = option::timestamp(&options) {
            prop_assert_eq!(&options[at - 2..at], &[8, 10][..]);
            prop_assert_eq!(&options[at..at + 4], &value.to_be_bytes()[..]);
            prop_assert!(options.len() >= at + 8);
        }
        if let Some((at, value)) = option::mss(&options) {
            prop_assert_eq!(&options[at..at + 2], &value.to_be_bytes()[..]);
        }
    }

    #[test]
    fn a_timestamp_among_others(
        front in proptest::collection::vec((0u8..=255, 2u8..8), 0..4),
        value: u32,
        behind: Vec<u8>,
    ) {
        let mut options = Vec::new();
        for (kind, len) in front {
            match kind {
                // The end of the list, or one byte.
                0 | 1 => options.push(1),
                // One of another length is none.
                _ => options.extend([&[kind, len][..], &[8; 6][..usize::from(len) - 2]].concat()),
            }
        }
        let at = options.len() + 2;
        options.extend([8, 10]);
        options.extend(value.to_be_bytes());
        options.extend([0xaa; 4]);
        options.extend(behind);
        prop_assert_eq!(option::timestamp(&options), Some((at, value)));
        prop_assert_eq!(option::timestamp(&options[..at + 7]), None);
    }

    #[test]
    fn small_lengths(options in proptest::collection::vec(0u8..6, 0..=40)) {
        option::find(&options);
        if let Some((at, value)) = option::mss(&options) {
            prop_assert_eq!(&options[at - 2..at], &[2, 4][..]);
            prop_assert_eq!(&options[at..at + 2], &value.to_be_bytes()[..]);
        }
    }
}
