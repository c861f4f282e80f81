// SPDX-License-Identifier: GPL-2.0

//! Small sets as masks.

use mpip_host::proto::bits::bits;

#[test]
fn the_members_come_from_the_least_on() {
    assert_eq!(bits(0).next(), None);
    assert!(bits(0x8000_0105).eq([0, 2, 8, 31]));
    assert!(bits(u32::MAX).eq(0..32));
}
