// SPDX-License-Identifier: GPL-2.0

//! What netlink asks for: rules.

use crate::{
    net::{
        ns::Namespace,
        rules::{
            Counted,
            RuleError,
            Rules, //
        }, //
    },
    proto::{
        addr::{
            Addr,
            Prefix, //
        },
        interface::Reserve,
        policy::{
            Flaw,
            Interfaces,
            Limits,
            Match,
            Mode,
            Names,
            Priority,
            Rule,
            Span,
            Treatment, //
        },
        session::Unused, //
    },
    sys::{
        cgroup,
        genl::{
            uapi::*,
            Dump,
            Message,
            Request, //
        }, //
    },
};
use kernel::{
    c_str,
    prelude::*,
    str::CStr, //
};

/// An address and its length; all of it without one.
fn prefix_of(request: &mut Request<'_>, addr: u32, len: u32) -> Result<Option<Prefix>> {
    let Some(bytes) = request.bytes(addr) else {
        if request.u8(len).is_some() {
            return Err(request.refuse(EINVAL, len, c_str!("a prefix length without an address")));
        }
        return Ok(None);
    };
    let Some(addr) = Addr::from_bytes(bytes) else {
        let why = c_str!("the address must have 4 or 16 bytes");
        return Err(request.refuse(EINVAL, addr, why));
    };
    let len = request.u8(len).unwrap_or(Prefix::longest(&addr));
    Ok(Some(Prefix { addr, len }))
}

fn span_of(request: &Request<'_>, first: u32, last: u32) -> Span {
    Span {
        first: request.u16(first).unwrap_or(Span::ALL.first),
        last: request.u16(last).unwrap_or(Span::ALL.last),
    }
}

fn users_of(request: &Request<'_>) -> Option<(u32, u32)> {
    let first = request.u32(MPIP_A_RULE_UID_MIN);
    let last = request.u32(MPIP_A_RULE_UID_MAX);
    if first.is_none() && last.is_none() {
        return None;
    }
    Some((first.unwrap_or(0), last.unwrap_or(u32::MAX)))
}

fn group_of(request: &mut Request<'_>) -> Result<Option<u64>> {
    let group = request.u64(MPIP_A_RULE_CGROUP);
    if group.is_some() {
        let why = c_str!("this kernel knows no control groups of sockets");
        cgroup::known().map_err(|error| request.refuse(error, MPIP_A_RULE_CGROUP, why))?;
    }
    Ok(group)
}

fn interfaces_of(request: &mut Request<'_>) -> Result<Interfaces> {
    let mut interfaces = Interfaces::ANY;
    let Some(bytes) = request.bytes(MPIP_A_RULE_INTERFACES) else {
        return Ok(interfaces);
    };
    let mut indices = bytes.chunks_exact(4);
    for (slot, index) in interfaces.0.iter_mut().zip(&mut indices) {
        *slot = index.try_into().map_or(0, u32::from_ne_bytes);
    }
    let whole = indices.remainder().is_empty() && !bytes.is_empty();
    let named = bytes.len() / 4;
    if !whole || interfaces.0.iter().take(named).any(|index| *index == 0) {
        let why = c_str!("not a list of interface indices");
        return Err(request.refuse(EINVAL, MPIP_A_RULE_INTERFACES, why));
    }
    Ok(interfaces)
}

fn names_of(request: &mut Request<'_>) -> Result<Option<Names>> {
    let attr = MPIP_A_RULE_INTERFACE_NAMES;
    let Some(text) = request.text(attr) else {
        return Ok(None);
    };
    let names = Names::parse(text);
    let why = c_str!("not 1 to 8 names of interfaces with blanks between");
    names
        .map(Some)
        .ok_or_else(|| request.refuse(EINVAL, attr, why))
}

