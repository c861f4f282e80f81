// SPDX-License-Identifier: GPL-2.0

//! A scripted kernel: it answers each command with canned netlink bytes.

#![allow(dead_code, reason = "each test program uses its part")]

mod wire;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use clap::Parser;
use mpipctl::cli::Cli;
use mpipctl::cmd;
use mpipctl::cmd::Context;
use mpipctl::network::Network;
use mpipctl::nl::uapi::*;
use mpipctl::nl::Client;
use mpipctl::nl::Error;
use mpipctl::nl::Transport;
use mpipctl::screen::Screen;
use mpipctl::screen::Wake;
use mpipctl::system::System;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use ratatui::backend::TestBackend;
use ratatui::Frame;
use ratatui::Terminal;
pub use wire::*;

pub const FAMILY: u16 = 0x23;
pub const CTRL: u16 = 0x10;
pub const NOTIFY: u32 = 0x10;
pub const EVENTS: u32 = 6;
pub const ERROR: u16 = 2;
pub const DONE: u16 = 3;
pub const MULTI: u16 = 2;
pub const DUMP_INTR: u16 = 0x10;
pub const CAPPED: u16 = 0x100;
pub const ACK_TLVS: u16 = 0x200;

pub struct Kernel {
    answers: HashMap<u8, VecDeque<Answer>>,
    pending: VecDeque<io::Result<Vec<u8>>>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    absent: bool,
    family: u16,
    groups: bool,
    notices: VecDeque<io::Result<Vec<u8>>>,
    may_join: bool,
    endless: Option<(Command, Vec<u8>)>,
    repeated: Option<Vec<u8>>,
    repetitions: u32,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            answers: HashMap::new(),
            pending: VecDeque::new(),
            requests: Arc::default(),
            absent: false,
            family: FAMILY,
            groups: true,
            notices: VecDeque::new(),
            may_join: true,
            endless: None,
            repeated: None,
            repetitions: 0,
        }
    }
}

impl Kernel {
    pub fn new() -> Self {
        Self::default()
    }

    /// A kernel in which the module was loaded anew.
    pub fn with_module_again() -> Self {
        let family = FAMILY + 1;
        Self {
            family,
            ..Self::default()
        }
    }

    /// A kernel with a module that knows no events.
    pub fn without_events() -> Self {
        let groups = false;
        Self {
            groups,
            ..Self::default()
        }
    }

    /// A kernel that lets nobody listen.
    pub fn without_rights() -> Self {
        let may_join = false;
        Self {
            may_join,
            ..Self::default()
        }
    }

    /// A datagram that comes once the group of events was joined.
    pub fn notice(mut self, datagram: Vec<u8>) -> Self {
        self.notices.push_back(Ok(datagram));
        self
    }

    /// The socket's queue overflows at this point.
    pub fn overflow(mut self) -> Self {
        let error = io::Error::from_raw_os_error(105);
        self.notices.push_back(Err(error));
        self
    }

    /// A kernel without the module.
    pub fn without_module() -> Self {
        let absent = true;
        Self {
            absent,
            ..Self::default()
        }
    }

    /// The next answer to `command`.
    pub fn answer(mut self, command: Command, answer: Answer) -> Self {
        let answers = self.answers.entry(command.number).or_default();
        answers.push_back(answer);
        self
    }

    /// Whatever else `command` is answered with, from then on it gets this record without an end.
    pub fn endless(mut self, command: Command, record: &[Vec<u8>]) -> Self {
        self.endless = Some((command, reply(MULTI, record)));
        self
    }

    /// The requests of the family so far, from the generic netlink header on.
    pub fn requests(&self) -> Arc<Mutex<Vec<Vec<u8>>>> {
        Arc::clone(&self.requests)
    }

    fn family_answer(&self, request: &[u8]) -> Answer {
        let family = if request.ends_with(b"nlctrl\0\0") {
            let groups = [group(1, "notify", NOTIFY)];
            [string(2, "nlctrl"), u16(1, CTRL), nest(7, &groups)]
        } else if self.absent {
            return vec![refusal(2, &[])];
        } else {
            let mut groups = vec![group(1, "else", 5), group(2, GROUP_EVENTS, EVENTS)];
            groups.truncate(if self.groups { 2 } else { 1 });
            [
                string(2, FAMILY_NAME),
                u16(1, self.family),
                nest(7, &groups),
            ]
        };
        vec![controller(1, &family), ack()]
    }
}

