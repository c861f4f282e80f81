// SPDX-License-Identifier: GPL-2.0

//! Glue between the kernel and the protocol: a packet comes in, the logic in
//! [`crate::proto`] is asked, and its verdict is carried out.
//!
//! | file | what it does |
//! | --- | --- |
//! | `tx` | POST_ROUTING: choose a lane (`choice`) that has room (`room`), rewrite |
//! | `ask` | POST_ROUTING: ask a destination, answer who asks in a SYN |
//! | `rx` | PRE_ROUTING: recognise, restore, strip, consume |
//! | `icmp` | errors about added lanes |
//! | `wrapped` | packets inside UDP or made-up TCP, segments cut to fit |
//! | `order` | LOCAL_IN (`hook`): hold and release TCP segments and datagrams with numbers |
//! | `copies` | the same data on several lanes |
//! | `numbered` | numbers of datagrams: know copies |
//! | `resend` | keep what is in flight, send it again when its path fails |
//! | `watch` | open questions: notice silence |
//! | `heartbeat` | ask on paths not in use, remind boxes on the way of lanes |
//! | `moves`, `lend` | addresses and interfaces come and go; sockets whose own way has gone |
//! | `control`, `stranger` | what a control message does, on a lane (`lanes`) and elsewhere |
//! | `work` | process context: keys, opening, retries |
//! | `explore` | look for paths that a session could use |
//! | `expire`, `leave` | forget what is not used; leave |
//! | `instance`, `peer`, `path`, `session`, `rows` | the tables and what they hold |
//! | `links` | what is wanted of interfaces, and what follows for paths |
//! | `waiting` | sessions to look at later |
//! | `walk` | go through all sessions |
//! | `rules`, `owner` | the rules of a namespace; whose a session is, and what they say of it |
//! | `ports` | ports of added lanes and the node's own |
//! | `rider` | messages that wait for a datagram to ride on |
//! | `emit` | packets of our own |
//! | `every` | a CM with every packet, for `cm=every` |
//! | `ns`, `shared` | namespaces, what they keep |
//! | `ctl`, `ctl_paths`, `ctl_rules`, `ctl_links`, `event` | netlink |

pub mod ask;
pub mod control;
pub mod copies;
pub mod ctl;
pub mod ctl_links;
pub mod ctl_paths;
pub mod ctl_rules;
pub mod emit;
pub mod event;
pub mod every;
pub mod expire;
pub mod explore;
pub mod heartbeat;
pub mod icmp;
pub mod instance;
pub mod leave;
pub mod lend;
pub mod links;
pub mod moves;
pub mod ns;
pub mod numbered;
pub mod order;
pub mod owner;
pub mod path;
pub mod peer;
pub mod ports;
pub mod ready;
pub mod resend;
pub mod rider;
pub mod rows;
pub mod rules;
pub mod rx;
pub mod session;
pub mod shared;
pub mod stranger;
pub mod tx;
pub mod unknown;
pub mod waiting;
pub mod walk;
pub mod watch;
pub mod work;
pub mod wrapped;

/// What becomes of a packet that a hook was called with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
    /// The same, and who sent it hears of an invalid argument.
    Refuse,
    /// The same, and who sent it hears that it is too long.
    TooLong,
    /// We have it.
    Stolen,
}