fn rule_of(request: &mut Request<'_>) -> Result<(Rule, Option<Names>)> {
    let (interfaces, names) = (interfaces_of(request)?, names_of(request)?);
    let matches = Match {
        dst: prefix_of(request, MPIP_A_RULE_DST, MPIP_A_RULE_DST_LEN)?,
        src: prefix_of(request, MPIP_A_RULE_SRC, MPIP_A_RULE_SRC_LEN)?,
        dst_ports: span_of(request, MPIP_A_RULE_DST_PORT_MIN, MPIP_A_RULE_DST_PORT_MAX),
        src_ports: span_of(request, MPIP_A_RULE_SRC_PORT_MIN, MPIP_A_RULE_SRC_PORT_MAX),
        proto: request.u8(MPIP_A_RULE_PROTOCOL).unwrap_or(0),
        uids: users_of(request),
        group: group_of(request)?,
        sizes: span_of(request, MPIP_A_RULE_SIZE_MIN, MPIP_A_RULE_SIZE_MAX),
        dscp: request.u8(MPIP_A_RULE_DSCP),
    };
    let none = Limits::NONE;
    let treatment = Treatment {
        priority: match request.u32(MPIP_A_RULE_PRIORITY) {
            Some(MPIP_RULE_PRIORITY_LATENCY) => Priority::Latency,
            _ => Priority::Throughput,
        },
        mode: match request.u32(MPIP_A_RULE_MODE) {
            Some(MPIP_RULE_MODE_SELECTED) => Mode::Selected,
            Some(MPIP_RULE_MODE_SINGLE) => Mode::Single,
            Some(MPIP_RULE_MODE_PROTECTED) => Mode::Protected,
            Some(MPIP_RULE_MODE_NEVER) => Mode::Never,
            _ => Mode::All,
        },
        limits: Limits {
            delay_us: request
                .u32(MPIP_A_RULE_MAX_DELAY_US)
                .unwrap_or(none.delay_us),
            loss: request.u32(MPIP_A_RULE_MAX_LOSS).unwrap_or(none.loss),
            rate: request.u32(MPIP_A_RULE_MIN_RATE).unwrap_or(none.rate),
            cost: request.u32(MPIP_A_RULE_MAX_COST).unwrap_or(none.cost),
        },
        interfaces: match names {
            Some(_) => Interfaces::NAMED,
            None => interfaces,
        },
        ordered: request.u8(MPIP_A_RULE_ORDERED) == Some(1),
    };
    let rule = Rule { matches, treatment };
    match rule.flaw() {
        None => Ok((rule, names)),
        Some(flaw) => {
            let (mut attr, why) = explain(flaw);
            if attr == MPIP_A_RULE_INTERFACES && request.bytes(attr).is_none() {
                attr = MPIP_A_RULE_INTERFACE_NAMES;
            }
            Err(request.refuse(EINVAL, attr, why))
        }
    }
}

/// The attribute that is wrong, and why.
fn explain(flaw: Flaw) -> (u32, &'static CStr) {
    match flaw {
        Flaw::DstLength => (
            MPIP_A_RULE_DST_LEN,
            c_str!("the prefix is longer than the address"),
        ),
        Flaw::SrcLength => (
            MPIP_A_RULE_SRC_LEN,
            c_str!("the prefix is longer than the address"),
        ),
        Flaw::Families => (
            MPIP_A_RULE_SRC,
            c_str!("one address is IPv4, the other one IPv6"),
        ),
        Flaw::DstPorts => (
            MPIP_A_RULE_DST_PORT_MIN,
            c_str!("the first port is above the last"),
        ),
        Flaw::SrcPorts => (
            MPIP_A_RULE_SRC_PORT_MIN,
            c_str!("the first port is above the last"),
        ),
        Flaw::Protocol => (MPIP_A_RULE_PROTOCOL, c_str!("neither TCP nor UDP")),
        Flaw::Sizes => (
            MPIP_A_RULE_SIZE_MIN,
            c_str!("the smallest size is above the largest"),
        ),
        Flaw::Users => (
            MPIP_A_RULE_UID_MIN,
            c_str!("the first user is above the last"),
        ),
        Flaw::NoChoice => (
            MPIP_A_RULE_PRIORITY,
            c_str!("priority latency leaves the mode no say: only all and selected go with it"),
        ),
        Flaw::LimitsUnused => (
            MPIP_A_RULE_MODE,
            c_str!("only mode selected has limits of delay, loss, rate and cost"),
        ),
        Flaw::LimitsMissing => (
            MPIP_A_RULE_MODE,
            c_str!("mode selected needs a limit of delay, loss, rate or cost"),
        ),
        Flaw::InterfacesUnused => (
            MPIP_A_RULE_INTERFACES,
            c_str!("mode never keeps to the interface that routing chooses"),
        ),
        Flaw::OrderedStream => (
            MPIP_A_RULE_ORDERED,
            c_str!("TCP is put in order anyway: ordered is for UDP"),
        ),
        Flaw::OrderedNever => (
            MPIP_A_RULE_ORDERED,
            c_str!("with mode never datagrams stay as they are and have no numbers"),
        ),
    }
}

