// SPDX-License-Identifier: GPL-2.0

//! How the kernel is asked, over route netlink.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::Emitable;
use netlink_packet_core::NetlinkBuffer;
use netlink_packet_core::NetlinkHeader;
use netlink_packet_core::NlasIterator;
use netlink_packet_core::NLA_ALIGNTO;
use netlink_packet_core::NLMSG_DONE;
use netlink_packet_core::NLMSG_ERROR;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_core::NLM_F_REQUEST;
use nix::libc;

use super::Address;
use super::Barrier;
use super::DefaultRoute;
use super::Link;
use super::Network;
use super::Rule;
use crate::nl;
use crate::nl::Socket;
use crate::nl::Transport;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

// What precedes the attributes: the lengths of ifinfomsg, ifaddrmsg, rtmsg and fib_rule_hdr.
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;
const RULE: usize = 12;

// Attributes, of linux/if_link.h, if_addr.h, rtnetlink.h and fib_rules.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;

const IFF_LOWER_UP: u32 = 1 << 16;
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;
const RT_SCOPE_LINK: u8 = 253;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
const FR_ACT_PROHIBIT: u8 = 8;
const FIB_RULE_INVERT: u32 = 0x02;

impl Network {
    /// Asks the kernel about the present network namespace.
    pub fn read() -> io::Result<Self> {
        let mut socket = Socket::open_route()?;
        let mut sequence = 0;
        let mut dump = |kind: u16, family: i32, header: usize| {
            sequence += 1;
            dump(&mut socket, sequence, kind, family, header)
        };
        let links = dump(libc::RTM_GETLINK, libc::AF_UNSPEC, LINK)?;
        let addresses = dump(libc::RTM_GETADDR, libc::AF_UNSPEC, ADDRESS)?;
        let mut network = Self {
            links: links.iter().filter_map(|bytes| link(bytes)).collect(),
            addresses: addresses
                .iter()
                .filter_map(|bytes| address(bytes))
                .collect(),
            ..Self::default()
        };
        // A kernel may not tell.
        let mut features = nl::features().unwrap_or_default();
        for link in &mut network.links {
            link.features = features.remove(&link.index);
        }
        for family in [libc::AF_INET, libc::AF_INET6] {
            // A kernel may have no IPv6, or no rules.
            let routes = dump(libc::RTM_GETROUTE, family, ROUTE).unwrap_or_default();
            let rules = dump(libc::RTM_GETRULE, family, RULE).unwrap_or_default();
            let is_barrier = |bytes: &Vec<u8>| route_barrier(bytes);
            network
                .barriers
                .extend(routes.iter().filter_map(is_barrier));
            let is_barrier = |bytes: &Vec<u8>| rule_barrier(bytes);
            network.barriers.extend(rules.iter().filter_map(is_barrier));
            let routes = routes.iter().filter_map(|bytes| default(bytes));
            network.defaults.extend(routes);
            network
                .rules
                .extend(rules.iter().filter_map(|bytes| rule(bytes)));
        }
        Ok(network)
    }
}

/// All objects of a kind; `header` is the length of what precedes their attributes.
fn dump(
    socket: &mut Socket,
    sequence: u32,
    kind: u16,
    family: i32,
    header: usize,
) -> io::Result<Vec<Vec<u8>>> {
    let mut request = NetlinkHeader::default();
    request.length = (HEADER + header) as u32;
    request.message_type = kind;
    request.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.sequence_number = sequence;
    let mut bytes = vec![0; HEADER + header];
    request.emit(&mut bytes);
    bytes[HEADER] = family as u8;
    socket.send(&bytes)?;

    let mut objects = Vec::new();
    let mut buffer = Vec::new();
    loop {
        socket.receive(&mut buffer)?;
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let reply = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            let length = reply.length() as usize;
            let payload = &rest[HEADER..length];
            rest = &rest[length.next_multiple_of(NLA_ALIGNTO).min(rest.len())..];
            match reply.message_type() {
                _ if reply.sequence_number() != sequence => {}
                NLMSG_DONE => return Ok(objects),
                NLMSG_ERROR => {
                    let errno = u32_of(payload).unwrap_or_default() as i32;
                    return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
                }
                _ => objects.push(payload.to_vec()),
            }
        }
    }
}

/// Numbers and values of attributes. What makes no sense ends them.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..length)?))
    })
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

