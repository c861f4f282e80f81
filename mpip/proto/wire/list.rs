// SPDX-License-Identifier: GPL-2.0

//! Lists of addresses (Local Address List in Table 1 of the paper).

use super::bytes::Reader;
use super::bytes::Writer;
use super::MAX_ADDRS;
use crate::proto::addr::Addr;
use crate::proto::addr::Endpoint;

/// Flag of [`Entry`]: it is not the sender's, but what the sender sees the addressee as.
pub const OBSERVED: u8 = 1;

/// One address of a node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// [`OBSERVED`] or 0; other flags are ignored when received.
    pub flags: u8,
    /// The port, with [`OBSERVED`]; else 0.
    pub port: u16,
    /// The address.
    pub addr: Addr,
}

impl Entry {
    fn read(from: &mut Reader<'_>) -> Option<Entry> {
        let family = from.u8()?;
        let flags = from.u8()?;
        let port = from.u16()?;
        let addr = match family {
            4 => Addr::V4(from.array()?),
            6 => Addr::V6(from.array()?),
            _ => return None,
        };
        Some(Entry { flags, port, addr })
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.u8(self.addr.family());
        to.u8(self.flags);
        to.u16(self.port);
        to.bytes(self.addr.as_bytes());
    }
}

/// A list of at most [`MAX_ADDRS`] addresses: either a checked view of a
/// received CM or a list to be sent.
#[derive(Copy, Clone)]
pub struct AddrList<'a>(Source<'a>);

#[derive(Copy, Clone)]
enum Source<'a> {
    /// Encoded entries, checked, and their number.
    Wire(&'a [u8], u8),
    /// Entries to be sent.
    Plain(&'a [Entry]),
}

impl<'a> AddrList<'a> {
    /// A list to be sent; entries beyond the first [`MAX_ADDRS`] are left out.
    pub fn new(entries: &'a [Entry]) -> Self {
        Self(Source::Plain(entries.get(..MAX_ADDRS).unwrap_or(entries)))
    }

    /// Checks `count` entries that fill `bytes` exactly.
    pub(super) fn from_wire(bytes: &'a [u8], count: u8) -> Option<Self> {
        if usize::from(count) > MAX_ADDRS {
            return None;
        }
        let mut reader = Reader(bytes);
        for _ in 0..count {
            Entry::read(&mut reader)?;
        }
        reader
            .0
            .is_empty()
            .then_some(Self(Source::Wire(bytes, count)))
    }

    pub(super) fn write(&self, to: &mut Writer<'_>) {
        for entry in self.iter() {
            entry.write(to);
        }
    }

    /// What the sender sees the addressee as, if it says so.
    pub fn observed(&self) -> Option<Endpoint> {
        let entry = self.iter().find(|e| e.flags & OBSERVED != 0)?;
        Some(Endpoint {
            addr: entry.addr,
            port: entry.port,
        })
    }

    /// Number of entries, at most [`MAX_ADDRS`].
    pub fn len(&self) -> u8 {
        match self.0 {
            Source::Wire(_, count) => count,
            Source::Plain(entries) => u8::try_from(entries.len()).unwrap_or(u8::MAX),
        }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries.
    pub fn iter(&self) -> Iter<'a> {
        Iter(match self.0 {
            Source::Wire(bytes, _) => Cursor::Wire(Reader(bytes)),
            Source::Plain(entries) => Cursor::Plain(entries.iter()),
        })
    }
}

impl PartialEq for AddrList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl core::fmt::Debug for AddrList<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &AddrList<'a> {
    type Item = Entry;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The entries of an [`AddrList`].
pub struct Iter<'a>(Cursor<'a>);

enum Cursor<'a> {
    Wire(Reader<'a>),
    Plain(core::slice::Iter<'a, Entry>),
}

impl Iterator for Iter<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        match &mut self.0 {
            Cursor::Wire(reader) => Entry::read(reader),
            Cursor::Plain(entries) => entries.next().copied(),
        }
    }
}
