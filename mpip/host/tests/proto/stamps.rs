// SPDX-License-Identifier: GPL-2.0

//! Time stamps of segments that waited.

use mpip_host::proto::stamps::Stamps;

/// Hands segments of 10 bytes over; returns the stamps that TCP sees.
fn seen(stamps: &mut Stamps, acked: u32, segments: &[(u32, u32)]) -> Vec<u32> {
    segments
        .iter()
        .map(|(start, stamp)| {
            let other = stamps.pass(acked, *start, start.wrapping_add(10), *stamp);
            other.unwrap_or(*stamp)
        })
        .collect()
}

#[test]
fn what_waited_behind_a_later_one_gets_its_stamp() {
    let mut stamps = Stamps::new(100);
    // The hole at 110 is filled by a retransmission with stamp 50.
    let starts = (100..).step_by(10);
    let stamps_sent = [7, 50, 8, 9, 51, 51];
    let segments: Vec<_> = starts.zip(stamps_sent).collect();
    let want = [7, 50, 50, 50, 51, 51];
    assert_eq!(seen(&mut stamps, 100, &segments), want);
}

#[test]
fn what_tcp_does_not_remember_changes_nothing() {
    let mut stamps = Stamps::new(100);
    // Behind a hole: TCP keeps it and does not take over its stamp.
    assert_eq!(seen(&mut stamps, 100, &[(120, 50), (100, 7)]), [50, 7]);
    // What TCP has acknowledged meanwhile is no hole any more.
    assert_eq!(seen(&mut stamps, 130, &[(130, 60), (140, 8)]), [60, 60]);
}

#[test]
fn old_segments_and_wrapping() {
    let mut stamps = Stamps::new(u32::MAX - 4);
    let segments = [(u32::MAX - 4, u32::MAX), (5, 3), (15, u32::MAX)];
    assert_eq!(seen(&mut stamps, u32::MAX - 4, &segments), [u32::MAX, 3, 3]);
    // A copy of the past does not go back.
    assert_eq!(seen(&mut stamps, 25, &[(5, 2), (25, 3)]), [3, 3]);
}
