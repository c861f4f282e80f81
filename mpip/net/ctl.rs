// SPDX-License-Identifier: GPL-2.0

//! What netlink asks for.

use crate::{
    net::{
        ctl_paths::standing,
        ctl_rules,
        ns::Namespace, //
    },
    proto::{
        addr::{
            Addr,
            Endpoint,
            Prefix, //
        },
        counters,
        crypto::PSK_LEN,
        packet,
        params::{
            self,
            Param, //
        },
        seq,
        session::{
            LaneState,
            State,
            Unused,
            MAX_LANES, //
        }, //
    },
    sys::{
        atomic::MarkedAccess,
        clock,
        genl::{
            uapi::*,
            Dump,
            Message,
            Request, //
        }, //
        table::{
            Entry,
            Table, //
        },
    },
};
use core::ops::ControlFlow;
use kernel::{
    c_str,
    prelude::*,
    sync::rcu, //
};

/// The version of the module.
pub const VERSION: &str = "0.1.0";

/// Rules of a session that are told at most: there has to be room for the rest.
const RULES_SHOWN: usize = 32;

fn endpoint(m: &mut Message<'_>, attr: u32, end: &Endpoint) -> Result {
    m.nest(attr, |m| {
        m.bytes(MPIP_A_ENDPOINT_ADDR, end.addr.as_bytes())?;
        m.u16(MPIP_A_ENDPOINT_PORT, end.port)
    })
}

fn psk_of(request: &Request<'_>) -> Option<[u8; PSK_LEN]> {
    request.bytes(MPIP_A_NODE_PSK)?.try_into().ok()
}

/// Status.
pub fn get(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let instance = namespace.instance();
    let has_psk = namespace.has_psk(psk_of(request).as_ref());
    request.reply(MPIP_CMD_GET as u8, |m| {
        m.text(MPIP_A_NODE_VERSION, VERSION)?;
        m.u8(MPIP_A_NODE_ENABLED, u8::from(instance.is_some()))?;
        let (peers, sessions, paths, active) =
            instance.as_ref().map_or((0, 0, 0, 0), |i| i.totals());
        if let Some(instance) = &instance {
            m.u64(MPIP_A_NODE_ID, instance.identity.node)?;
            m.u16(MPIP_A_NODE_UDP_PORT, instance.ports.own())?;
        }
        m.u32(MPIP_A_NODE_PEERS, peers)?;
        m.u32(MPIP_A_NODE_SESSIONS, sessions)?;
        m.u32(MPIP_A_NODE_PATHS, paths)?;
        m.u32(MPIP_A_NODE_ACTIVE_PATHS, active)?;
        m.u8(MPIP_A_NODE_HAS_PSK, u8::from(has_psk))
    })
}

/// Sets the pre-shared key, enables or disables the instance.
pub fn set(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let psk = psk_of(request);
    let enabled = request.u8(MPIP_A_NODE_ENABLED);
    if psk.is_none() && enabled.is_none() {
        let why = c_str!("the attribute enabled is missing, or psk");
        return Err(request.refuse(EINVAL, 0, why));
    }
    if let Some(psk) = psk {
        namespace.set_psk(psk)?;
    }
    match enabled {
        Some(0) => namespace.disable(true),
        Some(_) => namespace.enable()?,
        None => {}
    }
    Ok(())
}

/// Sets a parameter.
pub fn param_set(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let Some(name) = request.text(MPIP_A_PARAM_NAME) else {
        return Err(request.refuse(EINVAL, 0, c_str!("the attribute name is missing")));
    };
    let Some(param) = Param::from_name(name) else {
        return Err(request.refuse(ENOENT, MPIP_A_PARAM_NAME, c_str!("no such parameter")));
    };
    let Some(value) = request.u64(MPIP_A_PARAM_VALUE) else {
        return Err(request.refuse(EINVAL, 0, c_str!("the attribute value is missing")));
    };
    if !param.spec().allows(value) {
        return Err(request.refuse(
            ERANGE,
            MPIP_A_PARAM_VALUE,
            c_str!("the value is out of the parameter's range"),
        ));
    }
    let before = namespace.shared.settings.get(param);
    namespace.shared.settings.set(param, value);
    if let Some(instance) = namespace.instance() {
        if matches!(param, Param::Interfaces | Param::Energy) {
            instance.interfaces_changed();
        }
        instance.apply_caps();
        // Not with any parameter: while the port is taken each time would bring another one.
        if param == Param::Port {
            instance.change_own_port();
        }
        if param == Param::Encap && value != before {
            instance.ways_changed();
        }
    }
    Ok(())
}

