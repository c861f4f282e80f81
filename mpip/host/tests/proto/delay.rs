// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::delay::Delay;
use mpip_host::proto::delay::Rtt;
use proptest::prelude::*;

const S: u32 = 1_000_000;

#[test]
fn first_samples() {
    let mut delay = Delay::new();
    assert_eq!(
        (delay.queue(), delay.max_queue(), delay.last()),
        (0, 0, None)
    );
    delay.sample(5, 10_000);
    assert_eq!(
        (delay.smoothed(), delay.min(), delay.queue()),
        (10_000, 10_000, 0)
    );
    delay.sample(6, 18_000);
    assert_eq!(
        (delay.smoothed(), delay.min(), delay.queue()),
        (11_000, 10_000, 1000)
    );
    assert_eq!((delay.max_queue(), delay.deviation()), (8000, 2000));
    delay.sample(7, 3_000);
    assert_eq!(
        (delay.smoothed(), delay.min(), delay.queue()),
        (10_000, 3000, 7000)
    );
    assert_eq!(delay.max_queue(), 8000);
    assert_eq!(delay.last(), Some(7));
}

#[test]
fn converges_to_a_constant() {
    for (from, to) in [(0, 7), (7, 0), (-3, 4), (0, 100_000), (100_000, -5)] {
        let mut delay = Delay::new();
        delay.sample(0, from);
        for now in 1..200 {
            delay.sample(now, to);
        }
        assert!((delay.smoothed() - to).abs() <= 1, "{from} {to}");
        assert!(delay.deviation() <= 4);
    }
}

#[test]
fn minimum_and_maximum_age_out() {
    for start in [0, u32::MAX - 35 * S] {
        let mut delay = Delay::new();
        let at = |s: u32| start.wrapping_add(s * S);
        delay.sample(at(0), 1000);
        delay.sample(at(1), 90_000);
        for s in 2..20 {
            delay.sample(at(s), 5000);
            assert_eq!((delay.min(), delay.max_queue()), (1000, 89_000), "{s}");
        }
        for s in 20..60 {
            delay.sample(at(s), 5000);
        }
        assert_eq!((delay.min(), delay.max_queue()), (5000, 0));
    }
}

#[test]
fn a_long_silence_forgets() {
    // Also one of which 32 bits show only a little.
    for gap in [31 * S, 40 * 60 * S] {
        let mut delay = Delay::new();
        delay.sample(100, 1000);
        delay.sample(100u32.wrapping_add(gap), 5000);
        assert_eq!(delay.min(), 5000);
    }
}

#[test]
fn a_clock_that_was_set_starts_anew() {
    for jump in [11_000_000, -11_000_000, i32::MIN, i32::MAX] {
        let mut delay = Delay::new();
        delay.sample(0, 1000);
        delay.sample(1, 2000);
        delay.sample(2, 1000i32.wrapping_add(jump));
        assert_eq!(delay.smoothed(), 1000i32.wrapping_add(jump));
        assert_eq!(
            (delay.queue(), delay.max_queue(), delay.deviation()),
            (0, 0, 0)
        );
    }
}

#[test]
fn comparison_of_paths() {
    let (mut a, mut b) = (Delay::new(), Delay::new());
    assert_eq!(a.behind(&b), None);
    a.sample(0, i32::MIN + 10);
    assert_eq!(a.behind(&b), None);
    b.sample(0, i32::MAX - 10);
    assert_eq!(a.behind(&b), Some(21));
    assert_eq!(b.behind(&a), Some(-21));
}

proptest! {
    #![proptest_config(config(500))]

    /// The clocks' offset changes nothing but the offset in the results.
    #[test]
    fn offset_cancels(
        offset: i32,
        start: u32,
        samples in proptest::collection::vec(
            (prop_oneof![9 => 0u32..3_000_000, 1 => 0u32..40_000_000], 0i32..400_000),
            1..200,
        ),
    ) {
        let (mut plain, mut shifted) = (Delay::new(), Delay::new());
        let mut now = start;
        let mut history: Vec<(u32, i32)> = Vec::new();
        for (gap, d) in samples {
            now = now.wrapping_add(gap);
            history.push((now, d));
            plain.sample(now, d);
            shifted.sample(now, d.wrapping_add(offset));
            prop_assert_eq!(shifted.smoothed(), plain.smoothed().wrapping_add(offset));
            prop_assert_eq!(shifted.min(), plain.min().wrapping_add(offset));
            prop_assert_eq!(shifted.queue(), plain.queue());
            prop_assert_eq!(shifted.max_queue(), plain.max_queue());
            prop_assert_eq!(shifted.deviation(), plain.deviation());

            // The minimum covers the last 20 s and nothing older than 30 s.
            let least = |span: u32| {
                let recent = |(at, _): &&(u32, i32)| now.wrapping_sub(*at) <= span;
                history.iter().filter(recent).map(|(_, d)| *d).min()
            };
            prop_assert!(Some(plain.min()) <= least(20 * S));
            prop_assert!(Some(plain.min()) >= least(30 * S));
            prop_assert!(plain.smoothed() >= 0 && plain.smoothed() < 400_000);
            prop_assert!(plain.queue() <= 400_000 && plain.max_queue() <= 400_000);
        }
    }

    #[test]
    fn any_samples(samples: Vec<(u32, i32)>) {
        let mut delay = Delay::new();
        for (now, d) in samples {
            delay.sample(now, d);
            let _ = (delay.queue(), delay.max_queue(), delay.deviation(), delay.min());
        }
    }

    #[test]
    fn rtt_as_in_the_rfc(samples in proptest::collection::vec(0u32..5_000_000, 1..100)) {
        let mut rtt = Rtt::new();
        let (mut srtt, mut rttvar) = (0.0, 0.0);
        for (i, r) in samples.iter().enumerate() {
            rtt.sample(*r);
            let r = f64::from(*r);
            if i == 0 {
                (srtt, rttvar) = (r, r / 2.0);
            } else {
                rttvar = 0.75 * rttvar + 0.25 * f64::abs(srtt - r);
                srtt = 0.875 * srtt + 0.125 * r;
            }
            prop_assert!((f64::from(rtt.srtt()) - srtt).abs() <= 2.0);
            prop_assert!((f64::from(rtt.rttvar()) - rttvar).abs() <= 4.0);
            prop_assert!((f64::from(rtt.timeout()) - srtt - 4.0 * rttvar).abs() <= 20.0);
        }
    }
}

#[test]
fn rtt_extremes() {
    let mut rtt = Rtt::new();
    assert!(!rtt.is_sampled());
    assert_eq!((rtt.srtt(), rtt.timeout()), (0, S));
    for sample in [u32::MAX, 0, u32::MAX, 0, 0] {
        rtt.sample(sample);
    }
    assert!(rtt.srtt() <= 60 * S && rtt.timeout() <= 300 * S);
    for _ in 0..500 {
        rtt.sample(20_000);
    }
    assert!(rtt.srtt().abs_diff(20_000) <= 1 && rtt.rttvar() <= 1);
}