fn string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn addr(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

fn link(bytes: &[u8]) -> Option<Link> {
    let flags = u32_of(bytes.get(8..)?)?;
    let up = flags & libc::IFF_UP as u32 != 0;
    let mut link = Link {
        index: u32_of(bytes.get(4..)?)?,
        up,
        running: up && flags & IFF_LOWER_UP != 0,
        loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(bytes.get(LINK..)?) {
        match kind {
            IFLA_IFNAME => link.name = string(value),
            IFLA_MTU => link.mtu = u32_of(value)?,
            IFLA_MASTER => link.master = u32_of(value),
            IFLA_LINKINFO => {
                let mut inside = attributes(value);
                let found = inside.find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = found.map(|(_, value)| string(value));
            }
            _ => {}
        }
    }
    Some(link)
}

/// Which addresses the module uses is told in its shims, `mpip_shim_ifaddrs`.
fn address(bytes: &[u8]) -> Option<Address> {
    let [family, len, flags, scope, ..] = *bytes else {
        return None;
    };
    let mut flags = u32::from(flags);
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(bytes.get(ADDRESS..)?) {
        match kind {
            // The far end, if the link has two.
            IFA_ADDRESS => other = addr(value),
            IFA_LOCAL => local = addr(value),
            IFA_FLAGS => flags = u32_of(value)?,
            _ => {}
        }
    }
    let usable = if i32::from(family) == libc::AF_INET {
        scope < RT_SCOPE_LINK && flags & IFA_F_SECONDARY == 0
    } else {
        // What is secondary for IPv4 is temporary for IPv6.
        let bad = IFA_F_SECONDARY | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE;
        scope == 0 && flags & bad == 0
    };
    Some(Address {
        index: u32_of(bytes.get(4..)?)?,
        addr: local.or(other)?,
        len,
        usable,
        duplicate: flags & IFA_F_DADFAILED != 0,
    })
}

/// A route to everywhere, if it is one.
fn default(bytes: &[u8]) -> Option<DefaultRoute> {
    let [family, 0, _, _, table, _, _, kind, ..] = *bytes else {
        return None;
    };
    if kind != libc::RTN_UNICAST {
        return None;
    }
    let mut route = DefaultRoute {
        v6: i32::from(family) == libc::AF_INET6,
        links: Vec::new(),
        table: table.into(),
    };
    for (kind, value) in attributes(bytes.get(ROUTE..)?) {
        match kind {
            RTA_OIF => route.links.extend(u32_of(value)),
            RTA_MULTIPATH => route.links.extend(hops(value)),
            RTA_TABLE => route.table = u32_of(value)?,
            _ => {}
        }
    }
    Some(route)
}

/// A route to everywhere that leads nowhere.
fn route_barrier(bytes: &[u8]) -> Option<Barrier> {
    let [family, 0, _, _, table, _, _, kind, ..] = *bytes else {
        return None;
    };
    let kind = match kind {
        libc::RTN_BLACKHOLE => "blackhole",
        libc::RTN_UNREACHABLE => "unreachable",
        libc::RTN_PROHIBIT => "prohibit",
        _ => return None,
    };
    let mut table = u32::from(table);
    for (kind, value) in attributes(bytes.get(ROUTE..)?) {
        if kind == RTA_TABLE {
            table = u32_of(value)?;
        }
    }
    Some(Barrier {
        v6: i32::from(family) == libc::AF_INET6,
        table: Some(table),
        priority: 0,
        kind,
    })
}

/// True for an attribute of a rule without which it would be for more packets. What comes from lo
/// is what this host sends.
fn is_narrow(kind: u16, value: &[u8]) -> bool {
    match kind {
        FRA_IIFNAME => string(value) != "lo",
        FRA_FWMARK | FRA_OIFNAME | FRA_L3MDEV | FRA_UID_RANGE | FRA_IP_PROTO | FRA_SPORT_RANGE
        | FRA_DPORT_RANGE => true,
        _ => false,
    }
}

/// A rule for all packets, or for all without a mark, that throws them away.
fn rule_barrier(bytes: &[u8]) -> Option<Barrier> {
    let [family, 0, 0, 0, _, _, _, action, ..] = *bytes else {
        return None;
    };
    let kind = match action {
        FR_ACT_BLACKHOLE => "blackhole",
        FR_ACT_UNREACHABLE => "unreachable",
        FR_ACT_PROHIBIT => "prohibit",
        _ => return None,
    };
    let inverted = u32_of(bytes.get(8..)?)? & FIB_RULE_INVERT != 0;
    let mut barrier = Barrier {
        v6: i32::from(family) == libc::AF_INET6,
        table: None,
        priority: 0,
        kind,
    };
    for (kind, value) in attributes(bytes.get(RULE..)?) {
        match kind {
            FRA_PRIORITY => barrier.priority = u32_of(value)?,
            kind if !inverted && is_narrow(kind, value) => return None,
            _ => {}
        }
    }
    Some(barrier)
}

/// The interfaces in a list of `struct rtnexthop`.
fn hops(mut bytes: &[u8]) -> Vec<u32> {
    let mut links = Vec::new();
    while let (Some(length), Some(index)) = (bytes.first_chunk(), bytes.get(4..).and_then(u32_of)) {
        links.push(index);
        let length = usize::from(u16::from_ne_bytes(*length)).max(8);
        bytes = bytes
            .get(length.next_multiple_of(NLA_ALIGNTO)..)
            .unwrap_or_default();
    }
    links
}

/// A rule that leads to a table.
fn rule(bytes: &[u8]) -> Option<Rule> {
    let [family, target_len, source_len, tos, table, _, _, FR_ACT_TO_TBL, ..] = *bytes else {
        return None;
    };
    let inverted = u32_of(bytes.get(8..)?)? & FIB_RULE_INVERT != 0;
    let mut rule = Rule {
        v6: i32::from(family) == libc::AF_INET6,
        table: table.into(),
        narrow: !inverted && (target_len, tos) != (0, 0),
        ..Rule::default()
    };
    for (kind, value) in attributes(bytes.get(RULE..)?) {
        match kind {
            FRA_PRIORITY => rule.priority = u32_of(value)?,
            FRA_FWMARK if inverted => rule.without_mark = Some(u32_of(value)?),
            FRA_SRC => rule.source = addr(value).map(|addr| (addr, source_len)),
            FRA_TABLE => rule.table = u32_of(value)?,
            kind => rule.narrow |= !inverted && is_narrow(kind, value),
        }
    }
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        attr(kind, &value.to_ne_bytes())
    }

    fn message(header: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
        [header, &attributes.concat()].concat()
    }

    #[test]
    fn links() {
        let mut header = [0; LINK];
        header[4..8].copy_from_slice(&7u32.to_ne_bytes());
        header[8..12].copy_from_slice(&(IFF_LOWER_UP | 1).to_ne_bytes());
        let attributes = [
            attr(IFLA_IFNAME, b"wwan0\0"),
            number(IFLA_MTU, 1420),
            number(IFLA_MASTER, 9),
            attr(IFLA_LINKINFO | 0x8000, &attr(IFLA_INFO_KIND, b"bridge\0")),
        ];
        let expected = Link {
            index: 7,
            name: "wwan0".to_string(),
            mtu: 1420,
            up: true,
            running: true,
            loopback: false,
            master: Some(9),
            kind: Some("bridge".to_string()),
            features: None,
        };
        assert_eq!(link(&message(&header, &attributes)), Some(expected));
        header[8..12].copy_from_slice(&0u32.to_ne_bytes());
        let down = link(&message(&header, &attributes)).unwrap();
        assert!(!down.up && !down.running);
        assert_eq!(link(&header[..10]), None);
    }

    #[test]
    fn addresses() {
        let of = |family: i32, flags: u32, scope: u8, local: &[u8]| {
            let header = [family as u8, 24, flags as u8, scope, 3, 0, 0, 0];
            let far = attr(IFA_ADDRESS, &vec![9; local.len()]);
            address(&message(&header, &[far, attr(IFA_LOCAL, local)])).unwrap()
        };
        let v4 = of(libc::AF_INET, 0x80, 0, &[10, 0, 0, 2]);
        assert_eq!(v4.addr.to_string(), "10.0.0.2");
        assert_eq!((v4.index, v4.len), (3u32.to_le(), 24));
        assert!(v4.usable && !v4.duplicate);
        assert!(!of(libc::AF_INET, IFA_F_SECONDARY, 0, &[10, 0, 0, 2]).usable);
        assert!(!of(libc::AF_INET, 0, RT_SCOPE_LINK, &[169, 254, 0, 2]).usable);
        assert!(!of(libc::AF_INET6, 0, RT_SCOPE_LINK, &[0xfe; 16]).usable);
        let twice = of(libc::AF_INET6, IFA_F_DADFAILED, 0, &[0x20; 16]);
        assert!(!twice.usable && twice.duplicate);
    }

    #[test]
    fn routes() {
        let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        let hop = |index: u32| [&[8, 0, 0, 0], &index.to_ne_bytes()[..]].concat();
        let both = attr(RTA_MULTIPATH, &[hop(2), hop(3)].concat());
        let route = default(&message(&header, &[number(RTA_TABLE, 1000), both])).unwrap();
        assert_eq!((route.table, route.links), (1000, vec![2, 3]));
        let mut other = header;
        other[1] = 24;
        assert_eq!(default(&other), None);
        let mut unreachable = header;
        unreachable[7] = 7;
        assert_eq!(default(&unreachable), None);
    }

    #[test]
    fn rules() {
        let header = [libc::AF_INET as u8, 0, 32, 0, 100, 0, 0, 1, 0, 0, 0, 0];
        let found = rule(&message(&header, &[attr(FRA_SRC, &[10, 0, 0, 2])])).unwrap();
        assert_eq!(found.table, 100);
        assert_eq!(found.source, Some(("10.0.0.2".parse().unwrap(), 32)));
        let mut blackhole = header;
        blackhole[7] = 6;
        assert_eq!(rule(&blackhole), None);
        // As wg-quick makes it: not from all fwmark 0xca6c lookup 51820.
        let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0];
        let attributes = [
            number(FRA_PRIORITY, 32764),
            number(FRA_FWMARK, 0xca6c),
            number(FRA_TABLE, 51820),
        ];
        let found = rule(&message(&header, &attributes)).unwrap();
        assert_eq!((found.priority, found.without_mark), (32764, Some(0xca6c)));
        assert!(!found.narrow);
    }

    #[test]
    fn narrow_rules() {
        let wide = [libc::AF_INET as u8, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0];
        let is_narrow = |header: [u8; 12], attribute: Vec<u8>| {
            let mut barrier = header;
            barrier[7] = FR_ACT_PROHIBIT;
            let barrier = rule_barrier(&message(&barrier, &[attribute.clone()]));
            let narrow = rule(&message(&header, &[attribute])).unwrap().narrow;
            assert_eq!(barrier.is_none(), narrow);
            narrow
        };
        let mut inverted = wide;
        inverted[8] = 2;
        for (attribute, narrow) in [
            (number(FRA_PRIORITY, 5), false),
            (number(FRA_FWMARK, 7), true),
            (attr(FRA_IIFNAME, b"eth0\0"), true),
            (attr(FRA_IIFNAME, b"lo\0"), false),
            (attr(FRA_OIFNAME, b"eth0\0"), true),
            (attr(FRA_L3MDEV, &[1]), true),
            (attr(FRA_UID_RANGE, &[0; 8]), true),
            (attr(FRA_IP_PROTO, &[17]), true),
            (attr(FRA_SPORT_RANGE, &[0, 1, 0, 1]), true),
            (attr(FRA_DPORT_RANGE, &[0, 1, 0, 1]), true),
        ] {
            assert_eq!(is_narrow(wide, attribute.clone()), narrow, "{attribute:?}");
            assert!(!is_narrow(inverted, attribute));
        }
        let place = || number(FRA_PRIORITY, 5);
        let (mut far, mut tos) = (wide, wide);
        (far[1], tos[3]) = (8, 16);
        assert!(is_narrow(far, place()) && is_narrow(tos, place()));
    }

    #[test]
    fn barriers() {
        let header = [libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
        let found = route_barrier(&message(&header, &[number(RTA_TABLE, 51820)])).unwrap();
        assert_eq!((found.v6, found.table), (false, Some(51820)));
        let mut unicast = header;
        unicast[7] = 1;
        assert_eq!(route_barrier(&unicast), None);

        let mut header = [libc::AF_INET6 as u8, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0];
        let place = number(FRA_PRIORITY, 500);
        let found = rule_barrier(&message(&header, &[place.clone()])).unwrap();
        assert_eq!((found.v6, found.table, found.priority), (true, None, 500));
        // For what has a mark, it is in nobody's way; for what has none, in everybody's.
        let marked = message(&header, &[place, number(FRA_FWMARK, 7)]);
        assert_eq!(rule_barrier(&marked), None);
        header[8] = 2;
        let unmarked = message(&header, &[number(FRA_FWMARK, 7)]);
        assert!(rule_barrier(&unmarked).is_some());
        header[2] = 32;
        assert_eq!(rule_barrier(&header), None);
    }

    /// Every system has an interface that leads to itself.
    #[test]
    fn this_system() {
        let network = Network::read().unwrap();
        assert!(
            network.links.iter().any(|link| link.loopback),
            "{network:?}"
        );
    }
}
