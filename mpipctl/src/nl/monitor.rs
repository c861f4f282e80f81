// SPDX-License-Identifier: GPL-2.0

//! Notifications: what the kernel sends without being asked.

use std::collections::VecDeque;

use netlink_packet_core::NetlinkBuffer;
use netlink_packet_core::NLA_ALIGNTO;
use netlink_packet_generic::constants::CTRL_ATTR_FAMILY_ID;
use netlink_packet_generic::constants::CTRL_CMD_DELFAMILY;
use netlink_packet_generic::constants::GENL_HDRLEN;
use netlink_packet_generic::constants::GENL_ID_CTRL;
use nix::errno::Errno;

use super::attr::Attrs;
use super::client::CTRL;
use super::client::NETLINK_HEADER_LEN;
use super::transport::Transport;
use super::uapi;
use super::Client;
use super::DecodeError;
use super::Error;
use super::Event;

/// What a monitor hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something happened.
    Event(Event),
    /// The kernel had no room or no memory for events since the last one. One of them may have been
    /// that the module went: see [`Monitor::outlived`].
    Lost,
}

/// Listens to the events of one network namespace, see [`Client::monitor`].
pub struct Monitor {
    transport: Box<dyn Transport>,
    family: u16,
    buffer: Vec<u8>,
    heard: VecDeque<Result<Notice, Error>>,
}

impl Monitor {
    pub(super) fn new(transport: Box<dyn Transport>, family: u16) -> Self {
        Self {
            transport,
            family,
            buffer: Vec::new(),
            heard: VecDeque::new(),
        }
    }

    /// Waits for the next notice. [`Error::FamilyGone`] says that the module was unloaded: nothing
    /// more will come, even if it is loaded again.
    pub fn receive(&mut self) -> Result<Notice, Error> {
        loop {
            if let Some(notice) = self.heard.pop_front() {
                return notice;
            }
            match self.transport.receive(&mut self.buffer) {
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Ok(Notice::Lost);
                }
                result => result?,
            }
            if let Err(error) = self.read() {
                self.heard.push_back(Err(error.into()));
            }
        }
    }

    /// True if the family that `client` has found is not the one that this monitor listens to.
    pub fn outlived(&self, client: &Client) -> bool {
        self.family != client.family()
    }

    /// Takes the messages of one datagram apart. Families come and go: others' news is skipped.
    fn read(&mut self) -> Result<(), DecodeError> {
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            let message =
                NetlinkBuffer::new_checked(rest).map_err(|why| DecodeError::new("netlink", why))?;
            let length = message.length() as usize;
            let kind = message.message_type();
            let payload = &rest[NETLINK_HEADER_LEN..length];
            rest = &rest[length.next_multiple_of(NLA_ALIGNTO).min(rest.len())..];
            let Some((header, attrs)) = payload.split_at_checked(GENL_HDRLEN) else {
                continue;
            };
            if kind == self.family && header[0] == uapi::CMD_EVENT.number {
                let event = Event::from_attrs(Attrs::new(&uapi::EVENT, attrs));
                self.heard
                    .push_back(event.map(Notice::Event).map_err(Error::from));
            } else if kind == GENL_ID_CTRL
                && header[0] == CTRL_CMD_DELFAMILY
                && family_of(attrs)? == Some(self.family)
            {
                self.heard.push_back(Err(Error::FamilyGone));
            }
        }
        Ok(())
    }
}

/// The family that a message of the controller is about.
fn family_of(attrs: &[u8]) -> Result<Option<u16>, DecodeError> {
    for attr in Attrs::new(&CTRL, attrs) {
        let attr = attr?;
        if attr.kind() == CTRL_ATTR_FAMILY_ID {
            return Ok(Some(attr.u16()?));
        }
    }
    Ok(None)
}