fn refuse(request: &mut Request<'_>, error: RuleError) -> Error {
    match error {
        RuleError::Full => request.refuse(ENOSPC, 0, c_str!("there are 10000 rules already")),
        RuleError::NoSuch => request.refuse(
            ENOENT,
            MPIP_A_RULE_NUMBER,
            c_str!("there is no rule with this number"),
        ),
        RuleError::NoDraft => request.refuse(
            ENOENT,
            MPIP_A_RULE_DRAFT,
            c_str!("there is no such draft: another one was begun, or it is in force"),
        ),
        RuleError::Changed => request.refuse(
            EAGAIN,
            MPIP_A_RULE_DRAFT,
            c_str!("the rules have changed meanwhile, nothing was done: begin anew"),
        ),
        RuleError::NoMemory => ENOMEM,
    }
}

/// Adds a rule.
pub fn add(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let (rule, names) = rule_of(request)?;
    let draft = request.u32(MPIP_A_RULE_DRAFT);
    let number = request.u32(MPIP_A_RULE_NUMBER);
    namespace
        .add_rule(draft, number, rule, names)
        .map_err(|error| refuse(request, error))
}

/// Removes a rule.
pub fn del(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let Some(number) = request.u32(MPIP_A_RULE_NUMBER) else {
        return Err(request.refuse(EINVAL, 0, c_str!("the attribute number is missing")));
    };
    namespace
        .remove_rule(request.u32(MPIP_A_RULE_DRAFT), number)
        .map_err(|error| refuse(request, error))
}

/// Removes all rules.
pub fn flush(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    namespace
        .flush_rules(request.u32(MPIP_A_RULE_DRAFT))
        .map_err(|error| refuse(request, error))
}

fn draft_of(request: &mut Request<'_>) -> Result<u32> {
    match request.u32(MPIP_A_RULE_DRAFT) {
        Some(token) => Ok(token),
        None => Err(request.refuse(EINVAL, 0, c_str!("the attribute draft is missing"))),
    }
}

/// Begins a draft.
pub fn draft(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let token = draft_of(request)?;
    namespace
        .draft_rules(token)
        .map_err(|error| refuse(request, error))
}

/// Puts a draft in force.
pub fn commit(namespace: &Namespace, request: &mut Request<'_>) -> Result {
    let token = draft_of(request)?;
    namespace
        .commit_rules(token)
        .map_err(|error| refuse(request, error))
}

fn put_prefix(m: &mut Message<'_>, addr: u32, len: u32, prefix: Option<Prefix>) -> Result {
    match prefix {
        Some(prefix) => {
            m.bytes(addr, prefix.addr.as_bytes())?;
            m.u8(len, prefix.len)
        }
        None => Ok(()),
    }
}

fn put_span(m: &mut Message<'_>, first: u32, last: u32, span: Span) -> Result {
    if span == Span::ALL {
        return Ok(());
    }
    m.u16(first, span.first)?;
    m.u16(last, span.last)
}

fn put_names(m: &mut Message<'_>, names: &Names) -> Result {
    let (list, len) = names.list();
    let list = list.get(..len.saturating_add(1)).unwrap_or(&[0]);
    m.bytes(MPIP_A_RULE_INTERFACE_NAMES, list)
}

