// SPDX-License-Identifier: GPL-2.0

//! Looks at the kernel, in a thread of its own where somebody may press keys meanwhile: a dump of
//! very many sessions takes seconds.

use std::io;
use std::io::Read;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::Scope;

use nix::errno::Errno;

use super::state::Snapshot;
use crate::cmd::path;
use crate::nl;
use crate::nl::Client;
use crate::nl::Path;
use crate::nl::Session;
use crate::system::System;
use crate::Error;

/// Asks the kernel for everything.
pub(super) struct Looker<'a> {
    system: &'a dyn System,
    client: Option<Client>,
    enough: Arc<AtomicBool>,
}

impl<'a> Looker<'a> {
    /// It connects by itself if there is no connection.
    pub fn new(system: &'a dyn System, client: Option<Client>) -> Self {
        let enough = Arc::default();
        Self {
            system,
            client,
            enough,
        }
    }

    /// None if nobody wants to know any more. A table that changes while it is read is taken as it
    /// comes: the next look is soon.
    pub fn look(&mut self) -> Result<Option<Snapshot>, Error> {
        match self.try_look() {
            // The module was unloaded. It may be there again.
            Err(nl::Error::Refused(refusal)) if refusal.errno == Errno::ENOENT as i32 => {
                self.client = None;
                Ok(self.try_look()?)
            }
            result => Ok(result?),
        }
    }

    fn try_look(&mut self) -> Result<Option<Snapshot>, nl::Error> {
        let system = self.system;
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(system.connect()?),
        };
        let node = client.status()?;
        let mut paths = Vec::new();
        client.scan(|path: Path| paths.push(path))?;
        let at = system.clock();
        let mut sessions = Vec::new();
        client.scan_until(|session: Session| {
            sessions.push(session);
            match self.enough.load(Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        if self.enough.load(Relaxed) {
            return Ok(None);
        }
        let named = paths.into_iter().map(|path| {
            let dev = path::interface(&path, system);
            (path, dev)
        });
        let paths = named.collect();
        Ok(Some(Snapshot {
            at,
            node,
            paths,
            sessions,
        }))
    }
}

/// A thread that looks when it is asked to. It ends soon after this is dropped, in the middle of a
/// dump as well.
pub(super) struct Reader {
    requests: Sender<()>,
    looks: Receiver<Result<Snapshot, Error>>,
    /// Has one byte for each look that can be taken, and ends with the thread.
    ready: UnixStream,
    enough: Arc<AtomicBool>,
}

impl Reader {
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        looker: Looker<'scope>,
    ) -> io::Result<Self> {
        let (ready, bell) = UnixStream::pair()?;
        let (requests, requested) = mpsc::channel();
        let (done, looks) = mpsc::channel();
        let enough = Arc::clone(&looker.enough);
        scope.spawn(move || serve(looker, &requested, &done, bell));
        Ok(Self {
            requests,
            looks,
            ready,
            enough,
        })
    }

    /// Asks for a look.
    pub fn request(&self) -> io::Result<()> {
        self.requests.send(()).map_err(|_| gone())
    }

    /// What can be read once a look can be taken without waiting.
    pub fn ready(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// Takes the look that was asked for.
    pub fn take(&mut self) -> Result<Snapshot, Error> {
        self.ready.read_exact(&mut [0])?;
        self.looks.recv().map_err(|_| gone())?
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.enough.store(true, Relaxed);
    }
}

/// Only a panic ends the thread before its time.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn serve(
    mut looker: Looker<'_>,
    requested: &Receiver<()>,
    done: &Sender<Result<Snapshot, Error>>,
    mut bell: UnixStream,
) {
    for () in requested {
        let Some(look) = looker.look().transpose() else {
            return;
        };
        if done.send(look).is_err() || bell.write_all(&[0]).is_err() {
            return;
        }
    }
}