fn prefix_of(request: &mut Request<'_>) -> Result<Prefix> {
    let addr = request.bytes(MPIP_A_PREFIX_ADDR).and_then(Addr::from_bytes);
    let Some(addr) = addr else {
        return Err(request.refuse(
            EINVAL,
            MPIP_A_PREFIX_ADDR,
            c_str!("the address must have 4 or 16 bytes"),
        ));
    };
    let most = Prefix::longest(&addr);
    let len = request.u8(MPIP_A_PREFIX_LEN).unwrap_or(most);
    if len > most {
        return Err(request.refuse(
            EINVAL,
            MPIP_A_PREFIX_LEN,
            c_str!("the prefix is longer than the address"),
        ));
    }
    Ok(Prefix { addr, len })
}

/// Adds a prefix.
pub fn prefix_add(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let prefix = prefix_of(request)?;
    namespace.add_prefix(prefix).map_err(|error| {
        let why = if error == EEXIST {
            c_str!("the prefix is there already")
        } else {
            c_str!("too many prefixes")
        };
        request.refuse(error, MPIP_A_PREFIX_ADDR, why)
    })
}

/// Removes a prefix.
pub fn prefix_del(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let prefix = prefix_of(request)?;
    namespace
        .remove_prefix(prefix)
        .map_err(|error| request.refuse(error, MPIP_A_PREFIX_ADDR, c_str!("no such prefix")))
}

/// Dumps a list whose length is fixed: `n` items from the cursor on.
fn list(dump: &mut Dump<'_>, n: usize, f: impl Fn(&mut Message<'_>, usize) -> Result) -> Result {
    let from = usize::try_from(dump.cursor()[0]).unwrap_or(0);
    for i in from..n {
        dump.add(|m| f(m, i))?;
        dump.cursor()[0] = i.saturating_add(1) as i64;
    }
    Ok(())
}

