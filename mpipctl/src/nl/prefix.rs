// SPDX-License-Identifier: GPL-2.0

//! Destination prefixes.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::attr::Request;
use super::record::record;
use super::uapi;
use super::uapi::Command;

record! {
    /// A destination prefix that is asked when the parameter `ask` is `listed`.
    pub struct Prefix: PREFIX by CMD_PREFIX_GET {
        /// Network address.
        addr: IpAddr = PREFIX_ADDR,
        /// Number of leading bits that count.
        len: u8 = PREFIX_LEN,
    }
}

impl Prefix {
    pub(super) fn request(&self, command: Command) -> Request {
        Request::new(command)
            .addr(uapi::PREFIX_ADDR, self.addr)
            .u8(uapi::PREFIX_LEN, self.len)
    }

    /// The same prefix with the bits beyond its length cleared.
    fn masked(&self) -> Self {
        let len = self.len;
        let addr = match self.addr {
            IpAddr::V4(addr) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Ipv4Addr::from_bits(addr.to_bits() & mask).into()
            }
            IpAddr::V6(addr) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                Ipv6Addr::from_bits(addr.to_bits() & mask).into()
            }
        };
        Self { addr, len }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// Neither an address nor a prefix.
    Syntax(String),
    /// The length is larger than the address; the largest length.
    Length(String, u8),
    /// There are bits beyond the length; the prefix without them.
    HostBits(String, Prefix),
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => write!(f, "not an IP address or prefix: \"{text}\""),
            Self::Length(text, max) => {
                write!(f, "prefix length out of range 0 to {max}: \"{text}\"")
            }
            Self::HostBits(text, masked) => {
                write!(
                    f,
                    "bits set beyond the prefix length: \"{text}\"; try: {masked}"
                )
            }
        }
    }
}

impl std::error::Error for PrefixError {}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `ADDRESS` or `ADDRESS/LENGTH`.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_string());
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| syntax())?;
        let max = if addr.is_ipv4() { 32 } else { 128 };
        let len = match len {
            None => max,
            Some(len) if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(syntax());
            }
            Some(len) => match len.parse() {
                Ok(len) if len <= max => len,
                _ => return Err(PrefixError::Length(text.to_string(), max)),
            },
        };
        let prefix = Self { addr, len };
        let masked = prefix.masked();
        if masked != prefix {
            return Err(PrefixError::HostBits(text.to_string(), masked));
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_prefixes() {
        for (text, shown) in [
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("203.0.113.9", "203.0.113.9/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn bad_prefixes() {
        for (text, message) in [
            ("", "not an IP address or prefix: \"\""),
            (
                "203.0.113.999",
                "not an IP address or prefix: \"203.0.113.999\"",
            ),
            (
                "203.0.113.0/",
                "not an IP address or prefix: \"203.0.113.0/\"",
            ),
            (
                "203.0.113.0/+8",
                "not an IP address or prefix: \"203.0.113.0/+8\"",
            ),
            (
                "203.0.113.0/24/8",
                "not an IP address or prefix: \"203.0.113.0/24/8\"",
            ),
            (
                "203.0.113.0/33",
                "prefix length out of range 0 to 32: \"203.0.113.0/33\"",
            ),
            ("::/129", "prefix length out of range 0 to 128: \"::/129\""),
            (
                "::/4096",
                "prefix length out of range 0 to 128: \"::/4096\"",
            ),
            (
                "10.0.0.1/8",
                "bits set beyond the prefix length: \"10.0.0.1/8\"; try: 10.0.0.0/8",
            ),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap_err().to_string(), message);
        }
    }
}
