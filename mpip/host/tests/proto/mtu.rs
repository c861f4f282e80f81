// SPDX-License-Identifier: GPL-2.0

//! Path MTUs in a word.

use mpip_host::proto::mtu::LearntMtu;
use proptest::prelude::*;

#[test]
fn nothing_is_nothing() {
    assert_eq!(LearntMtu::from_word(LearntMtu::NONE), None);
}

proptest! {
    #[test]
    fn a_word_says_what_was_put_into_it(mtu in 1u16.., silent: bool, until_ms in 0u64..1 << 47) {
        let learnt = LearntMtu { mtu, silent, until_ms };
        prop_assert_eq!(LearntMtu::from_word(learnt.to_word()), Some(learnt));
    }
}
