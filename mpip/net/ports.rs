// SPDX-License-Identifier: GPL-2.0

//! Ports that belong to MPIP: those of added lanes, and the node's own.

use crate::{
    new_bh_lock,
    proto::packet,
    sys::{
        atomic::MarkedAccess,
        bh::BhLock,
        net::Net,
        socket::ReservedPort, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic, //
};

/// Ports that are tried for a lane before more are reserved.
const TRIED: usize = 512;
/// Ports reserved for added lanes at most, per protocol.
const MAX_PORTS: usize = 4096;
/// Ports reserved at first, and at least at a time.
const FIRST_PORTS: usize = 16;

/// Ports reserved for one protocol.
struct Pool {
    held: KVec<ReservedPort>,
    /// Where the last search ended.
    at: usize,
}

impl Pool {
    const EMPTY: Pool = Pool {
        held: KVec::new(),
        at: 0,
    };
}

/// The reserved ports of a namespace.
#[pin_data]
pub struct Ports {
    // TCP, UDP.
    #[pin]
    pools: BhLock<[Pool; 2]>,
    // UDP, TCP.
    #[pin]
    own: BhLock<[Option<ReservedPort>; 2]>,
    own_port: Atomic<u32>,
}

impl Ports {
    /// Reserves the node's own port, `own` if it is free. Process context.
    pub fn new(net: Net, own: u16) -> impl PinInit<Ports> {
        let (own, own_port) = reserve_own(net, own);
        pin_init!(Ports {
            pools <- new_bh_lock!([Pool::EMPTY; 2], "mpip_ports"),
            own <- new_bh_lock!(own, "mpip_own_ports"),
            own_port: Atomic::new(u32::from(own_port)),
        })
    }

    /// The node's own port, UDP and TCP; 0 for none.
    pub fn own(&self) -> u16 {
        self.own_port.read_once() as u16
    }

    /// Takes another port of its own, `port` if it is free, and returns it. Lanes that there are
    /// stay. Process context.
    pub fn change_own(&self, net: Net, port: u16) -> u16 {
        let (mut fresh, port) = reserve_own(net, port);
        core::mem::swap(&mut *self.own.lock(), &mut fresh);
        self.own_port.write_once(u32::from(port));
        // The old ones go here, without the lock.
        port
    }

    /// A reserved port such that `free` accepts it, for lanes of `proto`; more are reserved if
    /// need be. None if there are too many, or no port is free. Process context.
    pub fn pick(&self, net: Net, proto: u8, mut free: impl FnMut(u16) -> bool) -> Option<u16> {
        let which = usize::from(proto == packet::UDP);
        if let Some(port) = self.search(which, &mut free) {
            return Some(port);
        }
        self.grow(net, proto, which)?;
        self.search(which, &mut free)
    }

    fn search(&self, which: usize, free: &mut impl FnMut(u16) -> bool) -> Option<u16> {
        let mut pools = self.pools.lock();
        let pool = pools.get_mut(which)?;
        let n = pool.held.len();
        for _ in 0..n.min(TRIED) {
            let next = pool.at.saturating_add(1);
            pool.at = if next < n { next } else { 0 };
            let port = pool.held.get(pool.at)?.port();
            if free(port) {
                return Some(port);
            }
        }
        None
    }

    /// Reserves a quarter more ports than there are, but some at least. Only the worker does this.
    fn grow(&self, net: Net, proto: u8, which: usize) -> Option<()> {
        let have = self.pools.lock().get(which)?.held.len();
        let want = (have / 4)
            .max(FIRST_PORTS)
            .min(MAX_PORTS.saturating_sub(have));
        // The next search begins with the new ones, which come first.
        let mut room = KVec::with_capacity(have.saturating_add(want), GFP_KERNEL).ok()?;
        for _ in 0..want {
            let Some(port) = ReservedPort::reserve(net, proto, 0) else {
                break;
            };
            let _ = room.push_within_capacity(port);
        }
        if room.is_empty() {
            return None;
        }
        let mut pools = self.pools.lock();
        let pool = pools.get_mut(which)?;
        for old in pool.held.drain_all() {
            let _ = room.push_within_capacity(old);
        }
        pool.at = room.len().saturating_sub(1);
        core::mem::swap(&mut pool.held, &mut room);
        Some(())
    }
}

/// Reserves a port for UDP and TCP, this one if it is free for UDP.
fn reserve_own(net: Net, port: u16) -> ([Option<ReservedPort>; 2], u16) {
    let udp = ReservedPort::reserve(net, packet::UDP, port)
        .or_else(|| ReservedPort::reserve(net, packet::UDP, 0));
    let port = udp.as_ref().map_or(0, ReservedPort::port);
    let tcp = if port == 0 {
        None
    } else {
        ReservedPort::reserve(net, packet::TCP, port)
    };
    ([udp, tcp], port)
}
