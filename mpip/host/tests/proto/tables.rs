// SPDX-License-Identifier: GPL-2.0

use mpip_host::proto::counters;
use mpip_host::proto::params;
use mpip_host::proto::params::Param;
use std::collections::HashSet;

#[test]
fn params() {
    let mut names = HashSet::new();
    let defaults = params::defaults();
    assert_eq!(params::TABLE.len(), params::COUNT);
    for (i, (param, spec)) in params::ALL.iter().zip(&params::TABLE).enumerate() {
        assert_eq!(param.index(), i);
        assert_eq!(param.spec(), spec);
        assert_eq!(defaults[i], spec.default);
        assert_eq!(Param::from_name(spec.name.as_bytes()), Some(*param));
        assert!(names.insert(spec.name));
        assert!((1..=31).contains(&spec.name.len()));
        assert!(spec
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert!(spec.allows(spec.default) && spec.allows(spec.min) && spec.allows(spec.max));
        assert!(!spec.allows(spec.max + 1));
        assert!(
            spec.help.starts_with(|c: char| c.is_ascii_uppercase()) && spec.help.ends_with('.')
        );
        if !spec.choices.is_empty() {
            let count = spec.choices.split(',').count() as u64;
            assert_eq!(spec.max - spec.min + 1, count, "{}", spec.name);
            assert_eq!(spec.unit, "");
        }
    }
    assert_eq!(Param::from_name(b""), None);
    assert_eq!(Param::from_name(b"no_such_thing"), None);
    assert_eq!(Param::from_name(b"weight_step"), Some(Param::WeightStep));
    assert_eq!(Param::WeightStep.spec().default, 10);
}

#[test]
fn counters() {
    let mut names = HashSet::new();
    for (i, counter) in counters::ALL.iter().enumerate() {
        assert_eq!(counter.index(), i);
        assert_eq!(counters::NAMES[i], counter.name());
        assert!(names.insert(counter.name()));
        assert!(counter
            .name()
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b == b'-'));
    }
    assert_eq!(names.len(), counters::COUNT);
}
