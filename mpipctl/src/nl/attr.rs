// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: checked reading, and writing of requests.

use std::net::IpAddr;

use netlink_packet_core::parse_i32;
use netlink_packet_core::parse_ip;
use netlink_packet_core::parse_string;
use netlink_packet_core::parse_u16;
use netlink_packet_core::parse_u32;
use netlink_packet_core::parse_u64;
use netlink_packet_core::parse_u8;
use netlink_packet_core::DefaultNla;
use netlink_packet_core::Emitable;
use netlink_packet_core::NlasIterator;
use netlink_packet_core::NLA_HEADER_SIZE;

use super::uapi::AttributeSet;
use super::uapi::Command;
use super::DecodeError;

/// The attributes of a message or of a nest, in order.
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    set: &'static AttributeSet,
    rest: NlasIterator<&'a [u8]>,
}

impl<'a> Attrs<'a> {
    /// Reads `bytes` as attributes of `set`.
    pub fn new(set: &'static AttributeSet, bytes: &'a [u8]) -> Self {
        let rest = NlasIterator::new(bytes);
        Self { set, rest }
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let set = self.set;
        Some(match self.rest.next()? {
            Ok(nla) => {
                let (kind, length) = (nla.kind(), usize::from(nla.length()));
                // The iterator has checked that the length holds at least the header and at most
                // the bytes there are.
                let value = &nla.into_inner()[NLA_HEADER_SIZE..length];
                Ok(Attr { set, kind, value })
            }
            Err(why) => Err(DecodeError::new(set.name, why)),
        })
    }
}

/// One attribute. The accessors check that the value has the size of what is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Attr<'a> {
    set: &'static AttributeSet,
    kind: u16,
    value: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The attribute's number, without the flag bits.
    pub fn kind(&self) -> u16 {
        self.kind
    }

    fn read<T>(
        &self,
        parse: fn(&[u8]) -> Result<T, netlink_packet_core::DecodeError>,
    ) -> Result<T, DecodeError> {
        parse(self.value).map_err(|why| DecodeError::new(&self.set.name_of(self.kind), why))
    }

    /// The value of a `u8`.
    pub fn u8(&self) -> Result<u8, DecodeError> {
        self.read(parse_u8)
    }

    /// The value of a `u16`.
    pub fn u16(&self) -> Result<u16, DecodeError> {
        self.read(parse_u16)
    }

    /// The value of a `u32`.
    pub fn u32(&self) -> Result<u32, DecodeError> {
        self.read(parse_u32)
    }

    /// The value of an `s32`.
    pub fn i32(&self) -> Result<i32, DecodeError> {
        self.read(parse_i32)
    }

    /// The value of a `u64`.
    pub fn u64(&self) -> Result<u64, DecodeError> {
        self.read(parse_u64)
    }

    /// The value of a string, without its terminator.
    pub fn string(&self) -> Result<String, DecodeError> {
        self.read(parse_string)
    }

    /// The values of an array of `u32`.
    pub fn u32s(&self) -> Result<Vec<u32>, DecodeError> {
        let numbers = self.value.chunks(4).map(parse_u32);
        let numbers: Result<_, _> = numbers.collect();
        numbers.map_err(|why| DecodeError::new(&self.set.name_of(self.kind), why))
    }

    /// 4 or 16 bytes in network order.
    pub fn addr(&self) -> Result<IpAddr, DecodeError> {
        self.read(parse_ip)
    }

    /// The attributes inside, of the set `set`.
    pub fn nest(&self, set: &'static AttributeSet) -> Attrs<'a> {
        Attrs::new(set, self.value)
    }
}

/// A request under construction: a command and its attributes.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) command: Command,
    pub(super) attributes: Vec<u8>,
}

impl Request {
    /// A request without attributes.
    pub fn new(command: Command) -> Self {
        let attributes = Vec::new();
        Self {
            command,
            attributes,
        }
    }

