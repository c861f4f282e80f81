// SPDX-License-Identifier: GPL-2.0

//! Which records `show` shows, where words follow it.

mod common;

use common::*;
use mpipctl::nl::uapi::*;

fn paths() -> Kernel {
    let paths = [path_attrs(1, 0x42, 2, 12_400), path_attrs(2, 0x43, 3, 0)];
    Kernel::new().answer(CMD_PATH_GET, dump(&paths))
}

fn sessions() -> Kernel {
    let session = |id: u32, protocol: u8, port: u16| {
        vec![
            u32(SESSION_ID, id),
            u64(SESSION_PEER, 0x42),
            u8(SESSION_PROTOCOL, protocol),
            endpoint(SESSION_LOCAL, &[10, 0, 0, 2], port),
            endpoint(SESSION_REMOTE, &[192, 0, 2, 9], 443),
            u32(SESSION_STATE, 1),
        ]
    };
    let sessions = [session(7, 6, 40_001), session(8, 17, 40_002)];
    Kernel::new().answer(CMD_SESSION_GET, dump(&sessions))
}

fn peers() -> Kernel {
    let peer = |id: u64, last: u8| {
        vec![
            u64(PEER_ID, id),
            endpoint(PEER_ADDRESS, &[192, 0, 2, last], 0),
            endpoint(PEER_ADDRESS, &[198, 51, 100, last], 0),
        ]
    };
    Kernel::new().answer(CMD_PEER_GET, dump(&[peer(0x42, 9), peer(0x43, 10)]))
}

fn destinations() -> Kernel {
    let row = |last: u8, port: u16| {
        vec![
            attr(AVAIL_ADDR, &[192, 0, 2, last]),
            u16(AVAIL_PORT, port),
            u8(AVAIL_PROTOCOL, 6),
        ]
    };
    Kernel::new().answer(CMD_AVAIL_GET, dump(&[row(9, 443), row(10, 22)]))
}

/// The ids, or the addresses, of what is shown.
fn shown(object: &str, words: &str, key: &str, kernel: Kernel) -> Vec<String> {
    let text = run(&format!("mpipctl -j {object} show {words}"), kernel);
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[key].to_string().trim_matches('"').to_string())
        .collect()
}

#[test]
fn some_of_them() {
    for (words, ids) in [
        ("", &["1", "2"][..]),
        ("1", &["1"]),
        ("wwan0", &["2"]),
        ("active", &["1", "2"]),
        ("10.1.0.2", &["1"]),
        ("10.0.0.0/8 0000000000000043", &["2"]),
        ("192.0.2.9 eth0 2", &[]),
        ("nonsense", &[]),
    ] {
        assert_eq!(shown("path", words, "id", paths()), ids, "{words}");
    }
    for (words, ids) in [
        ("tcp", &["7"][..]),
        ("open", &["7", "8"]),
        (":40002", &["8"]),
        (":443 udp", &["8"]),
        ("10.0.0.2:40001", &["7"]),
        ("8", &["8"]),
        ("0000000000000042", &["7", "8"]),
        ("closing", &[]),
    ] {
        assert_eq!(shown("session", words, "id", sessions()), ids, "{words}");
    }
    let found = shown("peer", "198.51.100.10", "id", peers());
    assert_eq!(found, ["0000000000000043"]);
    let found = shown("peer", "0000000000000042", "id", peers());
    assert_eq!(found, ["0000000000000042"]);
    let found = shown("avail", "tcp :22", "addr", destinations());
    assert_eq!(found, ["192.0.2.10"]);
}

/// What looks like an address or a port and is none is a mistake, before anybody is asked.
#[test]
fn what_nothing_can_have() {
    for (line, why) in [
        (
            "session show 10.0.0.2/24",
            "bits set beyond the prefix length: \"10.0.0.2/24\"; try: 10.0.0.0/24",
        ),
        (
            "path show 10.0.0.999",
            "not an IP address or prefix: \"10.0.0.999\"",
        ),
        (
            "avail show tcp :99999",
            "not a port from 0 to 65535 behind a colon: \":99999\"",
        ),
        (
            "peer show 2001:db8::/129",
            "prefix length out of range 0 to 128: \"2001:db8::/129\"",
        ),
    ] {
        let said = error(&format!("mpipctl {line}"), Kernel::new());
        assert_eq!(said, format!("1 {why}\n"), "{line}");
    }
}

#[test]
fn as_text() {
    let text = run("mpipctl -o path list wwan0", paths());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("2 wwan0 "), "{text}");
}
