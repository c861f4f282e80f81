// SPDX-License-Identifier: GPL-2.0

//! Control and inspect MPIP, multipath transmission at the IP layer.
//!
//! [`nl`] speaks the generic netlink family `mpip` with typed requests and dumps and can be used
//! by other programs. The other modules are the command-line tool `mpipctl` itself: [`cli`] is its
//! grammar, [`man`] the manual page made from that, [`cmd`] has one file per object, [`complete`]
//! tells shells what can come next, [`out`] writes text and JSON, [`screen`] is the terminal as a whole,
//! [`network`] looks at interfaces and routes, [`system`] is all that reaches outside the process.
//!
//! ```no_run
//! use mpipctl::nl::{Client, Path};
//!
//! fn main() -> Result<(), mpipctl::nl::Error> {
//!     let mut client = Client::connect()?;
//!     println!("{} sessions", client.status()?.sessions.unwrap_or(0));
//!     for path in client.list::<Path>()?.items {
//!         println!("{} {}", path.peer, path.id);
//!     }
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

pub mod cli;
pub mod cmd;
pub mod complete;
pub mod error;
pub mod man;
pub mod network;
pub mod nl;
pub mod out;
pub mod screen;
pub mod system;

pub use error::Error;
