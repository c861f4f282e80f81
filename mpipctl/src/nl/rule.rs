// SPDX-License-Identifier: GPL-2.0

//! Rules for packets.

use std::net::IpAddr;

use serde::Serialize;

use super::attr::Attr;
use super::attr::Request;
use super::record::record;
use super::record::Value;
use super::uapi;
use super::DecodeError;
use super::Prefix;
use super::Protocol;
use super::RuleMode;
use super::RulePriority;

/// Indices of interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interfaces(pub Vec<u32>);

/// Names of interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    fn read(attr: &Attr<'_>) -> Result<Self, DecodeError> {
        let list = attr.string()?;
        let names = list.split(' ').filter(|name| !name.is_empty());
        Ok(Self(names.map(str::to_string).collect()))
    }
}

record! {
    /// A rule (Table 6 of the paper). An absent condition is met by every packet.
    #[derive(Default)]
    pub struct Rule: RULE by CMD_RULE_GET {
        /// Its place in the order, from 1 on.
        number: Option<u32> = RULE_NUMBER,
        /// Remote address of the session.
        dst: Option<IpAddr> = RULE_DST,
        /// Leading bits of it that count.
        dst_len: Option<u8> = RULE_DST_LEN,
        /// Local address of the session.
        src: Option<IpAddr> = RULE_SRC,
        /// Leading bits of it that count.
        src_len: Option<u8> = RULE_SRC_LEN,
        /// First remote port.
        dst_port_min: Option<u16> = RULE_DST_PORT_MIN,
        /// Last remote port.
        dst_port_max: Option<u16> = RULE_DST_PORT_MAX,
        /// First local port.
        src_port_min: Option<u16> = RULE_SRC_PORT_MIN,
        /// Last local port.
        src_port_max: Option<u16> = RULE_SRC_PORT_MAX,
        /// TCP or UDP.
        protocol: Option<Protocol> = RULE_PROTOCOL,
        /// Smallest IP packet, bytes.
        size_min: Option<u16> = RULE_SIZE_MIN,
        /// Largest IP packet, bytes.
        size_max: Option<u16> = RULE_SIZE_MAX,
        /// Differentiated services code point.
        dscp: Option<u8> = RULE_DSCP,
        /// First user that the socket may belong to.
        uid_min: Option<u32> = RULE_UID_MIN,
        /// Last user that the socket may belong to.
        uid_max: Option<u32> = RULE_UID_MAX,
        /// What counts most.
        priority: Option<RulePriority> = RULE_PRIORITY,
        /// Which paths are used.
        mode: Option<RuleMode> = RULE_MODE,
        /// Largest one-way delay, microseconds.
        max_delay_us: Option<u32> = RULE_MAX_DELAY_US,
        /// Largest loss, thousandths.
        max_loss: Option<u32> = RULE_MAX_LOSS,
        /// Least rate, bytes per second.
        min_rate: Option<u32> = RULE_MIN_RATE,
        /// Largest cost of the interface.
        max_cost: Option<u32> = RULE_MAX_COST,
        /// Interfaces whose paths are used; of those that `dev` names the ones that are there.
        interfaces: Option<Interfaces> = RULE_INTERFACES,
        /// Packets that fell under it.
        hits: Option<u64> = RULE_HITS,
        /// Control group that the socket may belong to, or be below of.
        cgroup: Option<u64> = RULE_CGROUP,
        /// Whether the receiver puts datagrams in order.
        ordered: Option<bool> = RULE_ORDERED,
        /// The names of these interfaces, be they there or not: each counts when it is.
        dev: Option<Names> = RULE_INTERFACE_NAMES,
    }
}

impl Rule {
    /// Prefix of the remote address.
    pub fn dst_prefix(&self) -> Option<Prefix> {
        prefix(self.dst, self.dst_len)
    }

    /// Prefix of the local address.
    pub fn src_prefix(&self) -> Option<Prefix> {
        prefix(self.src, self.src_len)
    }

    /// The request that adds it.
    pub(super) fn request(&self) -> Request {
        let mut request = Request::new(uapi::CMD_RULE_ADD);
        for (attr, addr) in [(uapi::RULE_DST, self.dst), (uapi::RULE_SRC, self.src)] {
            request = addr.into_iter().fold(request, |r, addr| r.addr(attr, addr));
        }
        for (attr, value) in [
            (uapi::RULE_DST_LEN, self.dst_len),
            (uapi::RULE_SRC_LEN, self.src_len),
            (uapi::RULE_PROTOCOL, self.protocol.map(|p| p.0)),
            (uapi::RULE_DSCP, self.dscp),
            (uapi::RULE_ORDERED, self.ordered.map(u8::from)),
        ] {
            request = value
                .into_iter()
                .fold(request, |r, value| r.u8(attr, value));
        }
        for (attr, value) in [
            (uapi::RULE_DST_PORT_MIN, self.dst_port_min),
            (uapi::RULE_DST_PORT_MAX, self.dst_port_max),
            (uapi::RULE_SRC_PORT_MIN, self.src_port_min),
            (uapi::RULE_SRC_PORT_MAX, self.src_port_max),
            (uapi::RULE_SIZE_MIN, self.size_min),
            (uapi::RULE_SIZE_MAX, self.size_max),
        ] {
            request = value
                .into_iter()
                .fold(request, |r, value| r.u16(attr, value));
        }
        for (attr, value) in [
            (uapi::RULE_NUMBER, self.number),
            (uapi::RULE_UID_MIN, self.uid_min),
            (uapi::RULE_UID_MAX, self.uid_max),
            (uapi::RULE_PRIORITY, self.priority.map(u32::from)),
            (uapi::RULE_MODE, self.mode.map(u32::from)),
            (uapi::RULE_MAX_DELAY_US, self.max_delay_us),
            (uapi::RULE_MAX_LOSS, self.max_loss),
            (uapi::RULE_MIN_RATE, self.min_rate),
            (uapi::RULE_MAX_COST, self.max_cost),
        ] {
            request = value
                .into_iter()
                .fold(request, |r, value| r.u32(attr, value));
        }
        if let Some(id) = self.cgroup {
            request = request.u64(uapi::RULE_CGROUP, id);
        }
        if let Some(Interfaces(list)) = &self.interfaces {
            request = request.u32s(uapi::RULE_INTERFACES, list);
        }
        match &self.dev {
            Some(Names(names)) => request.string(uapi::RULE_INTERFACE_NAMES, &names.join(" ")),
            None => request,
        }
    }
}

fn prefix(addr: Option<IpAddr>, len: Option<u8>) -> Option<Prefix> {
    let addr = addr?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    let len = len.unwrap_or(most);
    Some(Prefix { addr, len })
}
