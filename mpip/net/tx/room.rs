// SPDX-License-Identifier: GPL-2.0

//! Whether there is a way on a lane now, and how long a packet may be there.

use super::link_lost;
use crate::{
    net::{
        instance::Instance,
        path::Path, //
    },
    proto::{
        packet::{
            self,
            Packet, //
        },
        path::Standing,
        session::{
            Lane,
            PathInfo, //
        },
        wire::option,
        wrap::Via, //
    },
    sys::{
        route::Dst,
        skb::{
            Csum,
            Skb, //
        }, //
    },
};
use kernel::sync::Arc;

/// Whether a packet can leave on a lane as it is, with other addresses.
pub fn is_whole(skb: &Skb<'_>, lane: &Lane<Arc<Path>, Dst>) -> bool {
    lane.ways.current() == Via::Raw
        && lane
            .route
            .as_ref()
            .is_some_and(|route| skb.fits(route.mtu().min(lane.path.mtu())))
}

/// Whether a lane has a route and the packet fits it. TCP segments can be cut to fit.
pub fn lane_fits(
    instance: &Instance,
    skb: &Skb<'_>,
    packet: &Packet,
    lane: &mut Lane<Arc<Path>, Dst>,
) -> bool {
    lane_has_room(instance, skb, packet, lane, 0)
}

/// As [`lane_fits`], with so many bytes more.
pub fn lane_has_room(
    instance: &Instance,
    skb: &Skb<'_>,
    packet: &Packet,
    lane: &mut Lane<Arc<Path>, Dst>,
    more: usize,
) -> bool {
    room(instance, lane, more).is_some_and(|room| fits_into(skb, packet, room))
}

/// How long a packet may be that takes a lane, with so many bytes more, if there is a route.
pub(super) fn room(
    instance: &Instance,
    lane: &mut Lane<Arc<Path>, Dst>,
    more: usize,
) -> Option<u32> {
    if !lane.route.as_ref().is_some_and(Dst::is_valid) {
        lane.route = Dst::lookup(instance.net, lane.path.ifindex(), &lane.tuple());
    }
    let route = lane.route.as_ref()?;
    if !route.is_ready() {
        link_lost(instance, &lane.path);
        return None;
    }
    let mtu = route.mtu().min(lane.path.mtu()) as usize;
    let outer = lane.ways.current().overhead().saturating_add(more);
    Some(mtu.saturating_sub(outer) as u32)
}

/// Whether a packet fits, or can be cut into pieces that do.
pub(super) fn fits_into(skb: &Skb<'_>, packet: &Packet, room: u32) -> bool {
    skb.fits(room) || packet.proto == packet::TCP && can_cut(skb, packet)
}

/// Whether a TCP packet can be cut into smaller segments.
fn can_cut(skb: &Skb<'_>, packet: &Packet) -> bool {
    let options = skb.head().get(packet.options());
    skb.csum() == Csum::Partial
        && packet.payload_len() > 1
        && !options.is_none_or(option::is_signed)
}

/// Whether the session's own way is there and does not swallow packets of this size.
/// `more` bytes are to be put behind it.
pub(super) fn original_has_room(
    instance: &Instance,
    skb: &Skb<'_>,
    lane: &Lane<Arc<Path>, Dst>,
    more: usize,
) -> bool {
    let ready = skb.is_ready();
    if !ready {
        link_lost(instance, &lane.path);
    }
    ready && original_carries(skb, lane, more)
}

/// Whether what takes the session's own way goes nowhere, for certain or in all likelihood.
pub(super) fn is_gone(skb: &Skb<'_>, path: &Arc<Path>, now: u32) -> bool {
    const SILENT_US: u32 = 1_000_000;
    let silent = || path.standing() <= Standing::Suspect && path.silent_us(now) >= SILENT_US;
    !skb.is_ready() || path.is_down() || silent()
}

/// Whether the session's own way does not swallow packets of this size with `more` bytes behind.
pub fn original_carries(skb: &Skb<'_>, lane: &Lane<Arc<Path>, Dst>, more: usize) -> bool {
    !lane.path.is_black_hole() || skb.fits(lane.path.mtu().saturating_sub(more as u32))
}