fn put_rule(m: &mut Message<'_>, number: u32, counted: &Counted) -> Result {
    let (matches, treatment) = (&counted.rule.matches, counted.treatment());
    if let Some(names) = counted.names() {
        put_names(m, names)?;
    }
    m.u32(MPIP_A_RULE_NUMBER, number)?;
    put_prefix(m, MPIP_A_RULE_DST, MPIP_A_RULE_DST_LEN, matches.dst)?;
    put_prefix(m, MPIP_A_RULE_SRC, MPIP_A_RULE_SRC_LEN, matches.src)?;
    put_span(
        m,
        MPIP_A_RULE_DST_PORT_MIN,
        MPIP_A_RULE_DST_PORT_MAX,
        matches.dst_ports,
    )?;
    put_span(
        m,
        MPIP_A_RULE_SRC_PORT_MIN,
        MPIP_A_RULE_SRC_PORT_MAX,
        matches.src_ports,
    )?;
    if matches.proto != 0 {
        m.u8(MPIP_A_RULE_PROTOCOL, matches.proto)?;
    }
    put_span(m, MPIP_A_RULE_SIZE_MIN, MPIP_A_RULE_SIZE_MAX, matches.sizes)?;
    if let Some(dscp) = matches.dscp {
        m.u8(MPIP_A_RULE_DSCP, dscp)?;
    }
    if let Some(id) = matches.group {
        m.u64(MPIP_A_RULE_CGROUP, id)?;
    }
    if let Some((first, last)) = matches.uids {
        m.u32(MPIP_A_RULE_UID_MIN, first)?;
        m.u32(MPIP_A_RULE_UID_MAX, last)?;
    }
    let priority = match treatment.priority {
        Priority::Throughput => MPIP_RULE_PRIORITY_THROUGHPUT,
        Priority::Latency => MPIP_RULE_PRIORITY_LATENCY,
    };
    m.u32(MPIP_A_RULE_PRIORITY, priority)?;
    let mode = match treatment.mode {
        Mode::All => MPIP_RULE_MODE_ALL,
        Mode::Selected => MPIP_RULE_MODE_SELECTED,
        Mode::Single => MPIP_RULE_MODE_SINGLE,
        Mode::Protected => MPIP_RULE_MODE_PROTECTED,
        Mode::Never => MPIP_RULE_MODE_NEVER,
    };
    m.u32(MPIP_A_RULE_MODE, mode)?;
    let (limits, none) = (&treatment.limits, Limits::NONE);
    for (attr, limit, none) in [
        (MPIP_A_RULE_MAX_DELAY_US, limits.delay_us, none.delay_us),
        (MPIP_A_RULE_MAX_LOSS, limits.loss, none.loss),
        (MPIP_A_RULE_MIN_RATE, limits.rate, none.rate),
        (MPIP_A_RULE_MAX_COST, limits.cost, none.cost),
    ] {
        if limit != none {
            m.u32(attr, limit)?;
        }
    }
    if !treatment.interfaces.is_any() {
        let mut bytes = [0; 4 * crate::proto::policy::MAX_INTERFACES];
        let named = treatment.interfaces.0.iter().filter(|index| **index != 0);
        let count = named.clone().count();
        for (slot, index) in bytes.chunks_exact_mut(4).zip(named) {
            slot.copy_from_slice(&index.to_ne_bytes());
        }
        let bytes = bytes.get(..count.saturating_mul(4)).unwrap_or(&[]);
        m.bytes(MPIP_A_RULE_INTERFACES, bytes)?;
    }
    if treatment.ordered {
        m.u8(MPIP_A_RULE_ORDERED, 1)?;
    }
    m.u64(MPIP_A_RULE_HITS, counted.hits())
}

/// Rules.
pub fn dump(namespace: &Namespace, dump: &mut Dump<'_>) -> Result {
    let rules: &Rules = &namespace.shared.rules;
    let (table, generation) = rules.get();
    dump.set_generation(generation.wrapping_add(1));
    let from = usize::try_from(dump.cursor()[0]).unwrap_or(0);
    for number in from..table.count() {
        let number = number.saturating_add(1);
        let Some(counted) = table.get(number) else {
            continue;
        };
        dump.add(|m| put_rule(m, number as u32, counted))?;
        dump.cursor()[0] = number as i64;
    }
    Ok(())
}

/// Why a lane carries no data, as netlink knows it.
pub fn reason(unused: Unused) -> u32 {
    match unused {
        Unused::Never => MPIP_LANE_REASON_NEVER,
        Unused::Interface => MPIP_LANE_REASON_INTERFACE,
        Unused::Limits => MPIP_LANE_REASON_LIMITS,
        Unused::NotChosen => MPIP_LANE_REASON_NOT_CHOSEN,
        Unused::Replaced => MPIP_LANE_REASON_REPLACED,
        Unused::Unreliable => MPIP_LANE_REASON_UNRELIABLE,
        Unused::Excluded => MPIP_LANE_REASON_EXCLUDED,
        Unused::Disabled => MPIP_LANE_REASON_DISABLED,
        Unused::Reserve(Reserve::Backup) => MPIP_LANE_REASON_BACKUP,
        Unused::Reserve(Reserve::Budget) => MPIP_LANE_REASON_BUDGET,
        Unused::Reserve(Reserve::Energy) => MPIP_LANE_REASON_ENERGY,
        Unused::Reserve(Reserve::Peer) => MPIP_LANE_REASON_PEER,
        Unused::Reserve(Reserve::Standby) => MPIP_LANE_REASON_STANDBY,
    }
}
