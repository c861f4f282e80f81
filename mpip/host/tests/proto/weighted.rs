// SPDX-License-Identifier: GPL-2.0

use crate::common::config;
use mpip_host::proto::weighted;
use mpip_host::proto::weighted::Smooth;
use proptest::prelude::*;

/// Algorithm 1, line by line.
fn algorithm_1(weights: &mut [u16], queues: &[u32], step: u16) {
    let (mut w, s) = (weights.to_vec(), i64::from(step));
    let n = weights.len() as u64;
    for i in 0..weights.len() {
        let q_avg = queues.iter().map(|q| u64::from(*q)).sum::<u64>() / n;
        let mut w_i = i64::from(w[i]);
        if u64::from(queues[i]) <= q_avg {
            w_i += s;
            if w_i > 1000 {
                w_i = 1000;
            }
        } else {
            w_i -= s;
            if w_i < 1 {
                w_i = 1;
            }
        }
        w[i] = w_i as u16;
    }
    weights.copy_from_slice(&w);
}

#[test]
fn weights_in_the_beginning() {
    for (n, weight) in [
        (0, 1000),
        (1, 1000),
        (2, 500),
        (3, 333),
        (8, 125),
        (1001, 1),
    ] {
        assert_eq!(weighted::initial(n), weight);
    }
    assert_eq!(weighted::initial(usize::MAX), 1);
}

#[test]
fn adjustment() {
    let adjusted = |mut weights: Vec<u16>, queues: &[u32]| {
        weighted::adjust(&mut weights, queues, 10);
        weights
    };
    assert_eq!(adjusted(vec![500, 500], &[100, 200]), [510, 490]);
    assert_eq!(adjusted(vec![500, 500], &[100, 101]), [510, 490]);
    assert_eq!(adjusted(vec![500, 500], &[100, 100]), [510, 510]);
    assert_eq!(adjusted(vec![995, 5], &[0, 1]), [1000, 1]);
    assert_eq!(adjusted(vec![1000], &[7]), [1000]);
    assert_eq!(adjusted(vec![], &[]), []);
    assert_eq!(adjusted(vec![1, 2], &[]), [1, 2]);
    assert_eq!(adjusted(vec![1; 3], &[u32::MAX; 3]), [11; 3]);
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn as_algorithm_1(
        paths in proptest::collection::vec((1u16..=1000, any::<u32>()), 1..40),
        step in 1u16..=500,
        rounds in 1..20,
    ) {
        let (mut weights, queues): (Vec<u16>, Vec<u32>) = paths.into_iter().unzip();
        let mut expected = weights.clone();
        for _ in 0..rounds {
            weighted::adjust(&mut weights, &queues, step);
            algorithm_1(&mut expected, &queues, step);
            prop_assert_eq!(&weights, &expected);
            prop_assert!(weights.iter().all(|w| (weighted::MIN..=weighted::MAX).contains(w)));
        }
    }
}

const N: usize = 8;

#[test]
fn equal_weights_alternate() {
    let mut smooth = Smooth::<2>::new();
    let picks: Vec<_> = (0..6)
        .map(|_| smooth.pick(&[500, 500], 3, 1500).unwrap())
        .collect();
    assert!(picks == [0, 1, 0, 1, 0, 1] || picks == [1, 0, 1, 0, 1, 0]);
}

#[test]
fn only_who_may() {
    let mut smooth = Smooth::<N>::new();
    assert_eq!(smooth.pick(&[1; N], 0, 1500), None);
    assert_eq!(smooth.pick(&[1; N], 0xffff_ff00, 1500), None);
    for _ in 0..100 {
        assert_eq!(smooth.pick(&[1; N], 4, 1500), Some(2));
        assert!([1, 7].contains(&smooth.pick(&[0; N], 0x82, 1500).unwrap()));
    }
    // No path in particular is owed anything.
    let mut counts = [0; N];
    for _ in 0..8000 {
        counts[smooth.pick(&[125; N], 0xff, 1500).unwrap()] += 1;
    }
    assert!(
        counts.iter().all(|c| (990..=1010).contains(c)),
        "{counts:?}"
    );
}

