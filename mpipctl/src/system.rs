// SPDX-License-Identifier: GPL-2.0

//! All that reaches outside the process, behind one trait that tests replace.

use std::env;
use std::fs;
use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::fchown;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::net::if_::if_nametoindex;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sched::setns;
use nix::sched::CloneFlags;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::time::clock_gettime;
use nix::time::ClockId;

use crate::network::Network;
use crate::nl;
use crate::nl::Client;
use crate::screen::Screen;
use crate::screen::Terminal;
use crate::Error;

const NETNS_DIR: &str = "/var/run/netns";
const OWN_NETNS: &str = "/proc/self/ns/net";
/// Inode of the initial network namespace (`NET_NS_INIT_INO` of linux/nsfs.h); kernels before
/// 6.18 choose another.
const INIT_NETNS_INODE: u64 = 0xEFFF_FFF9;

/// How many symbolic links may follow each other, as the kernel has it.
const MAX_LINKS: usize = 40;

/// What commands need of the system, in any of their threads.
pub trait System: Sync {
    /// Opens a connection to the kernel.
    fn connect(&self) -> Result<Client, nl::Error>;

    /// The name of the interface with this index.
    fn interface(&self, index: u32) -> Option<String>;

    /// The index of the interface with this name.
    fn interface_index(&self, name: &str) -> Option<u32>;

    /// The id of the control group of version 2 with this path below the root of all.
    fn cgroup_id(&self, path: &str) -> Option<u64>;

    /// The path of the control group with this id.
    fn cgroup_path(&self, id: u64) -> Option<String>;

    /// The name of the network namespace that commands act on.
    fn namespace(&self) -> String;

    /// The text of a file; - is standard input.
    fn read(&self, path: &str) -> io::Result<String>;

    /// Who may do what with a file, as chmod takes it; none of what is no file, such as a pipe.
    fn mode(&self, path: &str) -> Option<u32>;

    /// Replaces the text of a file.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;

    /// Makes a file have this text at once, or leaves it as it is; it keeps its mode and owner.
    fn replace(&self, path: &str, text: &str) -> io::Result<()>;

    /// The names in a folder, none if it is not there.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;

    /// What a program writes, or why it could not.
    fn output(&self, program: &str, arguments: &[&str]) -> io::Result<String>;

    /// Interfaces, addresses and routes of the network namespace.
    fn network(&self) -> io::Result<Network>;

    /// True if whoever looks at the output likes colours.
    fn likes_color(&self) -> bool;

    /// Remarks something at once, on standard error.
    fn warn(&self, text: &str);

    /// The terminal as a whole.
    fn screen(&self) -> Result<Box<dyn Screen>, Error>;

    /// Bytes that nobody can guess.
    fn random(&self) -> io::Result<[u8; 32]>;

    /// The time on a clock that only goes forward.
    fn clock(&self) -> Duration;

    /// Lets this time pass.
    fn sleep(&self, time: Duration);

    /// From now on the process ends with status 0 when it is interrupted or terminated, and when
    /// nobody reads its output any more, be it waiting or not. All that was written must have
    /// been flushed.
    fn end_when_told(&self);
}

/// The system this process runs on.
#[derive(Debug, Default)]
pub struct Real {
    namespace: Option<String>,
    has_read_input: AtomicBool,
}

impl Real {
    /// Enters the network namespace `name`, if one is given. Interface names, sockets and thus
    /// requests belong to it from then on.
    pub fn enter(name: Option<&str>) -> Result<Self, Error> {
        if let Some(name) = name {
            let failed = |errno| Error::Namespace {
                name: name.to_string(),
                errno,
            };
            let file = File::open(namespace_path(name)).map_err(|error| {
                failed(Errno::from_raw(error.raw_os_error().unwrap_or_default()))
            })?;
            setns(file, CloneFlags::CLONE_NEWNET).map_err(failed)?;
        }
        let namespace = name.map(str::to_string);
        Ok(Self {
            namespace,
            ..Self::default()
        })
    }
}

/// A path is taken as it is, as `ip -n` does; otherwise names go before process ids.
fn namespace_path(name: &str) -> PathBuf {
    let named = Path::new(NETNS_DIR).join(name);
    let is_pid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    if name.contains('/') {
        PathBuf::from(name)
    } else if is_pid && !named.exists() {
        PathBuf::from(format!("/proc/{name}/ns/net"))
    } else {
        named
    }
}

impl System for Real {
    fn connect(&self) -> Result<Client, nl::Error> {
        Client::connect()
    }

