// SPDX-License-Identifier: GPL-2.0

//! `top` from the command line to the screen, with a scripted kernel and a screen in memory. How
//! the screen looks in all its sizes is tested beside the code that draws it.

mod common;

use std::env;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::Command;
use std::process::Stdio;

use common::*;
use mpipctl::nl::uapi::*;
use mpipctl::screen::Wake;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::pty::openpty;
use nix::pty::Winsize;
use nix::sys::termios::tcgetattr;
use ratatui::crossterm::event::KeyCode;
use ratatui::crossterm::event::KeyEvent;
use snapbox::assert_data_eq;
use snapbox::str;

fn key(code: KeyCode) -> Wake {
    Wake::Key(KeyEvent::from(code))
}

fn node() -> Vec<Vec<u8>> {
    vec![
        string(NODE_VERSION, "0.1.0"),
        u8(NODE_ENABLED, 1),
        u32(NODE_PEERS, 1),
        u32(NODE_SESSIONS, 2),
        u32(NODE_PATHS, 2),
        u32(NODE_ACTIVE_PATHS, 2),
    ]
}

fn session(id: u32, protocol: u8, bytes: u64) -> Vec<Vec<u8>> {
    let lane = [
        u8(LANE_PATH, 0),
        u32(LANE_STATE, 1),
        u64(LANE_TX_BYTES, bytes),
        u64(LANE_RX_BYTES, bytes / 2),
    ];
    vec![
        u32(SESSION_ID, id),
        u64(SESSION_PEER, 9),
        u8(SESSION_PROTOCOL, protocol),
        endpoint(SESSION_LOCAL, &[10, 0, 0, 2], 40_000 + id as u16),
        endpoint(SESSION_REMOTE, &[192, 0, 2, 9], 443),
        u32(SESSION_STATE, 1),
        u64(SESSION_IDLE_MS, 40),
        u32(SESSION_HELD, 0),
        nest(SESSION_LANE, &lane),
        nest(SESSION_LANE, &[u8(LANE_PATH, 1), u32(LANE_STATE, 2)]),
    ]
}

/// A kernel that is looked at as often as it is given numbers of bytes sent.
fn kernel(looks: &[u64]) -> Kernel {
    looks.iter().fold(Kernel::new(), |kernel, sent| {
        let path = |id: u8, part: u64| {
            let mut attrs = path_attrs(id, 9, 2 + u32::from(id), 12_400);
            let bytes = [
                (PATH_TX_PACKETS, sent / 1000 / part),
                (PATH_TX_BYTES, sent / part),
                (PATH_RX_BYTES, sent / 10),
                (PATH_LOST, sent / 100_000),
            ];
            attrs.extend(bytes.map(|(kind, value)| u64(kind, value)));
            attrs
        };
        let paths = [path(0, 1), path(1, 2)];
        let sessions = [session(7, 17, 0), session(8, 6, *sent)];
        kernel
            .answer(CMD_GET, vec![reply(0, &node()), ack()])
            .answer(CMD_PATH_GET, dump(&paths))
            .answer(CMD_SESSION_GET, dump(&sessions))
    })
}

/// The same for a screen, before which somebody makes sure that the module is there.
fn watched(looks: &[u64]) -> Kernel {
    kernel(looks).answer(CMD_GET, vec![reply(0, &node()), ack()])
}