impl Transport for Kernel {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        let command = datagram[16];
        let sequence: [u8; 4] = datagram[8..12].try_into().unwrap();
        let mut answer = if kind == CTRL {
            self.family_answer(datagram)
        } else {
            assert_eq!(kind, FAMILY);
            self.requests.lock().unwrap().push(datagram[16..].to_vec());
            let answers = self.answers.get_mut(&command);
            let answer = answers.and_then(VecDeque::pop_front);
            match (answer, &self.endless) {
                (Some(answer), _) => answer,
                (None, Some((endless, datagram))) if endless.number == command => {
                    let mut datagram = datagram.clone();
                    set_sequence(&mut datagram, &sequence);
                    self.repeated = Some(datagram);
                    Vec::new()
                }
                _ => panic!("no answer to command {command}"),
            }
        };
        for bytes in &mut answer {
            set_sequence(bytes, &sequence);
        }
        self.pending.extend(answer.into_iter().map(Ok));
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let next = self.pending.pop_front();
        if let (None, Some(datagram)) = (&next, &self.repeated) {
            // Whoever does not stop to read it does not fill the machine's memory at once.
            thread::sleep(Duration::from_millis(1));
            self.repetitions += 1;
            assert!(self.repetitions < 60_000, "read without an end");
            buffer.clone_from(datagram);
            return Ok(());
        }
        *buffer = next.ok_or(io::ErrorKind::WouldBlock)??;
        Ok(())
    }

    fn join(&mut self, group: u32) -> io::Result<()> {
        match group {
            NOTIFY => Ok(()),
            EVENTS if self.may_join => {
                self.pending.append(&mut self.notices);
                Ok(())
            }
            EVENTS => Err(io::Error::from_raw_os_error(1)),
            other => panic!("joined group {other}"),
        }
    }
}

/// Fills in the sequence number where there is none; stops at damaged lengths.
fn set_sequence(mut bytes: &mut [u8], sequence: &[u8]) {
    while bytes.len() >= 16 {
        let length = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
        if bytes[8..12] == [0; 4] {
            bytes[8..12].copy_from_slice(sequence);
        }
        if length < 16 {
            break;
        }
        let next = length.next_multiple_of(4).min(bytes.len());
        bytes = &mut bytes[next..];
    }
}

/// A system with this kernel, two interfaces and a namespace.
pub struct Fake {
    kernels: Mutex<VecDeque<Kernel>>,
    files: Mutex<HashMap<String, String>>,
    modes: HashMap<String, u32>,
    has_terminal: bool,
    may_write: bool,
    network: Network,
    ruleset: Option<String>,
    signer: Option<String>,
    warnings: Mutex<Vec<String>>,
    clock: Arc<Mutex<Duration>>,
    wakes: Mutex<Option<VecDeque<Wake>>>,
    pictures: Arc<Mutex<Vec<String>>>,
}

/// A screen in memory of 80 columns and 24 lines, on which happens what was said.
struct FakeScreen {
    terminal: Terminal<TestBackend>,
    clock: Arc<Mutex<Duration>>,
    wakes: VecDeque<Wake>,
    pictures: Arc<Mutex<Vec<String>>>,
}

impl Screen for FakeScreen {
    fn draw(&mut self, paint: &mut dyn FnMut(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(|frame| paint(frame))?;
        let buffer = self.terminal.backend().buffer();
        let lines = buffer.content.chunks(buffer.area.width.into());
        let lines = lines.map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_string() + "\n"
        });
        self.pictures.lock().unwrap().push(lines.collect());
        Ok(())
    }

    fn wait(&mut self, time: Option<Duration>, other: BorrowedFd<'_>) -> io::Result<Wake> {
        let wake = self.wakes.pop_front().expect("told to end in time");
        if wake == Wake::Ready {
            let mut fds = [PollFd::new(other, PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(60_000u16))?;
            assert_eq!(fds[0].any(), Some(true), "nothing to be read");
        }
        if wake == Wake::Time {
            let time = time.expect("not without a time");
            *self.clock.lock().unwrap() += time;
        }
        Ok(wake)
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.pictures
            .lock()
            .unwrap()
            .push("suspended\n".to_string());
        Ok(())
    }
}

impl Fake {
    pub fn new(kernel: Kernel) -> Self {
        Self::changing(vec![kernel])
    }

    /// Each connection finds the next of these kernels.
    pub fn changing(kernels: Vec<Kernel>) -> Self {
        Self {
            kernels: Mutex::new(kernels.into()),
            files: Mutex::default(),
            modes: HashMap::new(),
            has_terminal: false,
            may_write: true,
            network: Network::default(),
            ruleset: None,
            signer: None,
            warnings: Mutex::default(),
            clock: Arc::default(),
            wakes: Mutex::default(),
            pictures: Arc::default(),
        }
    }

    /// The system with a terminal, on which this happens.
    pub fn terminal(self, wakes: impl IntoIterator<Item = Wake>) -> Self {
        *self.wakes.lock().unwrap() = Some(wakes.into_iter().collect());
        self
    }