/// Dumps a table, bucket by bucket.
fn table<V: Entry>(
    dump: &mut Dump<'_>,
    table: &Table<V>,
    f: impl Fn(&mut Message<'_>, &V) -> Result,
) -> Result {
    dump.set_generation(table.generation());
    let [bucket, done, ..] = *dump.cursor();
    let mut done = usize::try_from(done).unwrap_or(0);
    let mut bucket = usize::try_from(bucket).unwrap_or(0);
    while bucket < table.buckets() {
        let rcu = rcu::read_lock();
        let mut i = 0usize;
        let flow = table.for_bucket(&rcu, bucket, |v| {
            if i >= done {
                if let Err(error) = dump.add(|m| f(m, v)) {
                    return ControlFlow::Break(error);
                }
            }
            i = i.saturating_add(1);
            ControlFlow::Continue(())
        });
        if let ControlFlow::Break(error) = flow {
            dump.cursor()[0] = bucket as i64;
            dump.cursor()[1] = i as i64;
            return Err(error);
        }
        done = 0;
        bucket = bucket.saturating_add(1);
    }
    dump.cursor()[0] = i64::MAX;
    dump.cursor()[1] = 0;
    Ok(())
}

/// Peers.
pub fn peers(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    let Some(instance) = namespace.instance() else {
        return Ok(());
    };
    let now = clock::now_us64() / 1000;
    table(dump, &instance.peers, |m, peer| {
        m.u64(MPIP_A_PEER_ID, peer.node)?;
        m.u32(MPIP_A_PEER_SESSIONS, peer.sessions.read_once())?;
        m.u32(MPIP_A_PEER_PATHS, peer.path_count())?;
        let reach = *peer.reach.lock();
        m.u16(MPIP_A_PEER_UDP_PORT, reach.udp_port)?;
        m.u64(MPIP_A_PEER_AGE_MS, now.saturating_sub(peer.born_ms))?;
        m.u64(MPIP_A_PEER_IDLE_MS, now.saturating_sub(peer.heard_ms()))?;
        for entry in reach.addrs.iter().flatten() {
            endpoint(
                m,
                MPIP_A_PEER_ADDRESS,
                &Endpoint {
                    addr: entry.addr,
                    port: entry.port,
                },
            )?;
        }
        Ok(())
    })
}

/// Sessions with their lanes.
pub fn sessions(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    let Some(instance) = namespace.instance() else {
        return Ok(());
    };
    table(dump, &instance.sessions, |m, session| {
        let now_us = clock::now_us64();
        let now = now_us / 1000;
        m.u32(MPIP_A_SESSION_ID, session.id)?;
        m.u64(MPIP_A_SESSION_PEER, session.peer.node)?;
        m.u8(MPIP_A_SESSION_PROTOCOL, session.proto())?;
        let tuple = session.tuple();
        endpoint(m, MPIP_A_SESSION_LOCAL, &tuple.local)?;
        endpoint(m, MPIP_A_SESSION_REMOTE, &tuple.remote)?;
        m.u8(MPIP_A_SESSION_INITIATOR, u8::from(session.initiator))?;
        m.u64(MPIP_A_SESSION_AGE_MS, now.saturating_sub(session.born_ms))?;
        m.u64(MPIP_A_SESSION_IDLE_MS, u64::from(session.idle_ms()))?;
        let (next, held, bytes) = session.rx().lock().status();
        let next = if session.proto() == packet::TCP {
            // While there is one path only, nobody follows the stream but the acknowledgments.
            match next {
                Some(next) if session.is_multi() => next,
                _ => session.acked(),
            }
        } else {
            next.unwrap_or(0)
        };
        m.u32(MPIP_A_SESSION_NEXT_SEQ, next)?;
        m.u32(MPIP_A_SESSION_HELD, held)?;
        m.u32(MPIP_A_SESSION_HELD_BYTES, bytes)?;
        let state = session.inner.lock().s.state;
        let state = match state {
            _ if session.is_closing() => 2,
            State::Opening => 0,
            State::Open => 1,
            State::Closing => 2,
        };
        m.u32(MPIP_A_SESSION_STATE, state)?;
        // They may have changed since its last packet.
        let (rules, _) = namespace.shared.rules.get();
        let flow = session.flow();
        for (number, _) in rules.candidates(&flow).take(RULES_SHOWN) {
            m.u32(MPIP_A_SESSION_RULE, number)?;
        }
        instance.judge(session);
        for index in 0..MAX_LANES {
            let (tuple, path, lane_state, weight, tx, unused) = {
                let mut inner = session.inner.lock();
                if inner.s.lane(index).is_none() {
                    continue;
                }
                let treatment = inner.treatment();
                let unused = match session.is_multi() {
                    true => inner.s.why_unused(now_us as u32, index, &treatment),
                    false => None,
                };
                let Some(lane) = inner.s.lane(index) else {
                    continue;
                };
                (
                    lane.tuple(),
                    lane.path.clone(),
                    lane.state,
                    inner.s.weight(index),
                    (lane.tx_packets, lane.tx_bytes),
                    unused,
                )
            };
            let rcu = rcu::read_lock();
            let entry = instance.wire.get(&rcu, &tuple);
            let rx = entry.map_or((0, 0), |e| e.rx());
            let more = if index == 0 { session.tx() } else { (0, 0) };
            let tx = (tx.0.wrapping_add(more.0), tx.1.wrapping_add(more.1));
            let state = match lane_state {
                LaneState::Pending => MPIP_PATH_STATE_PENDING,
                // Kept back by a rule, and would work.
                LaneState::Active
                    if standing(&path) == MPIP_PATH_STATE_ACTIVE
                        && unused.is_some_and(Unused::is_policy) =>
                {
                    MPIP_PATH_STATE_STANDBY
                }
                LaneState::Active => standing(&path),
                LaneState::Gone => MPIP_PATH_STATE_GONE,
            };
            m.nest(MPIP_A_SESSION_LANE, |m| {
                m.u8(MPIP_A_LANE_PATH, path.id)?;
                m.u8(MPIP_A_LANE_ORIGINAL, u8::from(index == 0))?;
                endpoint(m, MPIP_A_LANE_LOCAL, &tuple.local)?;
                endpoint(m, MPIP_A_LANE_REMOTE, &tuple.remote)?;
                m.u32(MPIP_A_LANE_STATE, state)?;
                m.u32(MPIP_A_LANE_WEIGHT, u32::from(weight))?;
                m.u64(MPIP_A_LANE_TX_PACKETS, tx.0)?;
                m.u64(MPIP_A_LANE_TX_BYTES, tx.1)?;
                m.u64(MPIP_A_LANE_RX_PACKETS, rx.0)?;
                m.u64(MPIP_A_LANE_RX_BYTES, rx.1)?;
                match unused {
                    Some(unused) => m.u32(MPIP_A_LANE_UNUSED, ctl_rules::reason(unused)),
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    })
}

/// Counters.
pub fn counters(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    list(dump, counters::COUNT, |m, i| {
        let Some(counter) = counters::ALL.get(i) else {
            return Ok(());
        };
        m.text(MPIP_A_COUNTER_NAME, counter.name())?;
        m.u64(
            MPIP_A_COUNTER_VALUE,
            namespace.shared.counters.get(*counter),
        )
    })
}

/// Parameters.
pub fn params(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    list(dump, params::COUNT, |m, i| {
        let Some(param) = params::ALL.get(i) else {
            return Ok(());
        };
        let spec = param.spec();
        m.text(MPIP_A_PARAM_NAME, spec.name)?;
        m.u64(MPIP_A_PARAM_VALUE, namespace.shared.settings.get(*param))?;
        m.u64(MPIP_A_PARAM_DEFAULT, spec.default)?;
        m.u64(MPIP_A_PARAM_MINIMUM, spec.min)?;
        m.u64(MPIP_A_PARAM_MAXIMUM, spec.max)?;
        if !spec.unit.is_empty() {
            m.text(MPIP_A_PARAM_UNIT, spec.unit)?;
        }
        if !spec.choices.is_empty() {
            m.text(MPIP_A_PARAM_CHOICES, spec.choices)?;
        }
        m.text(MPIP_A_PARAM_HELP, spec.help)
    })
}

/// The availability table.
pub fn avail(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    let Some(instance) = namespace.instance() else {
        return Ok(());
    };
    let now = clock::now_ms();
    let policy = instance.ask_policy();
    table(dump, &instance.avail, |m, (dest, entry)| {
        let state = {
            let mut state = entry.state.lock();
            state.silent(now, &policy);
            *state
        };
        m.bytes(MPIP_A_AVAIL_ADDR, dest.end.addr.as_bytes())?;
        m.u16(MPIP_A_AVAIL_PORT, dest.end.port)?;
        m.u8(MPIP_A_AVAIL_PROTOCOL, dest.proto)?;
        m.u32(MPIP_A_AVAIL_AVAILABILITY, state.state() as u32)?;
        m.u32(MPIP_A_AVAIL_QUERIES, u32::from(state.queries()))?;
        m.u64(
            MPIP_A_AVAIL_AGE_MS,
            u64::from(seq::age_ms(now, state.changed_ms())),
        )
    })
}

/// Prefixes.
pub fn prefixes(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    let control = namespace.control.lock();
    list(dump, control.prefixes.len(), |m, i| {
        let Some(prefix) = control.prefixes.get(i) else {
            return Ok(());
        };
        m.bytes(MPIP_A_PREFIX_ADDR, prefix.addr.as_bytes())?;
        m.u8(MPIP_A_PREFIX_LEN, prefix.len)
    })
}
