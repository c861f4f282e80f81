// SPDX-License-Identifier: GPL-2.0

//! Requests, their answers, and dumps.

use std::ops::ControlFlow;

use netlink_packet_core::Emitable;
use netlink_packet_core::NetlinkBuffer;
use netlink_packet_core::NetlinkHeader;
use netlink_packet_core::NLA_ALIGNTO;
use netlink_packet_core::NLMSG_DONE;
use netlink_packet_core::NLMSG_ERROR;
use netlink_packet_core::NLMSG_NOOP;
use netlink_packet_core::NLMSG_OVERRUN;
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_packet_core::NLM_F_REQUEST;
use netlink_packet_generic::constants::CTRL_ATTR_FAMILY_ID;
use netlink_packet_generic::constants::CTRL_ATTR_FAMILY_NAME;
use netlink_packet_generic::constants::CTRL_ATTR_MCAST_GROUPS;
use netlink_packet_generic::constants::CTRL_ATTR_MCAST_GRP_ID;
use netlink_packet_generic::constants::CTRL_ATTR_MCAST_GRP_NAME;
use netlink_packet_generic::constants::CTRL_CMD_GETFAMILY;
use netlink_packet_generic::constants::GENL_HDRLEN;
use netlink_packet_generic::constants::GENL_ID_CTRL;
use netlink_packet_generic::GenlHeader;
use nix::errno::Errno;

use super::attr::Attrs;
use super::attr::Request;
use super::extack;
use super::extack::Ending;
use super::extack::Refusal;
use super::extack::Verdict;
use super::psk::PSK_LEN;
use super::transport::Socket;
use super::transport::Transport;
use super::uapi;
use super::uapi::AttributeSet;
use super::uapi::Command;
use super::DecodeError;
use super::Error;
use super::Interface;
use super::Monitor;
use super::Node;
use super::PathChange;
use super::Prefix;
use super::Psk;
use super::Record;
use super::Rule;

/// Length of `struct nlmsghdr`.
pub(super) const NETLINK_HEADER_LEN: usize = 16;
/// How often a dump is begun anew because the table changed while it was read.
const DUMP_ATTEMPTS: usize = 5;

/// The part of the generic netlink controller's attributes that is used here.
pub(super) static CTRL: AttributeSet = AttributeSet {
    name: "ctrl",
    attributes: &[
        (CTRL_ATTR_FAMILY_ID, "family-id"),
        (CTRL_ATTR_FAMILY_NAME, "family-name"),
        (CTRL_ATTR_MCAST_GROUPS, "mcast-groups"),
    ],
};
/// The elements of a list have their position as a number.
static CTRL_GROUPS: AttributeSet = AttributeSet {
    name: "mcast-groups",
    attributes: &[],
};
static CTRL_GROUP: AttributeSet = AttributeSet {
    name: "mcast-group",
    attributes: &[
        (CTRL_ATTR_MCAST_GRP_NAME, "name"),
        (CTRL_ATTR_MCAST_GRP_ID, "id"),
    ],
};
/// The controller's own family, and the group that is told of families coming and going.
const CTRL_NAME: &str = "nlctrl";
const CTRL_NOTIFY: &str = "notify";
const GET_FAMILY: Command = Command {
    number: CTRL_CMD_GETFAMILY,
    name: "getfamily",
    attributes: &CTRL,
};
const CTRL_VERSION: u8 = 2;

/// What a dump brought.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// In the order of the kernel.
    pub items: Vec<T>,
    /// The table changed during each attempt: some items may be missing or appear twice.
    pub interrupted: bool,
}

/// A connection to the `mpip` family of one network namespace.
///
/// Every request acts on the namespace in which the socket was opened.
pub struct Client {
    transport: Box<dyn Transport>,
    family: u16,
    sequence: u32,
    buffer: Vec<u8>,
    warnings: Vec<String>,
}

/// What the controller knows of a family.
struct Family {
    number: u16,
    groups: Vec<(String, u32)>,
}

impl Family {
    fn group(&self, name: &str) -> Option<u32> {
        let mut groups = self.groups.iter();
        groups.find(|(n, _)| n == name).map(|(_, number)| *number)
    }
}

/// How an exchange went that was not refused.
pub(super) struct Outcome {
    interrupted: bool,
}

impl Client {
    /// Opens a socket in the present network namespace and looks the family up.
    pub fn connect() -> Result<Self, Error> {
        Self::new(Socket::open()?)
    }

