// SPDX-License-Identifier: GPL-2.0

//! What is wanted of interfaces.

use crate::common::config;
use mpip_host::proto::interface::Budget;
use mpip_host::proto::interface::Candidate;
use mpip_host::proto::interface::Flaw;
use mpip_host::proto::interface::Meter;
use mpip_host::proto::interface::Name;
use mpip_host::proto::interface::Phases;
use mpip_host::proto::interface::Power;
use mpip_host::proto::interface::Reserve;
use mpip_host::proto::interface::Role;
use mpip_host::proto::interface::Saver;
use mpip_host::proto::interface::Settings;
use mpip_host::proto::interface::Wish;
use proptest::prelude::*;

#[test]
fn names_are_what_the_kernel_takes() {
    for good in ["eth0", "wwan0.7", "a", "fifteen-letters", "..."] {
        assert_eq!(Name::new(good.as_bytes()).unwrap().as_str(), good);
    }
    for bad in [
        "",
        ".",
        "..",
        "sixteen-letters-",
        "a b",
        "a/b",
        "a:b",
        "a\tb",
        "a\x0bb",
        "a\0b",
    ] {
        assert_eq!(Name::new(bad.as_bytes()), None, "{bad:?}");
    }
    let name = Name::new(&[b'a', 0xff]).unwrap();
    assert_eq!(name.as_str(), "?");
    assert_eq!(name.as_bytes_with_nul()[..3], [b'a', 0xff, 0]);
}

#[test]
fn roles() {
    let plain = Settings::PLAIN;
    let backup = Settings {
        backup: true,
        cost: 7,
        ..plain
    };
    assert_eq!(Role::new(&plain, false, false, false), Role::PLAIN);
    let reserve =
        |settings: &Settings, spent, thrift| Role::new(settings, false, spent, thrift).reserve;
    // What somebody has said counts before what has come about.
    assert_eq!(reserve(&backup, true, true), Some(Reserve::Backup));
    assert_eq!(reserve(&plain, true, true), Some(Reserve::Budget));
    assert_eq!(reserve(&plain, false, true), Some(Reserve::Energy));
    assert_eq!(Role::new(&backup, false, false, false).cost, 7);
    for (enrolled, excluded, listed, used) in [
        (false, false, false, true),
        (true, false, false, true),
        (false, true, false, false),
        (false, false, true, false),
        (true, false, true, true),
        (false, true, true, false),
    ] {
        let settings = Settings {
            enrolled,
            excluded,
            ..plain
        };
        assert_eq!(settings.flaw(), None);
        let role = Role::new(&settings, listed, false, false);
        assert_eq!(role.excluded, !used, "{settings:?} {listed}");
    }
    let both = Settings {
        enrolled: true,
        excluded: true,
        ..plain
    };
    assert_eq!(both.flaw(), Some(Flaw::Both));
    for reason in [
        Reserve::Backup,
        Reserve::Budget,
        Reserve::Energy,
        Reserve::Peer,
        Reserve::Standby,
    ] {
        assert_eq!(Reserve::from_number(reason as u32), Some(reason));
    }
    assert_eq!(Reserve::from_number(0), None);
    assert_eq!(Reserve::from_number(6), None);
    for wish in [Wish::Active, Wish::Standby, Wish::Disabled] {
        assert_eq!(Wish::from_number(wish as u32), Some(wish));
    }
    assert_eq!(Wish::from_number(3), None);
}

const BUDGET: Budget = Budget {
    bytes: 1000,
    period_ms: 60_000,
};

#[test]
fn a_budget_is_used_up_and_comes_back() {
    let mut meter = Meter::new(5_000, Some((2, 100_000)));
    assert!(!meter.look(6_000, Some((2, 100_400)), &BUDGET));
    assert_eq!((meter.used(), meter.is_spent()), (400, false));
    // 600 bytes are left, at 400 a second: half of that time, at most a second.
    assert_eq!(meter.look_in(6_000, &BUDGET), 750);
    assert!(meter.look(7_000, Some((2, 101_000)), &BUDGET));
    assert_eq!((meter.used(), meter.is_spent()), (1000, true));
    assert!(!meter.look(8_000, Some((2, 101_500)), &BUDGET));
    assert_eq!(meter.used(), 1500);
    assert_eq!(meter.left_ms(8_000, &BUDGET), 57_000);
    // The end of the period is not missed.
    assert_eq!(meter.look_in(64_900, &BUDGET), 100);
    assert!(!meter.look(64_999, Some((2, 101_500)), &BUDGET));
    assert!(meter.look(65_000, Some((2, 101_500)), &BUDGET));
    assert_eq!((meter.used(), meter.is_spent()), (0, false));
    assert_eq!(meter.left_ms(65_000, &BUDGET), 60_000);
    // Several may pass unseen; the next begins where it would have.
    assert!(!meter.look(65_000 + 150_000, Some((2, 101_500)), &BUDGET));
    assert_eq!(meter.left_ms(215_000, &BUDGET), 30_000);
}

