// SPDX-License-Identifier: GPL-2.0

//! What netlink asks for: paths.

use crate::{
    net::{
        ctl_rules,
        instance::Instance,
        ns::Namespace,
        path::Path,
        peer::{
            Peer,
            MAX_PATHS, //
        },
        rows::Ids, //
    },
    proto::{
        interface::Wish,
        path::Standing,
        session::{
            PathInfo,
            Unused, //
        }, //
    },
    sys::{
        clock,
        genl::{
            uapi::*,
            Dump,
            Message,
            Request, //
        }, //
    },
};
use core::ops::ControlFlow;
use kernel::{
    c_str,
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
};

/// Paths of all peers. The cursor is the bucket, the peer within it and the path.
pub fn dump(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    let Some(instance) = namespace.instance() else {
        return Ok(());
    };
    dump.set_generation(instance.peers.generation());
    let [bucket, peer_index, path_index, _] = *dump.cursor();
    let (mut skip_peers, mut skip_paths) = (peer_index, path_index);
    for bucket in bucket..instance.peers.buckets() as i64 {
        let rcu = rcu::read_lock();
        let mut i = 0i64;
        let flow = instance.peers.for_bucket(&rcu, bucket as usize, |peer| {
            if i < skip_peers {
                i = i.saturating_add(1);
                return ControlFlow::Continue(());
            }
            for id in skip_paths as usize..MAX_PATHS {
                let Some(path) = peer.path_by_id(id) else {
                    continue;
                };
                let mtu = instance.mtu_of(path.ifindex()).min(path.mtu());
                let added = dump.add(|m| one_path(m, peer.node, &path, mtu));
                if let Err(error) = added {
                    *dump.cursor() = [bucket, i, id as i64, 0];
                    return ControlFlow::Break(error);
                }
            }
            skip_paths = 0;
            i = i.saturating_add(1);
            ControlFlow::Continue(())
        });
        if let ControlFlow::Break(error) = flow {
            return Err(error);
        }
        skip_peers = 0;
    }
    *dump.cursor() = [instance.peers.buckets() as i64, 0, 0, 0];
    Ok(())
}

/// The state of a path that may carry data, as netlink knows it.
pub fn standing(path: &Path) -> u32 {
    match path.standing() {
        _ if path.is_disabled() => MPIP_PATH_STATE_DISABLED,
        Standing::Good | Standing::Lossy | Standing::Doubtful => MPIP_PATH_STATE_ACTIVE,
        Standing::Suspect => MPIP_PATH_STATE_SUSPECT,
        Standing::Down => MPIP_PATH_STATE_GONE,
    }
}

fn one_path(m: &mut Message<'_>, node: u64, path: &Arc<Path>, mtu: u32) -> Result {
    let totals = path.totals(clock::now_us());
    let reserve = path.reserve();
    let works = standing(path) == MPIP_PATH_STATE_ACTIVE;
    let state = match path.is_confirmed() {
        true if works && reserve.is_some() => MPIP_PATH_STATE_STANDBY,
        true => standing(path),
        false if path.is_disabled() => MPIP_PATH_STATE_DISABLED,
        false if path.is_excluded() => MPIP_PATH_STATE_GONE,
        false => MPIP_PATH_STATE_PENDING,
    };
    m.u8(MPIP_A_PATH_ID, path.id)?;
    m.u64(MPIP_A_PATH_PEER, node)?;
    m.u32(MPIP_A_PATH_IFINDEX, path.ifindex())?;
    m.bytes(MPIP_A_PATH_LOCAL, path.local.as_bytes())?;
    m.bytes(MPIP_A_PATH_REMOTE, path.remote.as_bytes())?;
    m.u32(MPIP_A_PATH_STATE, state)?;
    let fixed = u32::from(path.fixed_weight());
    match fixed {
        0 => m.u32(MPIP_A_PATH_WEIGHT, u32::from(path.weight()))?,
        _ => {
            m.u32(MPIP_A_PATH_WEIGHT, fixed)?;
            m.u32(MPIP_A_PATH_SET_WEIGHT, fixed)?;
        }
    }
    if path.wish() != Wish::Active {
        m.u32(MPIP_A_PATH_SET_STATE, path.wish() as u32)?;
    }
    if mtu != u32::MAX {
        m.u32(MPIP_A_PATH_MTU, mtu)?;
    }
    if path.is_confirmed() {
        m.u32(MPIP_A_PATH_WAY, path.last_via() as u32)?;
    }
    if let Some(observed) = path.state.lock().observed {
        m.bytes(MPIP_A_PATH_OBSERVED, observed.end.addr.as_bytes())?;
        m.u16(MPIP_A_PATH_OBSERVED_PORT, observed.end.port)?;
        m.u16(MPIP_A_PATH_LOCAL_PORT, observed.port)?;
        m.u8(MPIP_A_PATH_LOCAL_PROTOCOL, observed.proto)?;
    }
    let silent = (state == MPIP_PATH_STATE_SUSPECT).then_some(MPIP_EVENT_REASON_SILENT);
    let excluded = path.is_excluded().then_some(MPIP_EVENT_REASON_EXCLUDED);
    let disabled = path.is_disabled().then_some(MPIP_EVENT_REASON_DISABLED);
    let reason = excluded.or(disabled).or(path.reason()).or(silent);
    let works = matches!(state, MPIP_PATH_STATE_ACTIVE | MPIP_PATH_STATE_STANDBY);
    if let Some(reason) = reason.filter(|_| !works) {
        m.u32(MPIP_A_PATH_REASON, reason)?;
    }
    if let Some(reserve) = reserve {
        m.u32(
            MPIP_A_PATH_UNUSED,
            ctl_rules::reason(Unused::Reserve(reserve)),
        )?;
    }
    m.u64(MPIP_A_PATH_TX_PACKETS, totals.tx_packets)?;
    m.u64(MPIP_A_PATH_TX_BYTES, path.tx_bytes())?;
    m.u64(MPIP_A_PATH_RX_PACKETS, totals.rx_packets)?;
    m.u64(MPIP_A_PATH_RX_BYTES, totals.rx_bytes)?;
    let (tx, rx, srtt, peer_rx, lost, learnt) = {
        let state = path.state.lock();
        let tx = state.tx.last().map(|_| {
            (
                state.tx.smoothed(),
                state.tx.min(),
                state.queue(),
                state.tx.max_queue(),
            )
        });
        let rx = state.rx.last().map(|_| state.rx.smoothed());
        (
            tx,
            rx,
            state.rtt.srtt(),
            (state.peer_rx_packets, state.peer_rx_bytes),
            state.lost,
            (state.rate(), state.queue_limit(), state.loss()),
        )
    };
    if let Some((delay, min, queue, max_queue)) = tx {
        m.s32(MPIP_A_PATH_DELAY_US, delay)?;
        m.s32(MPIP_A_PATH_MIN_DELAY_US, min)?;
        m.u32(MPIP_A_PATH_QUEUE_US, queue)?;
        m.u32(MPIP_A_PATH_MAX_QUEUE_US, max_queue)?;
    }
    if let Some(delay) = rx {
        m.s32(MPIP_A_PATH_RX_DELAY_US, delay)?;
    }
    m.u32(MPIP_A_PATH_SRTT_US, srtt)?;
    m.u64(MPIP_A_PATH_PEER_RX_PACKETS, peer_rx.0)?;
    m.u64(MPIP_A_PATH_PEER_RX_BYTES, peer_rx.1)?;
    m.u64(MPIP_A_PATH_LOST, lost)?;
    let (rate, queue_limit, loss) = learnt;
    if rate != 0 {
        m.u32(MPIP_A_PATH_RATE, rate)?;
    }
    if queue_limit != 0 {
        m.u32(MPIP_A_PATH_QUEUE_LIMIT_US, queue_limit)?;
    }
    m.u32(MPIP_A_PATH_UNANSWERED, loss.wrapping_mul(1000) / 1024)
}

