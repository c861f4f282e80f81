// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::credit::Credit;

#[test]
fn the_window_is_larger_until_what_was_missing_has_come() {
    for start in [0u32, u32::MAX - 1_500] {
        let at = |n: u32| start.wrapping_add(n);
        let mut c = Credit::new();
        assert!(!c.is_wanted(at(0)));
        assert_eq!(c.take_back(at(0)), 0);
        assert!(c.sent_again(at(1_000)));
        assert!(c.is_wanted(at(999)));
        c.given(30);
        assert!(!c.is_wanted(at(999)));
        assert_eq!(c.take_back(at(999)), 0);
        assert_eq!(c.take_back(at(1_000)), 30);
        // Once.
        assert_eq!(c.take_back(at(1_000)), 0);
        assert!(c.sent_again(at(3_000)));
    }
}

#[test]
fn there_is_one_credit_for_all_that_is_missing() {
    let mut c = Credit::new();
    assert!(c.sent_again(1_000));
    assert!(!c.sent_again(3_000));
    c.given(7);
    // A part before that moves nothing.
    assert!(!c.sent_again(2_000));
    assert_eq!(c.take_back(2_999), 0);
    assert_eq!(c.take_back(3_000), 7);
}

#[test]
fn what_has_come_meanwhile_needs_no_credit() {
    let mut c = Credit::new();
    assert!(c.sent_again(1_000));
    // It is still to be given: nothing to be taken back.
    assert_eq!(c.take_back(5_000), 0);
    assert!(!c.is_wanted(1_000));
    assert!(c.sent_again(2_000));
    // TCP was not to be changed.
    assert!(c.is_wanted(1_500));
    c.given(0);
    assert!(c.sent_again(3_000));
}

#[test]
fn no_number_of_segments_stands_for_something_else() {
    let mut c = Credit::new();
    assert!(c.sent_again(1));
    c.given(u32::MAX);
    assert!(!c.is_wanted(0));
    assert_eq!(c.take_back(1), u32::MAX - 1);
}