#[test]
fn screen() {
    let wakes = [
        Wake::Ready,
        Wake::Time,
        Wake::Ready,
        Wake::Redraw,
        Wake::Time,
        Wake::Ready,
        key(KeyCode::Char('q')),
    ];
    let system = Fake::new(watched(&[0, 5_000_000, 7_000_000])).terminal(wakes);
    let pictures = system.pictures();
    let ran = try_run_on("mpipctl top", system);
    ran.result.unwrap();
    assert_eq!(ran.text, "");
    let pictures = pictures.lock().unwrap();
    assert_eq!(pictures.len(), 7);
    assert!(pictures[0].contains("  reading\n"), "{}", pictures[0]);
    assert_eq!(pictures[3], pictures[4]);
    assert_data_eq!(
        &pictures[6],
        str![[r#"
 mpip 0.1.0 enabled  netns init  peers 1  sessions 2  paths 2/2        every 1s
 PATHS 2   graphs up to 40.0Mbit/s, 4.0Mbit/s, 12.4ms, 2.0%
 0 eth0  active  10.0.0.2 > 192.0.2.9  queue 900us  lost 70
 TX 16.0Mbit/s   RX 1.6Mbit/s    RTT 12.4ms     WEIGHT 620      LOSS 1.0%
              █               █              ██
              █               █              ██              ▃▃
              █▄              █▄             ██              ██              ██
              ██              ██             ██              ██              ██
 1 wwan0  active  10.1.0.2 > 192.0.2.9  queue 900us  lost 70
 TX 8.0Mbit/s    RX 1.6Mbit/s    RTT 12.4ms     WEIGHT 620      LOSS 2.0%
                              █              ██                              ██
                              █              ██              ▃▃              ██
              █               █▄             ██              ██              ██
              █▆              ██             ██              ██              ██
 SESSIONS 2
 PROTO  LOCAL          REMOTE        STATE    PATHS    TX▼     RX  IDLE
 tcp    10.0.0.2:40008 192.0.2.9:443 open       1/2  16.0M   8.0M  40ms
 udp    10.0.0.2:40007 192.0.2.9:443 open       1/2      0      0  40ms





 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
}

#[test]
fn keys_reach_it_and_signals_do() {
    let wakes = [
        Wake::Ready,
        key(KeyCode::Char('p')),
        key(KeyCode::Char('p')),
        Wake::Stop,
        Wake::End,
    ];
    let system = Fake::new(watched(&[0])).terminal(wakes);
    let pictures = system.pictures();
    try_run_on("mpipctl top", system).result.unwrap();
    let pictures = pictures.lock().unwrap();
    let paused: Vec<bool> = pictures.iter().map(|p| p.contains("paused")).collect();
    assert_eq!(paused, [false, false, true, false, false, false]);
    assert_eq!(pictures[4], "suspended\n");
}

#[test]
fn keys_do_not_wait_for_a_dump_without_an_end() {
    let kernel = watched(&[0])
        .answer(CMD_GET, vec![reply(0, &node()), ack()])
        .answer(CMD_PATH_GET, dump(&[]))
        .endless(CMD_SESSION_GET, &session(9, 6, 0));
    let wakes = [
        Wake::Ready,
        // The next look begins, and does not come back.
        Wake::Time,
        Wake::Time,
        Wake::Time,
        key(KeyCode::Char('s')),
        key(KeyCode::Char('p')),
        key(KeyCode::Char('p')),
        key(KeyCode::Char('q')),
    ];
    let system = Fake::new(kernel).terminal(wakes);
    let pictures = system.pictures();
    try_run_on("mpipctl top", system).result.unwrap();
    let pictures = pictures.lock().unwrap();
    let tops = pictures.iter().map(|picture| {
        let (_, age) = picture.lines().next().unwrap().rsplit_once("  ").unwrap();
        let order = picture.split(['▼', '▲']).next().unwrap();
        let order = order.split_whitespace().next_back().unwrap();
        format!("{age}, {order}")
    });
    let tops: Vec<String> = tops.collect();
    assert_eq!(
        tops,
        [
            "reading, TX",
            "every 1s, TX",
            "every 1s, TX",
            "2s old, TX",
            "3s old, TX",
            "3s old, RX",
            "paused, RX",
            "3s old, RX",
        ]
    );
}

/// Says to this program that it is the one on the terminal.
const INSIDE: &str = "MPIPCTL_TEST_TOP";

/// Runs the test of this name on a terminal, types q when it shows this, and sees that it ends and
/// leaves the terminal as it was.
fn quits_once_it_shows(test: &str, what: &str) {
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let ends = openpty(&size, None).unwrap();
    let before = tcgetattr(&ends.slave).unwrap();
    let end = || Stdio::from(ends.slave.try_clone().unwrap());
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    let master = File::from(ends.master);
    let mut written = String::new();
    let more = |written: &mut String| {
        let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(60_000u16)).unwrap();
        assert_eq!(fds[0].any(), Some(true), "{what:?} in vain: {written:?}");
        let mut bytes = [0; 4096];
        let count = (&master).read(&mut bytes).unwrap();
        *written += &String::from_utf8_lossy(&bytes[..count]);
    };
    while !written.contains(what) {
        more(&mut written);
    }
    (&master).write_all(b"q").unwrap();
    while !written.contains("and away") {
        more(&mut written);
    }
    assert!(child.wait().unwrap().success(), "{written:?}");
    assert_eq!(
        tcgetattr(&ends.slave).unwrap(),
        before,
        "modes of the terminal"
    );
    assert!(
        written.find("\x1b[?1049l") < written.find("and away"),
        "{written:?}"
    );
}

/// What is in the terminal's place for the tests above is told of a look; a real one has to see it.
#[test]
fn a_terminal_shows_what_the_reader_brings() {
    if env::var_os(INSIDE).is_some() {
        let system = Fake::new(watched(&[0])).own_terminal();
        try_run_on("mpipctl top", system).result.unwrap();
        println!("and away");
        return;
    }
    quits_once_it_shows("a_terminal_shows_what_the_reader_brings", "10.0.0.2:40008");
}

#[test]
fn a_terminal_is_left_in_the_middle_of_a_dump() {
    if env::var_os(INSIDE).is_some() {
        let kernel = watched(&[])
            .answer(CMD_GET, vec![reply(0, &node()), ack()])
            .answer(CMD_PATH_GET, dump(&[]))
            .endless(CMD_SESSION_GET, &session(9, 6, 0));
        let system = Fake::new(kernel).own_terminal();
        try_run_on("mpipctl top", system).result.unwrap();
        println!("and away");
        return;
    }
    quits_once_it_shows("a_terminal_is_left_in_the_middle_of_a_dump", "reading");
}

#[test]
fn what_comes_while_it_is_paused_is_not_shown() {
    let wakes = [
        key(KeyCode::Char('p')),
        Wake::Ready,
        key(KeyCode::Char('p')),
        Wake::Time,
        Wake::Ready,
        key(KeyCode::Char('q')),
    ];
    let system = Fake::new(watched(&[0, 5_000_000])).terminal(wakes);
    let pictures = system.pictures();
    try_run_on("mpipctl top", system).result.unwrap();
    let pictures = pictures.lock().unwrap();
    let sessions = pictures.iter().map(|p| p.contains(" SESSIONS 2"));
    let sessions: Vec<bool> = sessions.collect();
    assert_eq!(sessions, [false, false, false, false, false, true]);
}

#[test]
fn a_module_that_comes_again_is_looked_at_and_one_that_went_is_told() {
    let gone = |kernel: Kernel| kernel.answer(CMD_GET, vec![refusal(2, &[])]);
    let kernels = vec![
        gone(watched(&[7_000_000])),
        gone(kernel(&[1000])),
        Kernel::without_module(),
    ];
    let wakes = [
        Wake::Ready,
        Wake::Time,
        Wake::Ready,
        Wake::Time,
        Wake::Ready,
    ];
    let system = Fake::changing(kernels).terminal(wakes);
    let pictures = system.pictures();
    let error = try_run_on("mpipctl top", system).result.unwrap_err();
    assert_eq!(error.exit_status(), 3);
    let pictures = pictures.lock().unwrap();
    assert_eq!(pictures.len(), 5);
    // The counts began anew.
    assert!(pictures[3].contains("TX 8.0kbit/s"), "{}", pictures[3]);
}

#[test]
fn text() {
    assert_data_eq!(
        run("mpipctl top -c 2 -i 2", kernel(&[0, 5_000_000, 7_000_000])),
        str![[r#"
mpip 0.1.0 enabled  netns init  peers 1  sessions 2  paths 2 (2 active)
ID DEV   LOCAL    REMOTE    STATE  TX         RX        RTT    QUEUE WEIGHT LOSS
0  eth0  10.0.0.2 192.0.2.9 active 20.0Mbit/s 2.0Mbit/s 12.4ms 900us 620    1.0%
1  wwan0 10.1.0.2 192.0.2.9 active 10.0Mbit/s 2.0Mbit/s 12.4ms 900us 620    2.0%
PROTO LOCAL          REMOTE        STATE PATHS TX         RX         HELD IDLE
tcp   10.0.0.2:40008 192.0.2.9:443 open  1/2   20.0Mbit/s 10.0Mbit/s 0    40ms
udp   10.0.0.2:40007 192.0.2.9:443 open  1/2   0bit/s     0bit/s     0    40ms

mpip 0.1.0 enabled  netns init  peers 1  sessions 2  paths 2 (2 active)
ID DEV   LOCAL    REMOTE    STATE  TX        RX          RTT    QUEUE WEIGHT LOSS
0  eth0  10.0.0.2 192.0.2.9 active 8.0Mbit/s 800.0kbit/s 12.4ms 900us 620    1.0%
1  wwan0 10.1.0.2 192.0.2.9 active 4.0Mbit/s 800.0kbit/s 12.4ms 900us 620    2.0%
PROTO LOCAL          REMOTE        STATE PATHS TX        RX        HELD IDLE
tcp   10.0.0.2:40008 192.0.2.9:443 open  1/2   8.0Mbit/s 4.0Mbit/s 0    40ms
udp   10.0.0.2:40007 192.0.2.9:443 open  1/2   0bit/s    0bit/s    0    40ms


"#]]
    );
    assert_data_eq!(
        run(
            "mpipctl top --count 1 --sort local tcp",
            kernel(&[0, 5_000_000])
        ),
        str![[r#"
mpip 0.1.0 enabled  netns init  peers 1  sessions 2  paths 2 (2 active)
ID DEV   LOCAL    REMOTE    STATE  TX         RX        RTT    QUEUE WEIGHT LOSS
0  eth0  10.0.0.2 192.0.2.9 active 40.0Mbit/s 4.0Mbit/s 12.4ms 900us 620    1.0%
1  wwan0 10.1.0.2 192.0.2.9 active 20.0Mbit/s 4.0Mbit/s 12.4ms 900us 620    2.0%
PROTO LOCAL          REMOTE        STATE PATHS TX         RX         HELD IDLE
tcp   10.0.0.2:40008 192.0.2.9:443 open  1/2   40.0Mbit/s 20.0Mbit/s 0    40ms


"#]]
    );
}

#[test]
fn json() {
    assert_data_eq!(
        run("mpipctl -j top -c 1 udp", kernel(&[0, 5_000_000])),
        str![[r#"
{"version":"0.1.0","enabled":true,"peers":1,"sessions":2,"paths":2,"active_paths":2,"netns":"init","path":[{"id":0,"peer":"0000000000000009","ifindex":2,"local":"10.0.0.2","remote":"192.0.2.9","state":"active","weight":620,"delay_us":-41000,"min_delay_us":-41900,"queue_us":900,"max_queue_us":35000,"srtt_us":12400,"mtu":1500,"tx_packets":5000,"tx_bytes":5000000,"rx_packets":900,"rx_bytes":500000,"peer_rx_packets":69997,"peer_rx_bytes":81230000,"lost":50,"rx_delay_us":53000,"rate":4700000,"queue_limit_us":33100,"unanswered":12,"dev":"eth0","tx_rate":5000000,"rx_rate":500000,"loss":0.01},{"id":1,"peer":"0000000000000009","ifindex":3,"local":"10.1.0.2","remote":"192.0.2.9","state":"active","weight":620,"delay_us":-41000,"min_delay_us":-41900,"queue_us":900,"max_queue_us":35000,"srtt_us":12400,"mtu":1500,"tx_packets":2500,"tx_bytes":2500000,"rx_packets":900,"rx_bytes":500000,"peer_rx_packets":69997,"peer_rx_bytes":81230000,"lost":50,"rx_delay_us":53000,"rate":4700000,"queue_limit_us":33100,"unanswered":12,"dev":"wwan0","tx_rate":2500000,"rx_rate":500000,"loss":0.02}],"session":[{"id":7,"peer":"0000000000000009","protocol":"udp","local":{"addr":"10.0.0.2","port":40007},"remote":{"addr":"192.0.2.9","port":443},"state":"open","idle_ms":40,"held":0,"lane":[{"path":0,"state":"active","tx_bytes":0,"rx_bytes":0},{"path":1,"state":"suspect"}],"rule":[],"tx_rate":0,"rx_rate":0}]}

"#]]
    );
}

#[test]
fn errors() {
    assert_data_eq!(
        error("mpipctl top -i 0.05", Kernel::new()),
        str![[r#"
1 interval: out of range: "0.05s"; allowed: 100 to 3600000 ms

"#]]
    );
    assert_data_eq!(
        error("mpipctl top", Kernel::without_module()),
        str![[r#"
3 generic netlink family "mpip" not found; try: modprobe mpip

"#]]
    );
    assert_data_eq!(
        error("mpipctl top", kernel(&[0])),
        str![[r#"
1 no terminal

"#]]
    );
    let refused = Kernel::new().answer(CMD_GET, vec![refusal(1, &[])]);
    assert_data_eq!(
        error("mpipctl -j top", refused),
        str![[r#"
2 operation not permitted: needs CAP_NET_ADMIN in the network namespace; try: sudo mpipctl …

"#]]
    );
}