    /// Looks the family up over `transport`.
    pub fn new(transport: impl Transport + 'static) -> Result<Self, Error> {
        Self::of_family(transport, uapi::FAMILY_NAME)
    }

    /// A client of any family.
    pub(super) fn of_family(
        transport: impl Transport + 'static,
        name: &str,
    ) -> Result<Self, Error> {
        let mut client = Self::unresolved(transport);
        client.family = client.resolve(name)?.number;
        Ok(client)
    }

    /// A client of the generic netlink controller.
    fn unresolved(transport: impl Transport + 'static) -> Self {
        Self {
            transport: Box::new(transport),
            family: GENL_ID_CTRL,
            sequence: 0,
            buffer: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Turns the connection into one that listens to the events of the namespace, for which
    /// CAP_NET_ADMIN is needed there.
    pub fn monitor(mut self) -> Result<Monitor, Error> {
        self.family = GENL_ID_CTRL;
        // In this order, so that the family cannot go without being noticed: an exchange skips
        // notifications, but one that was sent before makes the last look-up fail.
        let controller = self.resolve(CTRL_NAME)?;
        if let Some(group) = controller.group(CTRL_NOTIFY) {
            self.transport.join(group)?;
        }
        let family = self.resolve(uapi::FAMILY_NAME)?;
        let group = family.group(uapi::GROUP_EVENTS);
        self.transport
            .join(group.ok_or(Error::GroupMissing)?)
            .map_err(|error| match error.raw_os_error() {
                Some(errno) if errno == Errno::EPERM as i32 => Error::Refused(Refusal {
                    errno,
                    ..Refusal::default()
                }),
                _ => Error::Io(error),
            })?;
        Ok(Monitor::new(self.transport, family.number))
    }

    /// The number of the family, which it has until the module is unloaded.
    pub(super) fn family(&self) -> u16 {
        self.family
    }

    fn resolve(&mut self, name: &str) -> Result<Family, Error> {
        let request = Request::new(GET_FAMILY).string(CTRL_ATTR_FAMILY_NAME, name);
        let mut number = None;
        let mut groups = Vec::new();
        let outcome = self.exchange(&request, CTRL_VERSION, NLM_F_ACK, |attrs| {
            for attr in attrs {
                let attr = attr?;
                match attr.kind() {
                    CTRL_ATTR_FAMILY_ID => number = Some(attr.u16()?),
                    CTRL_ATTR_MCAST_GROUPS => {
                        for group in attr.nest(&CTRL_GROUPS) {
                            groups.extend(read_group(group?.nest(&CTRL_GROUP))?);
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        });
        match outcome {
            Err(Error::Refused(refusal)) if refusal.errno == Errno::ENOENT as i32 => {
                Err(Error::FamilyMissing)
            }
            Err(error) => Err(error),
            Ok(_) => {
                let number =
                    number.ok_or_else(|| DecodeError::missing(&CTRL, CTRL_ATTR_FAMILY_ID))?;
                Ok(Family { number, groups })
            }
        }
    }

    /// The state of the namespace's instance.
    pub fn status(&mut self) -> Result<Node, Error> {
        self.get(Request::new(uapi::CMD_GET))
    }

    /// Whether the namespace's pre-shared key is this one.
    pub fn has_psk(&mut self, psk: &Psk) -> Result<bool, Error> {
        let request = Request::new(uapi::CMD_GET).bytes(uapi::NODE_PSK, psk.bytes());
        Ok(self.get(request)?.has_psk == Some(true))
    }

    fn get(&mut self, request: Request) -> Result<Node, Error> {
        let mut node = None;
        self.call(&request, |attrs| {
            node = Some(Node::from_attrs(attrs)?);
            Ok(())
        })?;
        Ok(node.ok_or_else(|| DecodeError::new(uapi::CMD_GET.name, "no reply"))?)
    }

    /// Enables or disables the namespace's instance.
    pub fn set_enabled(&mut self, enabled: bool) -> Result<(), Error> {
        let request = Request::new(uapi::CMD_SET).u8(uapi::NODE_ENABLED, enabled.into());
        self.call(&request, |_| Ok(()))
    }

    /// Sets the pre-shared key, or takes it away. If that changes something where MPIP is on, all
    /// sessions end and keys are agreed with all peers again.
    pub fn set_psk(&mut self, psk: Option<&Psk>) -> Result<(), Error> {
        let none = [0; PSK_LEN];
        let psk = psk.map_or(&none, Psk::bytes);
        let request = Request::new(uapi::CMD_SET).bytes(uapi::NODE_PSK, psk);
        self.call(&request, |_| Ok(()))
    }

    /// Sets the parameter `name`.
    pub fn set_param(&mut self, name: &str, value: u64) -> Result<(), Error> {
        let request = Request::new(uapi::CMD_PARAM_SET)
            .string(uapi::PARAM_NAME, name)
            .u64(uapi::PARAM_VALUE, value);
        self.call(&request, |_| Ok(()))
    }

    /// Adds a prefix whose destinations are asked.
    pub fn add_prefix(&mut self, prefix: &Prefix) -> Result<(), Error> {
        self.call(&prefix.request(uapi::CMD_PREFIX_ADD), |_| Ok(()))
    }

    /// Removes a prefix whose destinations are asked.
    pub fn del_prefix(&mut self, prefix: &Prefix) -> Result<(), Error> {
        self.call(&prefix.request(uapi::CMD_PREFIX_DEL), |_| Ok(()))
    }

    /// Changes what is set for an interface; what is `None` stays.
    pub fn set_interface(&mut self, interface: &Interface) -> Result<(), Error> {
        self.call(&interface.request(), |_| Ok(()))
    }

    /// Forgets what is set for the interface `name`.
    pub fn reset_interface(&mut self, name: &str) -> Result<(), Error> {
        let request = Request::new(uapi::CMD_INTERFACE_RESET).string(uapi::INTERFACE_NAME, name);
        self.call(&request, |_| Ok(()))
    }

    /// Changes what is wanted of a path, for as long as it lives.
    pub fn set_path(&mut self, change: &PathChange) -> Result<(), Error> {
        self.call(&change.request(), |_| Ok(()))
    }

    /// Adds a rule, with its number if it has one, at the end if not.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        self.call(&rule.request(), |_| Ok(()))
    }

    /// Removes the rule with this number.
    pub fn del_rule(&mut self, number: u32) -> Result<(), Error> {
        let request = Request::new(uapi::CMD_RULE_DEL).u32(uapi::RULE_NUMBER, number);
        self.call(&request, |_| Ok(()))
    }

    /// Removes all rules.
    pub fn flush_rules(&mut self) -> Result<(), Error> {
        self.call(&Request::new(uapi::CMD_RULE_FLUSH), |_| Ok(()))
    }

    /// Adds rules, or puts them in the place of all (`replace`); they are in force all at once, or
    /// not at all if this fails. `refused` is told which one the kernel does not take.
    pub fn load_rules<'a>(
        &mut self,
        rules: impl Iterator<Item = &'a Rule>,
        replace: bool,
        refused: impl FnOnce(usize),
    ) -> Result<(), Error> {
        let mut draft = self.draft_rules()?;
        if replace {
            draft.flush()?;
        }
        for (i, rule) in rules.enumerate() {
            let added = draft.add(rule);
            if added.is_err() {
                refused(i);
                return added;
            }
        }
        draft.commit()
    }

    /// A draft that has the rules in force. There is one in a namespace at a time.
    pub fn draft_rules(&mut self) -> Result<Draft<'_>, Error> {
        let draft = Draft {
            number: draft_number(),
            client: self,
        };
        let request = draft.of_it(Request::new(uapi::CMD_RULE_DRAFT));
        draft.client.call(&request, |_| Ok(()))?;
        Ok(draft)
    }

    /// Lists all records of a kind. If the table changes meanwhile the dump is begun anew, a few
    /// times: a busy table may never hold still.
    pub fn list<T: Record>(&mut self) -> Result<Listing<T>, Error> {
        self.list_as(Some)
    }

    /// The same, of what `pick` makes of each record, or leaves out: of very many, what is shown
    /// takes less room than all that is known.
    pub fn list_as<T: Record, R>(
        &mut self,
        mut pick: impl FnMut(T) -> Option<R>,
    ) -> Result<Listing<R>, Error> {
        let mut items = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            items.clear();
            if self.scan(|record| items.extend(pick(record)))? {
                let interrupted = false;
                return Ok(Listing { items, interrupted });
            }
        }
        let interrupted = true;
        Ok(Listing { items, interrupted })
    }

    /// Hands the records of one kind to `each` as the kernel reports them, without keeping any.
    /// False if the table changed meanwhile.
    pub fn scan<T: Record>(&mut self, mut each: impl FnMut(T)) -> Result<bool, Error> {
        self.scan_until(|record| {
            each(record);
            ControlFlow::Continue(())
        })
    }

    /// The same, until `each` has seen enough. The kernel is then in the middle of the dump, and
    /// begins no other one on this connection.
    pub fn scan_until<T: Record>(
        &mut self,
        mut each: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let request = Request::new(T::COMMAND);
        let outcome = self.exchange_until(&request, uapi::FAMILY_VERSION, NLM_F_DUMP, |attrs| {
            Ok(each(T::decode(attrs)?))
        })?;
        Ok(!outcome.interrupted)
    }

    /// Takes the remarks the kernel made about requests it accepted.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn call(
        &mut self,
        request: &Request,
        each: impl FnMut(Attrs<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), Error> {
        self.exchange(request, uapi::FAMILY_VERSION, NLM_F_ACK, each)
            .map(|_| ())
    }

    /// Sends `request` and hands each reply to `each` until the kernel ends the exchange. After a
    /// reply that makes no sense the rest is still read, so that the next exchange is not
    /// disturbed.
    pub(super) fn exchange(
        &mut self,
        request: &Request,
        version: u8,
        flags: u16,
        mut each: impl FnMut(Attrs<'_>) -> Result<(), DecodeError>,
    ) -> Result<Outcome, Error> {
        self.exchange_until(request, version, flags, |attrs| {
            each(attrs).map(ControlFlow::Continue)
        })
    }

    /// The same, until `each` has seen enough: what is left of the answer is then left unread.
    fn exchange_until(
        &mut self,
        request: &Request,
        version: u8,
        flags: u16,
        mut each: impl FnMut(Attrs<'_>) -> Result<ControlFlow<()>, DecodeError>,
    ) -> Result<Outcome, Error> {
        let set = request.command.attributes;
        self.sequence = self.sequence.wrapping_add(1);
        let message = self.message(request, version, NLM_F_REQUEST | flags);
        self.transport.send(&message)?;

        let mut interrupted = false;
        let mut senseless = None;
        loop {
            self.transport.receive(&mut self.buffer)?;
            let mut rest = &self.buffer[..];
            if rest.is_empty() {
                return Err(DecodeError::new("netlink", "empty datagram").into());
            }
            while !rest.is_empty() {
                let reply = NetlinkBuffer::new_checked(rest)
                    .map_err(|why| DecodeError::new("netlink", why))?;
                let length = reply.length() as usize;
                let aligned = length.next_multiple_of(NLA_ALIGNTO).min(rest.len());
                let payload = &rest[NETLINK_HEADER_LEN..length];
                rest = &rest[aligned..];
                // Left over from an exchange that was given up.
                if reply.sequence_number() != self.sequence {
                    continue;
                }
                interrupted |= reply.flags() & NLM_F_DUMP_INTR != 0;

                let ending = match reply.message_type() {
                    NLMSG_NOOP => continue,
                    NLMSG_OVERRUN => {
                        return Err(DecodeError::new("netlink", "data lost").into());
                    }
                    NLMSG_ERROR => Ending::Error,
                    NLMSG_DONE => Ending::Done,
                    kind if kind != self.family || senseless.is_some() => continue,
                    _ => {
                        let attrs = check_reply(payload, request);
                        match attrs.and_then(|attrs| each(Attrs::new(set, attrs))) {
                            Ok(ControlFlow::Continue(())) => {}
                            Ok(ControlFlow::Break(())) => return Ok(Outcome { interrupted }),
                            Err(error) => senseless = Some(error),
                        }
                        continue;
                    }
                };
                match extack::parse(ending, reply.flags(), payload, &message, set)? {
                    Verdict::Refused(refusal) => return Err(Error::Refused(refusal)),
                    Verdict::Accepted { warning } => self.warnings.extend(warning),
                }
                return match senseless {
                    Some(error) => Err(error.into()),
                    None => Ok(Outcome { interrupted }),
                };
            }
        }
    }

    fn message(&self, request: &Request, version: u8, flags: u16) -> Vec<u8> {
        let length = NETLINK_HEADER_LEN + GENL_HDRLEN + request.attributes.len();
        let mut header = NetlinkHeader::default();
        header.length = length as u32;
        header.message_type = self.family;
        header.flags = flags;
        header.sequence_number = self.sequence;

        let cmd = request.command.number;
        let mut message = vec![0; NETLINK_HEADER_LEN + GENL_HDRLEN];
        header.emit(&mut message);
        GenlHeader { cmd, version }.emit(&mut message[NETLINK_HEADER_LEN..]);
        message.extend_from_slice(&request.attributes);
        message
    }
}

/// Name and number of a multicast group.
fn read_group(attrs: Attrs<'_>) -> Result<Option<(String, u32)>, DecodeError> {
    let (mut name, mut number) = (None, None);
    for attr in attrs {
        let attr = attr?;
        match attr.kind() {
            CTRL_ATTR_MCAST_GRP_NAME => name = Some(attr.string()?),
            CTRL_ATTR_MCAST_GRP_ID => number = Some(attr.u32()?),
            _ => {}
        }
    }
    Ok(name.zip(number))
}

/// The attributes of a reply.
fn check_reply<'a>(payload: &'a [u8], request: &Request) -> Result<&'a [u8], DecodeError> {
    payload
        .get(GENL_HDRLEN..)
        .ok_or_else(|| DecodeError::new(request.command.name, "reply too short"))
}

/// Rules that are not in force yet, and are all at once when it is committed.
pub struct Draft<'a> {
    number: u32,
    client: &'a mut Client,
}

impl Draft<'_> {
    fn of_it(&self, request: Request) -> Request {
        request.u32(uapi::RULE_DRAFT, self.number)
    }

