// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family `mpip`: typed requests and dumps.
//!
//! A [`Client`] carries requests; what the kernel lists is read with [`Client::list`] for
//! [`Peer`], [`Session`], [`Path`], [`Counter`], [`Param`], [`Avail`], [`Prefix`], [`Rule`] and [`Interface`]. A
//! [`Monitor`] hears each [`Event`] when it happens.
//!
//! The records serialise to the JSON of the tool: the names are those of the specification with
//! `_` for `-`, the units are the kernel's. An attribute the kernel does not report is `None`,
//! and no key in JSON; a list without elements is `[]`.

pub mod attr;
mod avail;
mod client;
mod counter;
mod error;
mod ethtool;
mod event;
mod extack;
mod interface;
mod monitor;
mod node;
mod param;
mod path;
mod peer;
mod prefix;
mod psk;
mod record;
mod rule;
mod session;
mod transport;
mod types;
pub mod uapi;

pub use avail::Avail;
pub use client::Client;
pub use client::Draft;
pub use client::Listing;
pub use counter::Counter;
pub(crate) use error::strerror;
pub use error::DecodeError;
pub use error::Error;
pub(crate) use ethtool::features;
pub use event::Event;
pub use extack::Refusal;
pub use interface::Interface;
pub use monitor::Monitor;
pub use monitor::Notice;
pub use node::Node;
pub use param::Choices;
pub use param::Param;
pub use path::Path;
pub use path::PathChange;
pub use peer::Peer;
pub use prefix::Prefix;
pub use prefix::PrefixError;
pub use psk::Psk;
pub use psk::PskError;
pub use record::Record;
pub use rule::Interfaces;
pub use rule::Names;
pub use rule::Rule;
pub use session::Lane;
pub use session::Session;
pub use transport::Socket;
pub use transport::Transport;
pub use types::Endpoint;
pub use types::NodeId;
pub use types::Protocol;
pub use uapi::Availability;
pub use uapi::EventKind;
pub use uapi::EventReason;
pub use uapi::InterfaceRole;
pub use uapi::LaneReason;
pub use uapi::PathState;
pub use uapi::PathWay;
pub use uapi::PathWish;
pub use uapi::RuleMode;
pub use uapi::RulePriority;
pub use uapi::SessionState;