    /// The system with the terminal of this process.
    pub fn own_terminal(mut self) -> Self {
        self.has_terminal = true;
        self
    }

    /// What is drawn on the terminal, each time anew.
    pub fn pictures(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.pictures)
    }

    /// The system with one more file.
    pub fn file(self, path: &str, text: &str) -> Self {
        let mut files = self.files.lock().unwrap();
        files.insert(path.to_string(), text.to_string());
        drop(files);
        self
    }

    /// The system with a file that is not its owner's alone.
    pub fn mode(mut self, path: &str, mode: u32) -> Self {
        self.modes.insert(path.to_string(), mode);
        self
    }

    /// The system for somebody without rights to change files.
    pub fn read_only(mut self) -> Self {
        self.may_write = false;
        self
    }

    /// The system with these interfaces and routes.
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// The system with `modinfo`, which names the one who has signed the module.
    pub fn signer(mut self, name: &str) -> Self {
        self.signer = Some(name.to_string());
        self
    }

    /// The system with `nft`, which lists this.
    pub fn ruleset(mut self, json: &str) -> Self {
        self.ruleset = Some(json.to_string());
        self
    }

    /// What was remarked at once.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap())
    }
}

/// Control groups, one with a name as systemd makes them.
const GROUPS: [(&str, u64); 2] = [
    ("/user.slice", 4711),
    (r"/system.slice/my\x2dbackup one.service", 4713),
];

impl System for Fake {
    fn connect(&self) -> Result<Client, Error> {
        let kernel = self.kernels.lock().unwrap().pop_front();
        Client::new(kernel.expect("connected as often as expected"))
    }

    fn interface(&self, index: u32) -> Option<String> {
        match index {
            2 => Some("eth0".to_string()),
            3 => Some("wwan0".to_string()),
            _ => None,
        }
    }

    fn cgroup_id(&self, path: &str) -> Option<u64> {
        let groups = GROUPS.iter();
        let mut found = groups.filter(|(name, _)| path.trim_start_matches('/') == &name[1..]);
        found.next().map(|(_, id)| *id)
    }

    fn cgroup_path(&self, id: u64) -> Option<String> {
        let mut found = GROUPS.iter().filter(|(_, own)| *own == id);
        found.next().map(|(name, _)| name.to_string())
    }

    fn interface_index(&self, name: &str) -> Option<u32> {
        match name {
            "eth0" => Some(2),
            "wwan0" => Some(3),
            _ => None,
        }
    }