    fn call(&mut self, request: Request) -> Result<(), Error> {
        let request = self.of_it(request);
        self.client.call(&request, |_| Ok(()))
    }

    /// Adds a rule, with its number if it has one, at the end if not.
    pub fn add(&mut self, rule: &Rule) -> Result<(), Error> {
        self.call(rule.request())
    }

    /// Removes the rule with this number.
    pub fn delete(&mut self, number: u32) -> Result<(), Error> {
        self.call(Request::new(uapi::CMD_RULE_DEL).u32(uapi::RULE_NUMBER, number))
    }

    /// Removes all rules.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.call(Request::new(uapi::CMD_RULE_FLUSH))
    }

    /// Lists the rules in force. If they are not those that the draft was made from, it will not
    /// be committed.
    pub fn in_force(&mut self) -> Result<Listing<Rule>, Error> {
        self.client.list()
    }

    /// Puts it in force. Fails with `EAGAIN` if others have changed the rules meanwhile.
    pub fn commit(mut self) -> Result<(), Error> {
        self.call(Request::new(uapi::CMD_RULE_COMMIT))
    }
}

/// A number for a draft that another process is not likely to choose.
fn draft_number() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |time| time.subsec_nanos());
    (nanos ^ std::process::id().rotate_left(16)) | 1
}