#[test]
fn a_budget_outlives_its_interface() {
    let mut meter = Meter::new(0, Some((2, 700)));
    let mut look = |now, seen| {
        meter.look(now, seen, &BUDGET);
        meter.used()
    };
    assert_eq!(look(1000, Some((2, 800))), 100);
    // It goes, and another one comes by that name, which counts from the beginning.
    assert_eq!(look(2000, None), 100);
    assert_eq!(look(3000, Some((3, 50))), 150);
    assert_eq!(look(4000, Some((3, 80))), 180);
    // So does a driver that was started anew, and one that comes without having gone.
    assert_eq!(look(5000, Some((3, 20))), 200);
    assert_eq!(look(6000, Some((4, 7))), 207);
    // One that was not there when the budget was set.
    let mut meter = Meter::new(0, None);
    meter.look(1000, Some((5, 30)), &BUDGET);
    assert_eq!(meter.used(), 30);
}

#[test]
fn a_change_of_the_budget_counts() {
    let mut meter = Meter::new(0, Some((2, 0)));
    assert!(meter.look(1000, Some((2, 5000)), &BUDGET));
    let more = Budget {
        bytes: 6000,
        ..BUDGET
    };
    assert!(meter.look(1100, Some((2, 5000)), &more));
    assert!(meter.look(1200, Some((2, 5000)), &BUDGET));
    let none = Budget { bytes: 0, ..BUDGET };
    assert!(meter.look(1300, Some((2, 5000)), &none));
    assert!(!meter.is_spent());
    meter.set_used(999);
    assert!(!meter.look(1400, Some((2, 5000)), &BUDGET));
    assert!(meter.look(1500, Some((2, 5001)), &BUDGET));
}

/// From a paper on mobile MPTCP: 1.24 Mb/s at 1.16 Mb/J by 3G, 1.55 Mb/s at 1.44 Mb/J by Wi-Fi.
const MODEM: Power = Power {
    base_mw: 1069,
    bit_nj: 0,
};
const WIFI: Power = Power {
    base_mw: 1076,
    bit_nj: 0,
};

#[test]
fn bits_per_joule() {
    // Bytes in ten seconds.
    let modem = MODEM.bits_per_joule(1_550_000, 10_000);
    let wifi = WIFI.bits_per_joule(1_937_500, 10_000);
    assert!(modem.abs_diff(1_160_000) < 2_000, "{modem}");
    assert!(wifi.abs_diff(1_440_000) < 2_000, "{wifi}");
    // Nothing said: one watt. With so much for each bit alone, the rate makes no difference.
    let none = Power {
        base_mw: 0,
        bit_nj: 0,
    };
    assert_eq!(none.bits_per_joule(125_000, 1000), 1_000_000);
    let bit = Power {
        base_mw: 0,
        bit_nj: 500,
    };
    for bytes in [1000, 1_000_000, 1 << 40] {
        assert_eq!(bit.bits_per_joule(bytes, 1000), 2_000_000);
    }
    let most = Power {
        base_mw: u32::MAX,
        bit_nj: u32::MAX,
    };
    for (bytes, ms) in [(u64::MAX, u64::MAX), (u64::MAX, 0), (0, u64::MAX), (0, 0)] {
        let _ = most.bits_per_joule(bytes, ms);
        let _ = none.bits_per_joule(bytes, ms);
    }
    assert_eq!(none.bits_per_joule(0, 1), 0);
}

const PHASES: Phases = Phases {
    probe_ms: 10_000,
    hold_ms: 100_000,
};

fn pair(modem: u64, wifi: u64) -> [Candidate; 2] {
    let one = |ifindex, bytes, power| Candidate {
        ifindex,
        bytes,
        power,
    };
    [one(2, modem, MODEM), one(3, wifi, WIFI)]
}