/// A path and whose it is.
type Found = (Arc<Peer>, Arc<Path>);

/// The first path with this id, of the peer with this node id if one is given, and whether others
/// have one as well.
fn find(instance: &Instance, id: u8, node: Option<u64>) -> Option<(Found, bool)> {
    let rcu = rcu::read_lock();
    let of = |peer: &Arc<Peer>| Some((peer.clone(), peer.path_by_id(id.into())?));
    if let Some(node) = node {
        let found = instance.peers.get(&rcu, &Ids(node, 0)).and_then(of);
        return found.map(|found| (found, false));
    }
    let (mut first, mut several) = (None, false);
    instance.peers.for_each(&rcu, |peer| {
        if let Some(found) = of(peer) {
            several |= first.is_some();
            first.get_or_insert(found);
        }
    });
    Some((first?, several))
}

/// Changes what is wanted of a path: what is not there stays.
pub fn set(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let Some(id) = request.u8(MPIP_A_PATH_ID) else {
        return Err(request.refuse(EINVAL, 0, c_str!("the attribute id is missing")));
    };
    // The policy has looked at both.
    let wish = request.u32(MPIP_A_PATH_SET_STATE);
    let wish = wish.and_then(Wish::from_number);
    let weight = request.u32(MPIP_A_PATH_SET_WEIGHT);
    let weight = weight.and_then(|weight| u16::try_from(weight).ok());
    if wish.is_none() && weight.is_none() {
        let why = c_str!("the attribute set-state is missing, or set-weight");
        return Err(request.refuse(EINVAL, 0, why));
    }
    let Some(instance) = namespace.instance() else {
        let why = c_str!("no such path: MPIP is off here");
        return Err(request.refuse(ENOENT, MPIP_A_PATH_ID, why));
    };
    let node = request.u64(MPIP_A_PATH_PEER);
    let ((peer, path), several) = match find(&instance, id, node) {
        Some(found) => found,
        None => return Err(request.refuse(ENOENT, MPIP_A_PATH_ID, c_str!("no such path"))),
    };
    if several {
        let why = c_str!("several peers have a path with this id: say which peer");
        return Err(request.refuse(EINVAL, MPIP_A_PATH_ID, why));
    }
    if let Some(weight) = weight {
        path.fix_weight(weight);
    }
    let Some(wish) = wish else { return Ok(()) };
    instance.wish(&peer, &path, wish);
    let works =
        |other: Arc<Path>| !Arc::ptr_eq(&other, &path) && other.is_confirmed() && other.is_usable();
    let mut others = (0..MAX_PATHS).filter_map(|id| peer.path_by_id(id));
    if wish == Wish::Disabled && !others.any(works) {
        let why = c_str!("no other path to the peer works now: sessions without one go on here");
        request.remark(why);
    }
    Ok(())
}
