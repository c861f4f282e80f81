// SPDX-License-Identifier: GPL-2.0

//! Errors of the tool and the exit status each leads to.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::nl;

/// Exit statuses and what they mean.
pub const STATUSES: [(u8, &str); 5] = [
    (0, "Success."),
    (
        1,
        "Wrong usage, or a bad value; or config diff has found a difference.",
    ),
    (2, "The kernel refused, or gave no sensible answer."),
    (3, "The module is not loaded, or not any more."),
    (4, "doctor found something that keeps MPIP from working."),
];

/// Why a command failed.
#[derive(Debug)]
pub enum Error {
    /// A bad value; the text quotes it and says what would do.
    Usage(String),
    /// The network namespace cannot be entered.
    Namespace {
        /// As given by the user.
        name: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel refused, or could not be asked.
    Netlink(nl::Error),
    /// A command of a batch failed.
    Line {
        /// The file, and the number of the line.
        place: String,
        /// Why.
        error: Box<Error>,
    },
    /// The kernel refused what was asked for of something.
    Refused {
        /// Of what.
        what: String,
        /// What the kernel said.
        error: nl::Error,
        /// The command that shows what there is, if this is not.
        list: Option<&'static str>,
    },
    /// Mistakes in configuration files, each with its place.
    Mistakes(Vec<String>),
    /// The kernel has something else than the configuration, as was said.
    Differs,
    /// So many checks of doctor failed.
    Unwell(usize),
    /// This failed after MPIP had ended, which could not begin anew.
    LeftOff(Box<Error>),
    /// The output cannot be written.
    Output(io::Error),
}

impl Error {
    /// Why something could not be done with `what`, which is quoted as the user has named it; `list`
    /// is the command that shows what there is. What is not the fault of `what` stays as it is.
    pub(crate) fn of(what: impl Into<String>, list: &'static str, error: nl::Error) -> Self {
        match &error {
            nl::Error::Refused(refusal) if !refusal.is_permission() => Self::Refused {
                what: what.into(),
                list: (refusal.errno == Errno::ENOENT as i32).then_some(list),
                error,
            },
            _ => Self::Netlink(error),
        }
    }

    /// True if others have changed the rules, or wanted to, while this process did.
    pub(crate) fn is_about_draft(&self) -> bool {
        match self {
            Self::Netlink(error) | Self::Refused { error, .. } => error.is_about_draft(),
            Self::Line { error, .. } => error.is_about_draft(),
            _ => false,
        }
    }

    /// The exit status to end with.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) => 1,
            Self::Namespace { errno, .. } => match errno {
                Errno::ENOENT | Errno::EINVAL => 1,
                _ => 2,
            },
            Self::Netlink(nl::Error::FamilyMissing | nl::Error::FamilyGone) => 3,
            Self::Netlink(_) | Self::Refused { .. } => 2,
            Self::Line { error, .. } | Self::LeftOff(error) => error.exit_status(),
            Self::Unwell(_) => 4,
            Self::Output(_) | Self::Mistakes(_) | Self::Differs => 1,
        }
    }

    /// True if the exit status says it all.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Differs)
    }

    /// True if whoever reads the output has seen enough: nothing to complain about.
    pub fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Line { error, .. } => error.is_broken_pipe(),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Namespace { name, errno } => {
                write!(f, "network namespace \"{name}\": ")?;
                match errno {
                    Errno::ENOENT => {
                        f.write_str("neither in /var/run/netns nor a process; try: ip netns list")
                    }
                    Errno::EPERM | Errno::EACCES => f.write_str(
                        "operation not permitted: needs CAP_SYS_ADMIN; try: sudo mpipctl …",
                    ),
                    Errno::EINVAL => f.write_str("not a network namespace"),
                    errno => f.write_str(&nl::strerror(*errno as i32)),
                }
            }
            Self::Netlink(error) => error.fmt(f),
            Self::Line { place, error } => write!(f, "{place}: {error}"),
            Self::Refused { what, error, list } => {
                write!(f, "{what}: {error}")?;
                list.map_or(Ok(()), |list| write!(f, "; try: {list}"))
            }
            Self::LeftOff(error) => write!(
                f,
                "{error}; MPIP has ended and could not begin anew: it is off; try: mpipctl enable"
            ),
            Self::Mistakes(all) => f.write_str(&all.join("\n")),
            Self::Differs => f.write_str("the configuration differs"),
            Self::Unwell(1) => f.write_str("1 check failed"),
            Self::Unwell(count) => write!(f, "{count} checks failed"),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<nl::Error> for Error {
    fn from(error: nl::Error) -> Self {
        Self::Netlink(error)
    }
}

/// Only writing the output gives plain I/O errors.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