#[test]
fn the_thriftier_interface_is_used_until_both_are_tried_again() {
    let mut saver = Saver::new();
    assert!(!saver.look(1000, &PHASES, &pair(7_000_000, 0)));
    assert_eq!(saver.look_in(1000, &PHASES), 1000);
    assert!(!saver.look(10_999, &PHASES, &pair(8_000_000, 2_000_000)));
    assert_eq!(saver.look_in(10_999, &PHASES), 1);
    // What was carried before counts for nothing.
    assert!(saver.look(11_000, &PHASES, &pair(8_550_000, 1_940_000)));
    assert_eq!(saver.chosen(), Some(3));
    assert!(saver.spares(2) && !saver.spares(3));
    // Whatever becomes of them meanwhile.
    assert!(!saver.look(110_999, &PHASES, &pair(99_000_000, 2_000_000)));
    assert!(saver.look(111_000, &PHASES, &pair(99_000_000, 2_000_000)));
    assert_eq!(saver.chosen(), None);
    assert!(!saver.spares(2));
    // Out of the Wi-Fi's reach.
    assert!(saver.look(121_000, &PHASES, &pair(100_550_000, 2_100_000)));
    assert_eq!(saver.chosen(), Some(2));
}

#[test]
fn without_a_choice_nothing_is_saved() {
    let mut saver = Saver::new();
    let [modem, wifi] = pair(0, 0);
    // Nobody carries anything worth while: it is not known who would be better.
    saver.look(0, &PHASES, &[modem, wifi]);
    assert!(!saver.look(10_000, &PHASES, &pair(30_000, 30_000)));
    assert!(!saver.look(19_999, &PHASES, &pair(900_000, 30_000)));
    assert!(saver.look(20_000, &PHASES, &pair(900_000, 30_000)));
    assert_eq!(saver.chosen(), Some(2));
    // The one in use goes: all again, at once.
    assert!(saver.look(20_500, &PHASES, &[wifi]));
    assert_eq!(saver.chosen(), None);
    assert!(!saver.look(90_000, &PHASES, &[wifi]));
    // It is back: it is tried for the whole time.
    assert!(!saver.look(91_000, &PHASES, &pair(0, 0)));
    assert!(!saver.look(95_000, &PHASES, &pair(900_000, 0)));
    assert!(!saver.look(100_999, &PHASES, &pair(900_000, 0)));
    assert!(saver.look(101_000, &PHASES, &pair(900_000, 0)));
    // Switched off.
    assert!(saver.look(102_000, &PHASES, &[]));
    assert_eq!(saver.chosen(), None);
    assert!(!saver.look(103_000, &PHASES, &[]));
}

proptest! {
    #![proptest_config(config(300))]

    /// Whatever interfaces do and however late anybody looks: who is chosen is there, carried
    /// something, and nobody is worth more; it is never for longer than it may be.
    #[test]
    fn the_choice_is_right(
        steps in prop::collection::vec((1u64..30_000, any::<[u32; 4]>(), 0usize..5), 1..100),
        powers in any::<[(u32, u32); 4]>(),
    ) {
        let mut saver = Saver::new();
        let mut bytes = [0u64; 4];
        let (mut now, mut since) = (0, 0);
        let (mut begun, mut known) = (bytes, 0);
        for (step, more, there) in steps {
            now += step;
            for (sum, more) in bytes.iter_mut().zip(more) {
                *sum += u64::from(more >> 8);
            }
            let all: Vec<Candidate> = (0..there).map(|i| Candidate {
                ifindex: i as u32 + 1,
                bytes: bytes[i],
                power: Power { base_mw: powers[i].0 >> 16, bit_nj: powers[i].1 >> 20 },
            }).collect();
            let before = saver.chosen();
            let turned = saver.look(now, &PHASES, &all);
            prop_assert_eq!(turned, saver.chosen() != before);
            if let (Some(chosen), true) = (saver.chosen(), turned) {
                let worth = |c: &Candidate| {
                    let carried = c.bytes - begun[c.ifindex as usize - 1];
                    c.power.bits_per_joule(carried, now - since)
                };
                let one = all.iter().find(|c| c.ifindex == chosen).unwrap();
                prop_assert!(all.iter().all(|c| worth(c) <= worth(one)));
            }
            if let Some(chosen) = saver.chosen() {
                prop_assert!(all.len() > 1 && all.iter().any(|c| c.ifindex == chosen));
                let held = if turned { 0 } else { now - since };
                prop_assert!(held < PHASES.hold_ms);
            }
            let anew = all.len() < 2 || known == 0 || there > known;
            let probes = saver.chosen().is_none()
                && (before.is_some() || anew || now - since >= PHASES.probe_ms);
            if probes {
                (begun, known) = (bytes, there);
            }
            if turned || probes {
                since = now;
            }
        }
    }
}