    fn namespace(&self) -> String {
        "init".to_string()
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let text = self.files.lock().unwrap().get(path).cloned();
        text.ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn mode(&self, path: &str) -> Option<u32> {
        let is_there = path != "-" && self.files.lock().unwrap().contains_key(path);
        is_there.then(|| self.modes.get(path).copied().unwrap_or(0o600))
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        match self.files.lock().unwrap().get_mut(path) {
            Some(old) if self.may_write => {
                *old = text.to_string();
                Ok(())
            }
            _ => Err(io::Error::from_raw_os_error(1)),
        }
    }

    fn replace(&self, path: &str, text: &str) -> io::Result<()> {
        if !self.may_write {
            return Err(io::Error::from_raw_os_error(13));
        }
        let mut files = self.files.lock().unwrap();
        files.insert(path.to_string(), text.to_string());
        Ok(())
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let files = self.files.lock().unwrap();
        let names = files.keys().filter_map(|path| {
            let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
            Some(rest.split('/').next()?.to_string())
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn output(&self, program: &str, _: &[&str]) -> io::Result<String> {
        let text = match program {
            "nft" => self.ruleset.clone(),
            "modinfo" => self.signer.clone(),
            other => panic!("{other}"),
        };
        text.ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn network(&self) -> io::Result<Network> {
        Ok(self.network.clone())
    }

    fn likes_color(&self) -> bool {
        false
    }

    fn warn(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_string());
    }

    fn screen(&self) -> Result<Box<dyn Screen>, mpipctl::Error> {
        if self.has_terminal {
            return Ok(Box::new(mpipctl::screen::Terminal::take()?));
        }
        let wakes = self.wakes.lock().unwrap().take();
        Ok(Box::new(FakeScreen {
            terminal: Terminal::new(TestBackend::new(80, 24))?,
            clock: Arc::clone(&self.clock),
            wakes: wakes.ok_or(mpipctl::Error::Usage("no terminal".to_string()))?,
            pictures: Arc::clone(&self.pictures),
        }))
    }

    fn random(&self) -> io::Result<[u8; 32]> {
        Ok(std::array::from_fn(|at| at as u8))
    }

    fn clock(&self) -> Duration {
        *self.clock.lock().unwrap()
    }

    fn sleep(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }

    fn end_when_told(&self) {}
}

/// What a command did.
pub struct Ran {
    pub text: String,
    pub warnings: Vec<String>,
    pub result: Result<(), mpipctl::Error>,
}

/// Runs a command line.
pub fn try_run(line: &str, kernel: Kernel) -> Ran {
    try_run_on(line, Fake::new(kernel))
}

pub fn try_run_on(line: &str, system: Fake) -> Ran {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let mut out = Vec::new();
    let mut context = Context::new(cli.options, &system, &mut out);
    let result = cmd::run(cli.object, &mut context);
    let mut warnings = system.take_warnings();
    warnings.extend(context.take_warnings());
    let text = String::from_utf8(out).unwrap();
    Ran {
        text,
        warnings,
        result,
    }
}

/// What a command line that works writes.
pub fn run(line: &str, kernel: Kernel) -> String {
    let ran = try_run(line, kernel);
    ran.result.unwrap();
    assert!(ran.warnings.is_empty(), "{:?}", ran.warnings);
    ran.text
}

/// Exit status and message of one that does not.
pub fn error(line: &str, kernel: Kernel) -> String {
    let error = try_run(line, kernel).result.unwrap_err();
    format!("{} {error}\n", error.exit_status())
}

/// An instance that is on.
pub fn node() -> Kernel {
    let node = [
        string(NODE_VERSION, "0.1.0"),
        u8(NODE_ENABLED, 1),
        u64(NODE_ID, 0x0123_4567_89ab_cdef),
        u32(NODE_PEERS, 1),
        u32(NODE_SESSIONS, 3),
        u32(NODE_PATHS, 4),
        u32(NODE_ACTIVE_PATHS, 3),
        u16(NODE_UDP_PORT, 45678),
    ];
    Kernel::new().answer(CMD_GET, vec![reply(0, &node), ack()])
}

pub fn path_attrs(id: u8, peer: u64, ifindex: u32, srtt: u32) -> Vec<Vec<u8>> {
    vec![
        u8(PATH_ID, id),
        u64(PATH_PEER, peer),
        u32(PATH_IFINDEX, ifindex),
        attr(PATH_LOCAL, &[10, id, 0, 2]),
        attr(PATH_REMOTE, &[192, 0, 2, 9]),
        u32(PATH_STATE, 1),
        u32(PATH_WEIGHT, 620),
        s32(PATH_DELAY_US, -41_000),
        s32(PATH_MIN_DELAY_US, -41_900),
        u32(PATH_QUEUE_US, 900),
        u32(PATH_MAX_QUEUE_US, 35_000),
        u32(PATH_SRTT_US, srtt),
        u32(PATH_MTU, 1500),
        u64(PATH_TX_PACKETS, 70_000),
        u64(PATH_TX_BYTES, 81_234_567),
        u64(PATH_RX_PACKETS, 900),
        u64(PATH_RX_BYTES, 64_000),
        u64(PATH_PEER_RX_PACKETS, 69_997),
        u64(PATH_PEER_RX_BYTES, 81_230_000),
        u64(PATH_LOST, 3),
        s32(PATH_RX_DELAY_US, 53_000),
        u32(PATH_RATE, 4_700_000),
        u32(PATH_QUEUE_LIMIT_US, 33_100),
        u32(PATH_UNANSWERED, 12),
    ]
}

/// The peer of the events.
pub const EVENT_NODE: u64 = 0xfedc_ba98_7654_3210;

pub fn path_event(kind: u32, path: u8, more: &[Vec<u8>]) -> Vec<u8> {
    let attrs = [
        u64(EVENT_PEER, EVENT_NODE),
        u8(EVENT_PATH, path),
        u32(EVENT_IFINDEX, 1 + u32::from(path)),
        attr(EVENT_LOCAL, &[10, 0, path, 1]),
        attr(EVENT_REMOTE, &[10, 0, path, 2]),
    ];
    event(kind, &[&attrs, more].concat())
}

/// A history that ends when the module is unloaded: nothing else ends the command by itself.
pub fn events() -> Kernel {
    Kernel::new()
        .notice(event(0, &[u64(EVENT_PEER, EVENT_NODE)]))
        .notice([path_event(2, 1, &[]), path_event(2, 9, &[])].concat())
        .notice(family_gone(FAMILY + 1))
        .notice(path_event(3, 1, &[u32(EVENT_REASON, 4)]))
        .notice(event(6, &[u32(EVENT_ADDRESSES, 3)]))
        .notice(event(77, &[string(99, "from the future")]))
        .notice(event(
            1,
            &[u64(EVENT_PEER, EVENT_NODE), u32(EVENT_REASON, 0)],
        ))
        .notice(family_gone(FAMILY))
        .notice(path_event(2, 1, &[]))
}