    fn interface(&self, index: u32) -> Option<String> {
        if_indextoname(index).ok()?.into_string().ok()
    }

    fn interface_index(&self, name: &str) -> Option<u32> {
        if_nametoindex(name).ok()
    }

    fn cgroup_id(&self, path: &str) -> Option<u64> {
        let root = cgroup_root()?;
        // As it is typed below the root, or with the folder that this is mounted at.
        let path = Path::new(path);
        let below = path.strip_prefix(&root).or_else(|_| path.strip_prefix("/"));
        let folder = fs::metadata(root.join(below.unwrap_or(path))).ok()?;
        folder.is_dir().then(|| folder.ino())
    }

    fn cgroup_path(&self, id: u64) -> Option<String> {
        let root = cgroup_root()?;
        let found = folder_with(&root, id)?;
        let below = found.strip_prefix(&root).ok()?;
        Some(format!("/{}", below.to_str()?))
    }

    fn namespace(&self) -> String {
        if let Some(name) = &self.namespace {
            return name.clone();
        }
        match fs::metadata(OWN_NETNS) {
            Ok(own) => namespace_name(own.dev(), own.ino()),
            Err(_) => "unknown".to_string(),
        }
    }

    fn read(&self, path: &str) -> io::Result<String> {
        match path {
            // It would seem to be empty.
            "-" if self.has_read_input.swap(true, Ordering::Relaxed) => Err(io::Error::other(
                "standard input was read before, and has nothing more",
            )),
            "-" => io::read_to_string(io::stdin().lock()),
            path => fs::read_to_string(path),
        }
    }

    fn mode(&self, path: &str) -> Option<u32> {
        if path == "-" {
            return None;
        }
        let metadata = fs::metadata(path).ok()?;
        metadata.is_file().then(|| metadata.mode() & 0o7777)
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        fs::write(path, text)
    }

