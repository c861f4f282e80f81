// SPDX-License-Identifier: GPL-2.0

//! Datagrams to and from the kernel.

use std::io;

use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::SocketAddr;
use nix::libc;

/// Room for one datagram. The kernel fills at most 32 KiB per datagram of a dump.
const DATAGRAM: usize = 64 * 1024;
/// Asked of the kernel, which grants no more than net.core.rmem_max.
const RECEIVE_BUFFER: libc::c_int = 4 * 1024 * 1024;

/// Carries netlink datagrams. Tests put a scripted kernel in its place.
pub trait Transport: Send {
    /// Sends one datagram to the kernel.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Waits for one datagram from the kernel and puts it in place of what `buffer` holds.
    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<()>;

    /// Joins a multicast group: from now on its messages are received as well.
    fn join(&mut self, group: u32) -> io::Result<()>;
}

/// A netlink socket of the present network namespace.
#[derive(Debug)]
pub struct Socket(netlink_sys::Socket);

impl Socket {
    /// Opens a socket of generic netlink with full error reports switched on.
    pub fn open() -> io::Result<Self> {
        Self::of(NETLINK_GENERIC)
    }

    /// The same for interfaces, addresses and routes.
    pub(crate) fn open_route() -> io::Result<Self> {
        Self::of(NETLINK_ROUTE)
    }

    fn of(protocol: isize) -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(protocol)?;
        // Without these, errors say less and dumps need more datagrams, but all still works.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        let _ = socket.set_rx_buf_sz(RECEIVE_BUFFER);
        socket.bind_auto()?;
        Ok(Self(socket))
    }
}

impl Transport for Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let kernel = SocketAddr::new(0, 0);
        let sent = uninterrupted(|| self.0.send_to(datagram, &kernel, 0))?;
        if sent != datagram.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        loop {
            buffer.clear();
            buffer.reserve(DATAGRAM);
            let (length, sender) = uninterrupted(|| self.0.recv_from(buffer, libc::MSG_TRUNC))?;
            // Another process may send to this socket as well.
            if sender.port_number() != 0 {
                continue;
            }
            if length != buffer.len() {
                return Err(io::Error::other("datagram truncated"));
            }
            return Ok(());
        }
    }

    fn join(&mut self, group: u32) -> io::Result<()> {
        self.0.add_membership(group)
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