#[cfg(test)]
mod tests {
    //! With the kernel of this machine, whose generic netlink controller is always there. The
    //! family itself is tested in `tests/client.rs`.

    use super::*;

    #[test]
    fn controller_knows_itself() {
        let mut client = Client::unresolved(Socket::open().unwrap());
        let controller = client.resolve(CTRL_NAME).unwrap();
        assert_eq!(controller.number, GENL_ID_CTRL);
        assert!(controller.group(CTRL_NOTIFY).is_some());
        assert!(controller.group("no-such-group").is_none());
        let missing = client.resolve("no-such-family").err();
        assert!(matches!(missing, Some(Error::FamilyMissing)), "{missing:?}");
        assert_eq!(client.resolve(CTRL_NAME).unwrap().number, GENL_ID_CTRL);
    }

    #[test]
    fn controller_names_the_attribute_it_refuses() {
        let mut client = Client::unresolved(Socket::open().unwrap());
        let refusal = match client.resolve("longer-than-names-of-families-may-be").err() {
            Some(Error::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal.attribute.as_deref(), Some("ctrl.family-name"));
        assert!(refusal.message.is_some(), "{refusal}");
    }

    #[test]
    fn controller_lists_families() {
        let mut client = Client::unresolved(Socket::open().unwrap());
        let mut names = Vec::new();
        let request = Request::new(GET_FAMILY);
        let outcome = client.exchange(&request, CTRL_VERSION, NLM_F_DUMP, |attrs| {
            for attr in attrs {
                let attr = attr?;
                if attr.kind() == CTRL_ATTR_FAMILY_NAME {
                    names.push(attr.string()?);
                }
            }
            Ok(())
        });
        assert!(outcome.is_ok());
        assert!(names.iter().any(|name| name == "nlctrl"), "{names:?}");
    }
}
