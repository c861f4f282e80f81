// SPDX-License-Identifier: GPL-2.0

//! Values that several records share.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;

use serde::Serialize;
use serde::Serializer;

use super::record::record;

/// Node id; 16 hexadecimal digits for people and in JSON, whose numbers lose bits beyond 53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl NodeId {
    /// False for the 0 that stands for a node not known yet.
    pub fn is_known(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Transport protocol, by name where it is one that MPIP knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub u8);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            6 => f.write_str("tcp"),
            17 => f.write_str("udp"),
            other => other.fmt(f),
        }
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

record! {
    /// An address and a port.
    pub struct Endpoint: nested ENDPOINT {
        /// IPv4 or IPv6 address.
        addr: IpAddr = ENDPOINT_ADDR,
        /// Port; 0 where the address was announced without one.
        port: Option<u16> = ENDPOINT_PORT,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port.unwrap_or(0) {
            0 => self.addr.fmt(f),
            port => SocketAddr::new(self.addr, port).fmt(f),
        }
    }
}