    fn push(mut self, kind: u16, value: &[u8]) -> Self {
        push_attr(&mut self.attributes, kind, value);
        self
    }

    /// Appends a `u8`.
    pub fn u8(self, kind: u16, value: u8) -> Self {
        self.push(kind, &[value])
    }

    /// Appends a `u16`.
    pub fn u16(self, kind: u16, value: u16) -> Self {
        self.push(kind, &value.to_ne_bytes())
    }

    /// Appends a `u32`.
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.push(kind, &value.to_ne_bytes())
    }

    /// Appends an array of `u32`.
    pub fn u32s(self, kind: u16, values: &[u32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|n| n.to_ne_bytes()).collect();
        self.push(kind, &bytes)
    }

    /// Appends a `u64`.
    pub fn u64(self, kind: u16, value: u64) -> Self {
        self.push(kind, &value.to_ne_bytes())
    }

    /// Appends bytes as they are.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        push_attr(&mut self.attributes, kind, value);
        self
    }

    /// Appends a string and its terminator.
    pub fn string(self, kind: u16, value: &str) -> Self {
        self.push(kind, &[value.as_bytes(), b"\0"].concat())
    }

    /// Appends an address in network order.
    pub fn addr(self, kind: u16, value: IpAddr) -> Self {
        match value {
            IpAddr::V4(addr) => self.push(kind, &addr.octets()),
            IpAddr::V6(addr) => self.push(kind, &addr.octets()),
        }
    }
}

/// Appends one attribute, padded to the alignment of the next.
pub(super) fn push_attr(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let nla = DefaultNla::new(kind, value.to_vec());
    let start = bytes.len();
    bytes.resize(start + nla.buffer_len(), 0);
    nla.emit(&mut bytes[start..]);
}

#[cfg(test)]
mod tests {
    use super::super::uapi;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let request = Request::new(uapi::CMD_PARAM_SET)
            .string(uapi::PARAM_NAME, "ask")
            .u64(uapi::PARAM_VALUE, 0x0102_0304_0506_0708);
        let mut attrs = Attrs::new(&uapi::PARAM, &request.attributes);
        let name = attrs.next().unwrap().unwrap();
        assert_eq!(name.kind(), uapi::PARAM_NAME);
        assert_eq!(name.string().unwrap(), "ask");
        let value = attrs.next().unwrap().unwrap();
        assert_eq!(value.u64().unwrap(), 0x0102_0304_0506_0708);
        assert!(attrs.next().is_none());
        assert_eq!(request.attributes.len() % 4, 0);
    }

    #[test]
    fn sizes_are_checked() {
        let mut bytes = Vec::new();
        push_attr(&mut bytes, uapi::PATH_MTU, &[1, 2]);
        let attr = Attrs::new(&uapi::PATH, &bytes).next().unwrap().unwrap();
        let error = attr.u32().unwrap_err().to_string();
        assert!(error.contains("path.mtu"), "{error}");
        assert!(attr.addr().is_err());
        assert!(attr.u64().is_err());
        assert!(attr.u8().is_err());
    }

    #[test]
    fn bad_lengths_end_the_iteration() {
        // Shorter than its own header, longer than the bytes there are, and too few bytes.
        for bytes in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 0, 0, 0, 0], &[8, 0]] {
            let mut attrs = Attrs::new(&uapi::NODE, bytes);
            assert!(attrs.next().unwrap().is_err(), "{bytes:?}");
            assert!(attrs.next().is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn flag_bits_are_not_part_of_the_number() {
        let mut bytes = Vec::new();
        push_attr(&mut bytes, uapi::SESSION_LOCAL | 0x8000, &[]);
        let attr = Attrs::new(&uapi::SESSION, &bytes).next().unwrap().unwrap();
        assert_eq!(attr.kind(), uapi::SESSION_LOCAL);
        assert!(attr.nest(&uapi::ENDPOINT).next().is_none());
    }
}