#[test]
fn a_returning_path_brings_no_burst() {
    let mut smooth = Smooth::<2>::new();
    let mut run = |eligible, packets| {
        let picks = (0..packets).map(|_| smooth.pick(&[500, 500], eligible, 1500).unwrap());
        picks.filter(|p| *p == 1).count()
    };
    run(3, 100);
    assert_eq!(run(1, 100_000), 0);
    let after = run(3, 20);
    assert!((9..=11).contains(&after), "{after}");
    // Nor does one whose place was taken over.
    smooth.reset(1);
    smooth.reset(99);
    let after: usize = (0..20)
        .map(|_| smooth.pick(&[500, 500], 3, 1500).unwrap())
        .sum();
    assert!((9..=11).contains(&after), "{after}");
}

#[test]
fn roundings_do_not_add_up() {
    let mut smooth = Smooth::<N>::new();
    // A sum of weights for which the share of each is rounded down a lot.
    for _ in 0..300_000 {
        smooth.pick(&[65500; N], 0x7f, 1 << 19);
    }
    for _ in 0..20_000 {
        smooth.pick(&[125; N], 0x7f, 1500);
    }
    // The others have not fallen behind the one that was left out.
    let last = (0..80).filter(|_| smooth.pick(&[125; N], 0xff, 1500) == Some(N - 1));
    let last = last.count();
    assert!((9..=11).contains(&last), "{last}");
}

#[test]
fn old_debts_do_not_bind() {
    // Large packets while a path has weight 1, then equal weights.
    let mut smooth = Smooth::<2>::new();
    for _ in 0..3000 {
        smooth.pick(&[1000, 1], 3, 65_000);
    }
    let after: usize = (0..400)
        .map(|_| smooth.pick(&[500, 500], 3, 1500).unwrap())
        .sum();
    assert!((150..=250).contains(&after), "{after}");
}

/// Bytes that each path got, and its share of them, since the beginning.
#[derive(Clone, Copy, Default)]
struct Sums {
    got: [f64; N],
    due: [f64; N],
}

fn shares(
    weights: [u16; N],
    eligible: u32,
    lens: &[u32],
    smooth: &mut Smooth<N>,
) -> Result<(), TestCaseError> {
    let may = |i: usize| (eligible >> i) & 1 == 1;
    let total: f64 = (0..N)
        .filter(|i| may(*i))
        .map(|i| f64::from(weights[i]))
        .sum();
    let longest = f64::from(*lens.iter().max().unwrap());
    let mut sums = Sums::default();
    let mut low = Sums::default();
    let mut high = Sums::default();
    for len in lens {
        let path = smooth.pick(&weights, eligible, *len).unwrap();
        prop_assert!(may(path));
        sums.got[path] += f64::from(*len);
        for i in (0..N).filter(|i| may(*i)) {
            sums.due[i] += f64::from(*len) * f64::from(weights[i]) / total;
            let off = sums.got[i] - sums.due[i];
            low.got[i] = low.got[i].min(off);
            high.got[i] = high.got[i].max(off);
            // The difference over any run of packets is the difference of two
            // differences since the beginning.
            let worst = high.got[i] - low.got[i];
            prop_assert!(
                worst <= (N as f64 + 1.0) * longest,
                "{} {}",
                i,
                worst / longest
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn shares_follow_weights(
        weights in proptest::array::uniform8(1u16..=1000),
        eligible in 1u32..256,
        lens in proptest::collection::vec(prop_oneof![1u32..1500, 1u32..65536], 500),
    ) {
        shares(weights, eligible, &lens, &mut Smooth::new())?;
    }

    /// Also after any history.
    #[test]
    fn shares_after_changes(
        history in proptest::collection::vec(
            (proptest::array::uniform8(any::<u16>()), any::<u32>(), 1u32..65536),
            0..300,
        ),
        weights in proptest::array::uniform8(1u16..=1000),
        eligible in 1u32..256,
    ) {
        let mut smooth = Smooth::new();
        for (weights, eligible, len) in history {
            let path = smooth.pick(&weights, eligible, len);
            prop_assert_eq!(path.is_some(), eligible & 0xff != 0);
            prop_assert!(path.is_none_or(|p| (eligible >> p) & 1 == 1));
        }
        shares(weights, eligible, &[65536; 500], &mut smooth)?;
    }

    #[test]
    fn any_input(calls: Vec<([u16; 4], u32, u32)>) {
        let mut smooth = Smooth::<4>::new();
        for (weights, eligible, len) in calls {
            smooth.pick(&weights, eligible, len);
        }
    }
}
