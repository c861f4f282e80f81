// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::avail::AskPolicy;
use mpip_host::proto::avail::Availability;
use mpip_host::proto::avail::Entry;

const POLICY: AskPolicy = AskPolicy {
    threshold: 3,
    retry_ms: 200,
    ttl_ms: 600_000,
};

/// Times at which a silent destination is asked, and when it is given up, from
/// `start` on.
fn silence(entry: &mut Entry, start: u32) -> (Vec<u32>, u32) {
    let mut asked = Vec::new();
    for ms in 0..10_000 {
        let now = start.wrapping_add(ms);
        if entry.silent(now, &POLICY) {
            return (asked, ms);
        }
        if entry.should_ask(now, &POLICY) {
            entry.asked(now);
            asked.push(ms);
        }
    }
    panic!("never given up");
}

#[test]
fn silent_destination() {
    for start in [0, 12345, u32::MAX - 300] {
        let mut entry = Entry::new(start);
        assert_eq!(entry.state(), Availability::Unknown);
        assert_eq!(silence(&mut entry, start), (vec![0, 200, 600], 1400));
        assert_eq!(entry.state(), Availability::Unavailable);
        assert_eq!(entry.queries(), 3);

        // The negative answer ages out, and asking starts anew.
        let given_up = start.wrapping_add(1400);
        assert_eq!(entry.changed_ms(), given_up);
        let last = given_up.wrapping_add(POLICY.ttl_ms - 1);
        assert!(!entry.should_ask(last, &POLICY));
        let again = last.wrapping_add(1);
        assert!(entry.should_ask(again, &POLICY));
        assert_eq!(silence(&mut entry, again), (vec![0, 200, 600], 1400));
    }
}

#[test]
fn answer_and_leave() {
    let mut entry = Entry::new(0);
    entry.asked(0);
    entry.asked(200);
    entry.answered(250);
    assert_eq!(entry.state(), Availability::Available);
    assert_eq!((entry.queries(), entry.changed_ms()), (0, 250));
    entry.answered(300);
    assert_eq!(entry.changed_ms(), 250);
    for now in [250, 1_000_000, u32::MAX] {
        assert!(!entry.should_ask(now, &POLICY));
        assert!(!entry.silent(now, &POLICY));
    }

    // One that left is asked again soon, and then less and less often.
    let mut now = 1000;
    entry.left(now);
    for hold in [1000, 2000, 4000, 8000] {
        assert_eq!(entry.state(), Availability::Unavailable);
        assert!(!entry.should_ask(now + hold - 1, &POLICY));
        now += hold;
        assert!(entry.should_ask(now, &POLICY));
        assert_eq!(silence(&mut entry, now), (vec![0, 200, 600], 1400));
        now += 1400;
    }
    for _ in 0..40 {
        now = now.wrapping_add(POLICY.ttl_ms);
        assert!(entry.should_ask(now, &POLICY));
        silence(&mut entry, now);
        now = now.wrapping_add(1400);
    }
    assert!(!entry.should_ask(now.wrapping_add(POLICY.ttl_ms - 1), &POLICY));
    entry.answered(now);
    assert_eq!(entry.state(), Availability::Available);
}

#[test]
fn one_that_answered_is_asked_again() {
    let mut entry = Entry::new(0);
    entry.answered(0);
    let mut asked = Vec::new();
    for now in 0..2000 {
        if entry.state() == Availability::Available && entry.may_repeat(now, &POLICY) {
            entry.asked(now);
            asked.push(now);
        }
    }
    assert_eq!(asked, [0, 200, 600]);
    assert_eq!(entry.state(), Availability::Unavailable);
    assert_eq!(entry.changed_ms(), 1400);
}

#[test]
fn option_is_left_out_for_a_while() {
    let mut entry = Entry::new(0);
    assert!(entry.may_use_option(0, &POLICY));
    entry.syn_timed_out(1000);
    assert!(!entry.may_use_option(1000, &POLICY));
    assert!(!entry.may_use_option(1000 + POLICY.ttl_ms - 1, &POLICY));
    assert!(entry.may_use_option(1000 + POLICY.ttl_ms, &POLICY));
    entry.answered(2000);
    assert!(entry.may_use_option(2000, &POLICY));
}

#[test]
fn many_questions_do_not_overflow() {
    let mut entry = Entry::new(0);
    let policy = AskPolicy {
        threshold: 255,
        retry_ms: u32::MAX,
        ttl_ms: u32::MAX,
    };
    for n in 0..1000 {
        entry.should_ask(n, &policy);
        entry.asked(n);
        entry.silent(n, &policy);
    }
    assert_eq!(entry.queries(), 255);
}

#[test]
fn idle() {
    let mut entry = Entry::new(5);
    assert_eq!(entry.idle_ms(15), 10);
    entry.touch(u32::MAX);
    assert_eq!(entry.idle_ms(15), 16);
}

#[test]
fn times_of_another_cpu() {
    // The one who looks read the clock before the one who asked did.
    for start in [3, 12345, u32::MAX] {
        let mut entry = Entry::new(start);
        let earlier = start.wrapping_sub(4);
        entry.asked(start);
        entry.touch(start);
        assert_eq!(entry.idle_ms(earlier), 0);
        assert!(!entry.should_ask(earlier, &POLICY));
        for _ in 1..POLICY.threshold {
            entry.asked(start);
        }
        assert!(!entry.silent(earlier, &POLICY));
        entry.left(start);
        assert!(!entry.should_ask(earlier, &POLICY));
        entry.syn_timed_out(start);
        assert!(!entry.may_use_option(earlier, &POLICY));
    }
}

#[test]
fn a_question_that_was_not_sent() {
    let mut entry = Entry::new(0);
    entry.asked(0);
    let second = entry.asked(200);
    assert_eq!(entry.queries(), 2);
    assert!(!entry.should_ask(201, &POLICY));
    entry.take_back(second);
    assert_eq!(entry.queries(), 1);
    assert!(entry.should_ask(201, &POLICY));
    assert_eq!(silence(&mut entry, 201), (vec![0, 400], 1200));
}