    fn replace(&self, path: &str, text: &str) -> io::Result<()> {
        let path = target(path)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder)?;
        let new = path.with_extension(format!("new.{}", process::id()));
        // If this name is taken, the file is somebody else's.
        let mut file = File::create_new(&new)?;
        let done = write_synced(&mut file, &path, text).and_then(|()| fs::rename(&new, &path));
        match done {
            // The name lasts once the folder has reached the disk.
            Ok(()) => File::open(folder)?.sync_all(),
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into()));
        let mut names = names.collect::<io::Result<Vec<String>>>()?;
        names.sort();
        Ok(names)
    }

    fn output(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        let output = Command::new(program).args(arguments).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let reason = said.lines().next().unwrap_or("no reason was given");
            return Err(io::Error::other(reason.to_string()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn network(&self) -> io::Result<Network> {
        Network::read()
    }

    fn likes_color(&self) -> bool {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
    }

    fn warn(&self, text: &str) {
        // If standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "Warning: {text}");
    }

    fn screen(&self) -> Result<Box<dyn Screen>, Error> {
        Ok(Box::new(Terminal::take()?))
    }

    fn random(&self) -> io::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn clock(&self) -> Duration {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
        now.map_or(Duration::ZERO, Duration::from)
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    fn end_when_told(&self) {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        // Without a descriptor for them the signals must go on ending the process their own way.
        let Ok(descriptor) = SignalFd::new(&signals) else {
            return;
        };
        if signals.thread_block().is_ok() {
            thread::spawn(move || {
                wait_for_end(&descriptor);
                process::exit(0);
            });
        }
    }
}

/// What a symbolic link leads to, be it there or not: that is replaced, not the link.
fn target(path: &str) -> io::Result<PathBuf> {
    let mut path = PathBuf::from(path);
    for _ in 0..MAX_LINKS {
        let Ok(next) = fs::read_link(&path) else {
            return Ok(path);
        };
        path.pop();
        path.push(next);
    }
    Err(Errno::ELOOP.into())
}

/// Fills a new file, which gets mode and owner of `old`, if there is one, and waits for the disk.
fn write_synced(file: &mut File, old: &Path, text: &str) -> io::Result<()> {
    if let Ok(kept) = fs::metadata(old) {
        if (kept.uid(), kept.gid()) != (file.metadata()?.uid(), file.metadata()?.gid()) {
            fchown(&*file, Some(kept.uid()), Some(kept.gid()))?;
        }
        file.set_permissions(kept.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Waits until the process is to end. Standard output is not polled for anything but its end.
fn wait_for_end(signals: &SignalFd) {
    let output = io::stdout();
    let mut fds = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(output.as_fd(), PollFlags::empty()),
    ];
    while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
}

fn namespace_name(device: u64, inode: u64) -> String {
    let is_own = |path: &Path| {
        fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == (device, inode))
    };
    // /proc/1 may be read by root only, and in a container shows the container's first process.
    if inode == INIT_NETNS_INODE || is_own(Path::new("/proc/1/ns/net")) {
        return "init".to_string();
    }
    let is_it = |name: &String| is_own(&Path::new(NETNS_DIR).join(name));
    namespaces()
        .into_iter()
        .find(is_it)
        .unwrap_or_else(|| inode.to_string())
}

/// The network namespaces that have a name.
pub fn namespaces() -> Vec<String> {
    let named = fs::read_dir(NETNS_DIR).into_iter().flatten().flatten();
    named
        .map(|entry| entry.file_name().to_string_lossy().into())
        .collect()
}

/// Where control groups of version 2 are mounted.
fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    let at = mounts.find_map(|mut words| {
        let at = words.nth(1)?;
        (words.next()? == "cgroup2").then(|| at.to_string())
    })?;
    Some(PathBuf::from(at))
}

/// The folder with this inode number, this one or below it.
fn folder_with(folder: &Path, id: u64) -> Option<PathBuf> {
    let own = fs::symlink_metadata(folder).ok()?;
    if own.ino() == id {
        return Some(folder.to_path_buf());
    }
    let inside = fs::read_dir(folder).ok()?.flatten();
    let mut folders = inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.find_map(|entry| folder_with(&entry.path(), id))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn namespace_paths() {
        for (name, path) in [
            ("blue", "/var/run/netns/blue"),
            ("1", "/proc/1/ns/net"),
            ("1a", "/var/run/netns/1a"),
            ("/proc/self/ns/net", "/proc/self/ns/net"),
        ] {
            assert_eq!(namespace_path(name), Path::new(path));
        }
    }

    #[test]
    fn files_are_replaced_as_a_whole() {
        let folder = env::temp_dir().join(format!("mpipctl-replace-{}", process::id()));
        let file = folder.join("below/it.toml");
        let path = file.to_str().unwrap();
        let system = Real::default();
        system.replace(path, "one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.join("link.toml");
        symlink(&file, &link).unwrap();
        let before = fs::metadata(&file).unwrap().ino();
        system.replace(link.to_str().unwrap(), "two").unwrap();
        let after = fs::metadata(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(after.mode() & 0o7777, 0o640);
        assert_eq!(system.mode(link.to_str().unwrap()), Some(0o640));
        assert_eq!(system.mode("/dev/null"), None);
        assert_eq!(system.mode("-"), None);
        assert_ne!(after.ino(), before, "another file has taken the name");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            system
                .names(folder.join("below").to_str().unwrap())
                .unwrap(),
            ["it.toml"]
        );
        // A link that leads nowhere yet, by way of another one.
        symlink("new/far.toml", folder.join("near.toml")).unwrap();
        let link = folder.join("nowhere.toml");
        symlink("near.toml", &link).unwrap();
        system.replace(link.to_str().unwrap(), "three").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let far = fs::read_to_string(folder.join("new/far.toml")).unwrap();
        assert_eq!(far, "three");
        let circle = folder.join("circle.toml");
        symlink("circle.toml", &circle).unwrap();
        assert!(system.replace(circle.to_str().unwrap(), "four").is_err());
        // Another's file is left alone.
        let taken = folder.join(format!("below/it.new.{}", process::id()));
        fs::write(&taken, "theirs").unwrap();
        assert!(system.replace(path, "four").is_err());
        assert_eq!(fs::read_to_string(&taken).unwrap(), "theirs");
        // None if it is not there, a mistake if it is no folder.
        let none = system.names(folder.join("none").to_str().unwrap());
        assert!(none.unwrap().is_empty() && system.names(path).is_err());
        // A folder cannot be replaced: nothing is left beside it.
        assert!(system.replace(folder.to_str().unwrap(), "three").is_err());
        let name = folder.file_name().unwrap().to_str().unwrap();
        let beside = system.names(env::temp_dir().to_str().unwrap()).unwrap();
        assert_eq!(beside.iter().filter(|n| n.starts_with(name)).count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn unknown_namespace_is_a_bad_value() {
        let error = Real::enter(Some("no-such-namespace")).unwrap_err();
        assert_eq!(error.exit_status(), 1);
        assert!(
            error.to_string().contains("\"no-such-namespace\""),
            "{error}"
        );
    }
}
