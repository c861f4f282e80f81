// SPDX-License-Identifier: GPL-2.0

//! What can go wrong between this program and the kernel.

use std::fmt;
use std::io;

use super::uapi;
use super::uapi::AttributeSet;
use super::Refusal;

/// Why a request has no answer.
#[derive(Debug)]
pub enum Error {
    /// The kernel knows no family of this name: the module is not loaded.
    FamilyMissing,
    /// The family went while its events were listened to: the module was unloaded.
    FamilyGone,
    /// The family has no events: the module is older than this program.
    GroupMissing,
    /// The kernel refused the request.
    Refused(Refusal),
    /// The kernel's answer makes no sense.
    Malformed(DecodeError),
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FamilyMissing => {
                let name = uapi::FAMILY_NAME;
                write!(
                    f,
                    "generic netlink family \"{name}\" not found; try: modprobe {name}"
                )
            }
            Self::FamilyGone => write!(f, "the module {} was unloaded", uapi::FAMILY_NAME),
            Self::GroupMissing => {
                let name = uapi::FAMILY_NAME;
                write!(f, "the module {name} sends no events: it is too old")
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Malformed(error) => {
                write!(f, "cannot make sense of the kernel's answer: {error}")
            }
            Self::Io(error) => match error.raw_os_error() {
                Some(number) => write!(f, "netlink: {}", strerror(number)),
                None => write!(f, "netlink: {error}"),
            },
        }
    }
}

impl Error {
    /// True if others have changed the rules, or wanted to, while this process did.
    pub(crate) fn is_about_draft(&self) -> bool {
        matches!(self, Self::Refused(why) if why.attribute.as_deref() == Some("rule.draft"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::FamilyMissing | Self::FamilyGone | Self::GroupMissing | Self::Refused(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// The C library's text for an error number, without the number the standard library adds.
pub(crate) fn strerror(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rsplit_once(" (os error") {
        Some((text, _)) => text.to_string(),
        None => text,
    }
}

/// Bytes that are not what the specification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(String);

impl DecodeError {
    pub(super) fn new(what: &str, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }

    /// An attribute is absent without which a record means nothing.
    pub(super) fn missing(set: &AttributeSet, number: u16) -> Self {
        Self::new(&set.name_of(number), "missing")
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}
