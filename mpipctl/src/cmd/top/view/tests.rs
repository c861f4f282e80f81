// SPDX-License-Identifier: GPL-2.0

//! How the screen looks, on a backend in memory.

use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::crossterm::event::KeyEvent;
use ratatui::Terminal;
use snapbox::assert_data_eq;
use snapbox::str;

use super::super::fixture::*;
use super::*;

/// Draws it on a screen of this size.
fn drawn(top: &mut Top, width: u16, height: u16, theme: Theme) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, top, theme)).unwrap();
    terminal.backend().buffer().clone()
}

/// The same without colours, as text.
fn picture(top: &mut Top, width: u16, height: u16) -> String {
    let buffer = drawn(top, width, height, Theme(false));
    let lines = buffer.content.chunks(width.into()).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_string() + "\n"
    });
    lines.collect()
}

/// What was seen in some seconds: the rates rise and fall.
fn watched(paths: u8, sessions: u32) -> Top {
    let mut top = top();
    let mut second = 0;
    for step in [0, 1, 2, 4, 6, 8, 8, 6, 7, 3, 2, 1, 1] {
        let mut look = look(second, paths, sessions);
        look.at = std::time::Duration::from_secs(1000 + second / 4 + step);
        top.take(look);
        second += 8;
    }
    top
}

fn press(top: &mut Top, keys: &[KeyCode]) {
    for key in keys {
        top.press(KeyEvent::from(*key));
    }
}

#[test]
fn usual_terminal() {
    assert_data_eq!(
        picture(&mut watched(2, 5), 80, 24),
        str![[r#"
 mpip 0.1.0 enabled  netns blue  peers 1  sessions 5  paths 2/2        every 1s
 PATHS 2   graphs up to 320.0Mbit/s, 6.4Mbit/s, 24.0ms, 1.0%
 0 eth0  active  10.0.0.1 > 10.0.0.2  queue 900us  lost 3840
 TX 160.0Mbit/s  RX 3.2Mbit/s    RTT 12.0ms     WEIGHT 1000     LOSS 1.0%
             ██              ██                    ████████████    ████████████
             ██              ██                    ████████████    ████████████
    ▂▂   █ ▂ ███    ▂▂   █ ▂ ███   ████████████    ████████████    ████████████
    ██████ █ ███    ██████ █ ███   ████████████    ████████████    ████████████
 1 eth1  active  10.0.1.1 > 10.0.1.2  queue 900us  lost 1920
 TX 80.0Mbit/s   RX 3.2Mbit/s    RTT 24.0ms     WEIGHT 500      LOSS 1.0%
                             ██    ████████████                    ████████████
                             ██    ████████████                    ████████████
             ██     ▂▂   █ ▂ ███   ████████████    ████████████    ████████████
    ▅▅▄▄▄█ ▅ ███    ██████ █ ███   ████████████    ████████████    ████████████
 SESSIONS 5
 PROTO  LOCAL         REMOTE        STATE    PATHS    TX▼     RX  IDLE
 tcp    10.0.0.2:5008 192.0.2.9:443 closing    2/2   1.6M      0  1.2s
 udp    10.0.0.2:5006 192.0.2.9:443 open       2/2   1.3M      0 900ms
 tcp    10.0.0.2:5004 192.0.2.9:443 open       2/2 960.0k      0 600ms
 udp    10.0.0.2:5002 192.0.2.9:443 open       2/2 640.0k      0 300ms
 tcp    10.0.0.2:5000 192.0.2.9:443 open       2/2 320.0k      0   0ms


 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
}

#[test]
fn large_terminal() {
    assert_data_eq!(
        picture(&mut watched(4, 60), 132, 43),
        str![[r#"
 mpip 0.1.0 enabled  netns blue  peers 1  sessions 60  paths 4/4                                                           every 1s
 PATHS 4   graphs up to 320.0Mbit/s, 6.4Mbit/s, 48.0ms, 1.0%
 0 eth0  active  10.0.0.1 > 10.0.0.2  queue 900us  lost 3840
 TX 160.0Mbit/s            RX 3.2Mbit/s              RTT 12.0ms                 WEIGHT 1000               LOSS 1.0%
                       ██                        ██                                          ████████████              ▇▇▇▇▇▇▇▇▇▇▇▇
                       ██                        ██                                          ████████████              ████████████
              ▂▂   █ ▂ ███              ▂▂   █ ▂ ███                                         ████████████              ████████████
              ██████ █ ███              ██████ █ ███               ████████████              ████████████              ████████████
 1 eth1  active  10.0.1.1 > 10.0.1.2  queue 900us  lost 1920
 TX 80.0Mbit/s             RX 3.2Mbit/s              RTT 24.0ms                 WEIGHT 500                LOSS 1.0%
                                                 ██                                                                    ▇▇▇▇▇▇▇▇▇▇▇▇
                                                 ██                                                                    ████████████
                       ██               ▂▂   █ ▂ ███               ████████████              ████████████              ████████████
              ▅▅▄▄▄█ ▅ ███              ██████ █ ███               ████████████              ████████████              ████████████
 2 eth2  active  10.0.2.1 > 10.0.2.2  queue 900us  lost 1280
 TX 53.3Mbit/s             RX 3.2Mbit/s              RTT 36.0ms                 WEIGHT 333                LOSS 1.0%
                                                 ██                                                                    ▇██▇██▇██▇██
                                                 ██                ████████████                                        ████████████
                       ▂▂               ▂▂   █ ▂ ███               ████████████              ▂▂▂▂▂▂▂▂▂▂▂▂              ████████████
              ▃▃▂▂▂▅ ▃ ██▅              ██████ █ ███               ████████████              ████████████              ████████████
 3 if5  active  10.0.3.1 > 10.0.3.2  queue 900us  lost 960
 TX 40.0Mbit/s             RX 3.2Mbit/s              RTT 48.0ms                 WEIGHT 250                LOSS 1.0%
                                                 ██                ████████████                                        ▇▇▇▇▇▇▇▇▇▇▇▇
                                                 ██                ████████████                                        ████████████
                                        ▂▂   █ ▂ ███               ████████████                                        ████████████
              ▂▂▂▂▂▄ ▂ ██▄              ██████ █ ███               ████████████              ████████████              ████████████
 SESSIONS 1-14 of 60
 PROTO  LOCAL         REMOTE        STATE    PATHS    TX▼     RX  IDLE  HELD
 udp    10.0.0.2:5118 192.0.2.9:443 closing    2/2  19.2M      0 900ms     2
 tcp    10.0.0.2:5116 192.0.2.9:443 open       2/2  18.9M      0 600ms     1
 udp    10.0.0.2:5114 192.0.2.9:443 open       2/2  18.6M      0 300ms     0
 tcp    10.0.0.2:5112 192.0.2.9:443 open       2/2  18.2M      0   0ms     2
 udp    10.0.0.2:5110 192.0.2.9:443 open       2/2  17.9M      0  1.8s     1
 tcp    10.0.0.2:5108 192.0.2.9:443 closing    2/2  17.6M      0  1.5s     0
 udp    10.0.0.2:5106 192.0.2.9:443 open       2/2  17.3M      0  1.2s     2
 tcp    10.0.0.2:5104 192.0.2.9:443 open       2/2  17.0M      0 900ms     1
 udp    10.0.0.2:5102 192.0.2.9:443 open       2/2  16.6M      0 600ms     0
 tcp    10.0.0.2:5100 192.0.2.9:443 open       2/2  16.3M      0 300ms     2
 udp    10.0.0.2:5098 192.0.2.9:443 closing    2/2  16.0M      0   0ms     1
 tcp    10.0.0.2:5096 192.0.2.9:443 open       2/2  15.7M      0  1.8s     0
 udp    10.0.0.2:5094 192.0.2.9:443 open       2/2  15.4M      0  1.5s     2
 tcp    10.0.0.2:5092 192.0.2.9:443 open       2/2  15.0M      0  1.2s     1
 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
}

#[test]
fn nothing_there() {
    let mut top = top();
    assert_data_eq!(
        picture(&mut top, 80, 8),
        str![[r#"

 PATHS 0
 SESSIONS 0
 PROTO  LOCAL     REMOTE    STATE    PATHS    TX▼     RX  IDLE



 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
    let mut idle = look(0, 0, 0);
    idle.node.enabled = false;
    top.take(idle);
    assert_data_eq!(
        picture(&mut top, 80, 8),
        str![[r#"
 mpip 0.1.0 disabled  netns blue  peers 1  sessions 0  paths 0/0       every 1s
 PATHS 0
 SESSIONS 0
 PROTO  LOCAL     REMOTE    STATE    PATHS    TX▼     RX  IDLE



 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
}

#[test]
fn more_than_fits() {
    let mut top = watched(8, 3000);
    assert_data_eq!(
        picture(&mut top, 80, 24),
        str![[r#"
 mpip 0.1.0 enabled  netns blue  peers 1  sessions 3000  paths 8/8     every 1s
 PATHS 1-4 of 8   graphs up to 320.0Mbit/s, 6.4Mbit/s, 96.0ms, 1.0%
 0 eth0  active  10.0.0.1 > 10.0.0.2  queue 900us  lost 3840
 TX 160.0Mbit/s  RX 3.2Mbit/s    RTT 12.0ms     WEIGHT 1000     LOSS 1.0%
    ▂▂▂▂▂▄ ▂ ██▄    ▂▂▂▂▂▄ ▂ ██▄   ▁▁▁▁▁▁▁▁▁▁▁▁    ████████████    ▇▇▇▇▇▇▇▇▇▇▇▇
 1 eth1  active  10.0.1.1 > 10.0.1.2  queue 900us  lost 1920
 TX 80.0Mbit/s   RX 3.2Mbit/s    RTT 24.0ms     WEIGHT 500      LOSS 1.0%
    ▁▁▁▁▁▂ ▁ ▄▄▂    ▂▂▂▂▂▄ ▂ ██▄   ▂▂▂▂▂▂▂▂▂▂▂▂    ▄▄▄▄▄▄▄▄▄▄▄▄    ▇▇▇▇▇▇▇▇▇▇▇▇
 2 eth2  active  10.0.2.1 > 10.0.2.2  queue 900us  lost 1280
 TX 53.3Mbit/s   RX 3.2Mbit/s    RTT 36.0ms     WEIGHT 333      LOSS 1.0%
         ▁   ▂▂▁    ▂▂▂▂▂▄ ▂ ██▄   ▃▃▃▃▃▃▃▃▃▃▃▃    ▂▂▂▂▂▂▂▂▂▂▂▂    ▇▇▇▇▇▇▇▇▇▇▇▇
 3 if5  active  10.0.3.1 > 10.0.3.2  queue 900us  lost 960
 TX 40.0Mbit/s   RX 3.2Mbit/s    RTT 48.0ms     WEIGHT 250      LOSS 1.0%
         ▁   ▂▂▁    ▂▂▂▂▂▄ ▂ ██▄   ▄▄▄▄▄▄▄▄▄▄▄▄    ▂▂▂▂▂▂▂▂▂▂▂▂    ▇▇▇▇▇▇▇▇▇▇▇▇


 SESSIONS 1-5 of 3000
 PROTO  LOCAL          REMOTE        STATE    PATHS    TX▼     RX  IDLE
 udp    10.0.0.2:10998 192.0.2.9:443 closing    2/2 960.0M      0 900ms
 tcp    10.0.0.2:10996 192.0.2.9:443 open       2/2 959.7M      0 600ms
 udp    10.0.0.2:10994 192.0.2.9:443 open       2/2 959.4M      0 300ms
 tcp    10.0.0.2:10992 192.0.2.9:443 open       2/2 959.0M      0   0ms
 udp    10.0.0.2:10990 192.0.2.9:443 open       2/2 958.7M      0  1.8s
 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
    press(
        &mut top,
        &[
            KeyCode::Char('s'),
            KeyCode::PageDown,
            KeyCode::Tab,
            KeyCode::End,
        ],
    );
    assert_data_eq!(
        picture(&mut top, 80, 24),
        str![[r#"
 mpip 0.1.0 enabled  netns blue  peers 1  sessions 3000  paths 8/8     every 1s
 PATHS 5-8 of 8   graphs up to 320.0Mbit/s, 6.4Mbit/s, 96.0ms, 1.0%
 4 eth4  active  10.0.4.1 > 10.0.4.2  queue 900us  lost 768
 TX 32.0Mbit/s   RX 3.2Mbit/s    RTT 60.0ms     WEIGHT 200      LOSS 1.0%
             ▁▁     ▂▂▂▂▂▄ ▂ ██▄   ▅▅▅▅▅▅▅▅▅▅▅▅    ▁▁▁▁▁▁▁▁▁▁▁▁    ▇▇▇▇▇▇▇▇▇▇▇▇
 5 eth5  active  10.0.5.1 > 10.0.5.2  queue 900us  lost 640
 TX 26.7Mbit/s   RX 3.2Mbit/s    RTT 72.0ms     WEIGHT 166      LOSS 1.0%
             ▁▁     ▂▂▂▂▂▄ ▂ ██▄   ▆▆▆▆▆▆▆▆▆▆▆▆    ▁▁▁▁▁▁▁▁▁▁▁▁    ▇▇█▇▇█▇▇█▇▇█
 6 eth6  active  10.0.6.1 > 10.0.6.2  queue 900us  lost 548
 TX 22.9Mbit/s   RX 3.2Mbit/s    RTT 84.0ms     WEIGHT 142      LOSS 1.0%
             ▁▁     ▂▂▂▂▂▄ ▂ ██▄   ▇▇▇▇▇▇▇▇▇▇▇▇    ▁▁▁▁▁▁▁▁▁▁▁▁    ▇▇▇▇▇▇▇▇▇▇▇▇
 7 eth7  active  10.0.7.1 > 10.0.7.2  queue 900us  lost 480
 TX 20.0Mbit/s   RX 3.2Mbit/s    RTT 96.0ms     WEIGHT 125      LOSS 1.0%
             ▁▁     ▂▂▂▂▂▄ ▂ ██▄   ████████████    ▁▁▁▁▁▁▁▁▁▁▁▁    ▇▇▇▇▇▇▇▇▇▇▇▇


 SESSIONS 6-10 of 3000
 PROTO  LOCAL         REMOTE        STATE    PATHS     TX    RX▼  IDLE
 udp    10.0.0.2:5010 192.0.2.9:443 open       2/2   1.9M      0  1.5s
 tcp    10.0.0.2:5012 192.0.2.9:443 open       2/2   2.2M      0  1.8s
 udp    10.0.0.2:5014 192.0.2.9:443 open       2/2   2.6M      0   0ms
 tcp    10.0.0.2:5016 192.0.2.9:443 open       2/2   2.9M      0 300ms
 udp    10.0.0.2:5018 192.0.2.9:443 closing    2/2   3.2M      0 600ms
 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
}

#[test]
fn filter_and_help() {
    let mut top = watched(1, 20);
    let keys = "/tcp clos".chars().map(KeyCode::Char).collect::<Vec<_>>();
    press(&mut top, &keys);
    assert_data_eq!(
        picture(&mut top, 80, 16),
        str![[r#"
 mpip 0.1.0 enabled  netns blue  peers 1  sessions 20  paths 1/1       every 1s
 PATHS 1   graphs up to 320.0Mbit/s, 6.4Mbit/s, 12.0ms, 1.0%
 0 eth0  active  10.0.0.1 > 10.0.0.2  queue 900us  lost 3840
 TX 160.0Mbit/s  RX 3.2Mbit/s    RTT 12.0ms     WEIGHT 1000     LOSS 1.0%
             ██              ██    ████████████    ████████████    ████████████
             ██              ██    ████████████    ████████████    ████████████
    ▂▂   █ ▂ ███    ▂▂   █ ▂ ███   ████████████    ████████████    ████████████
    ██████ █ ███    ██████ █ ███   ████████████    ████████████    ████████████
 SESSIONS 2   filter "tcp clos", all are 20
 PROTO  LOCAL         REMOTE        STATE    PATHS    TX▼     RX  IDLE
 tcp    10.0.0.2:5028 192.0.2.9:443 closing    2/2   4.8M      0   0ms
 tcp    10.0.0.2:5008 192.0.2.9:443 closing    2/2   1.6M      0  1.2s



 Filter: tcp clos_   Enter keeps it, Esc shows all

"#]]
    );
    press(&mut top, &[KeyCode::Esc, KeyCode::Char('h')]);
    assert_data_eq!(
        picture(&mut top, 80, 24),
        str![[r#"
 mpip 0.1.0 enabled  netns blue  peers 1  sessions 20  paths 1/1       every 1s
 PATHS 1   graphs up to 320.0Mbit/s, 6.4Mbit/s, 12.0ms, 1.0%
 0 eth0  active  10.0.0.1 > 10.0.0.2  queue 900us  lost 3840
 TX 160.0Mbit/s  RX 3.2Mbit/s    RTT 12.0ms     WEIGHT 1000     LOSS 1.0%
             ██              ██    ████████████    ████████████    ████████████
         ┌─────────────────────── mpipctl top ───────────────────────┐█████████
    ▂▂   │ q, Ctrl-C     quit                                        │█████████
    █████│ Ctrl-Z        stop; fg goes on                            │█████████
 SESSIONS│ p, blank      pause                                       │
 PROTO  L│ s S, > <      order sessions by the next, the last column │
 udp    1│ r             the other way round                         │
 tcp    1│ /             show sessions that have all these words     │
 udp    1│ Esc           show all again                              │
 tcp    1│ Tab           scroll the paths, or the sessions           │
 udp    1│ Up Down PgUp PgDn Home End, k j g G   scroll              │
 tcp    1│                                                           │
 udp    1│ Graphs begin at 0; the latest is on the right.            │
 tcp    1└───────────────────────────────────────────────────────────┘
 udp    10.0.0.2:5022 192.0.2.9:443 open       2/2   3.8M      0  1.2s
 tcp    10.0.0.2:5020 192.0.2.9:443 open       2/2   3.5M      0 900ms
 udp    10.0.0.2:5018 192.0.2.9:443 closing    2/2   3.2M      0 600ms
 tcp    10.0.0.2:5016 192.0.2.9:443 open       2/2   2.9M      0 300ms
 udp    10.0.0.2:5014 192.0.2.9:443 open       2/2   2.6M      0   0ms
 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
}

/// The addresses of IPv6 are long: this end gives way, the ports stay.
#[test]
fn long_addresses() {
    let mut top = top();
    let mut look = look(0, 1, 1);
    let address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".parse().unwrap();
    look.paths[0].0.local = Some(address);
    look.paths[0].0.remote = Some(address);
    let session = &mut look.sessions[0];
    for end in [&mut session.local, &mut session.remote] {
        end.as_mut().unwrap().addr = address;
    }
    top.take(look);
    assert_data_eq!(
        picture(&mut top, 80, 12),
        str![[r#"
 mpip 0.1.0 enabled  netns blue  peers 1  sessions 1  paths 1/1        every 1s
 PATHS 1
 0 eth0  active  2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff > 2001:db8:aaaa:bbbb:ccc
 TX -            RX -            RTT 12.0ms     WEIGHT 1000     LOSS -




 SESSIONS 1
 PROTO  LOCAL     REMOTE                     STATE    PATHS    TX▼     RX  IDLE
 tcp    …ff]:5000 …:cccc:dddd:eeee:ffff]:443 open       2/2      -      -   0ms
 q quit  p pause  s sort  r reverse  / filter  Tab paths  h help

"#]]
    );
}

/// Neither a size nor a change of size may panic, and the last line is always there.
#[test]
fn any_size() {
    for (paths, sessions) in [(0, 0), (1, 1), (3, 300), (64, 3)] {
        let mut top = watched(paths, sessions);
        for width in [1, 2, 9, 40, 80, 100, 300] {
            for height in (1..=8).chain([12, 24, 100]) {
                press(&mut top, &[KeyCode::Tab, KeyCode::PageDown]);
                top.help = height % 2 == 0;
                picture(&mut top, width, height);
            }
        }
        top.help = false;
        let last = picture(&mut top, 80, 24);
        assert!(last.lines().last().unwrap().contains("q quit"), "{last}");
    }
}

/// On one terminal that changes its size nothing of the old picture is left.
#[test]
fn resizing() {
    let mut top = watched(2, 100);
    let mut terminal = Terminal::new(TestBackend::new(132, 43)).unwrap();
    for (width, height) in [(132, 43), (80, 24), (40, 10), (132, 43), (80, 24)] {
        terminal.backend_mut().resize(width, height);
        terminal
            .draw(|frame| draw(frame, &mut top, Theme(true)))
            .unwrap();
        let mut same = Terminal::new(TestBackend::new(width, height)).unwrap();
        same.draw(|frame| draw(frame, &mut top, Theme(true)))
            .unwrap();
        assert_eq!(terminal.backend().buffer(), same.backend().buffer());
    }
}

#[test]
fn colors_only_if_they_are_wanted() {
    let mut top = watched(2, 5);
    let colors = |buffer: &Buffer| {
        let cells = buffer.content.iter();
        cells
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert_eq!(colors(&drawn(&mut top, 80, 24, Theme(false))), 0);
    assert!(colors(&drawn(&mut top, 80, 24, Theme(true))) > 100);
}

#[test]
fn graphs_grow_with_what_they_show() {
    let mut top = top();
    top.take(look(0, 1, 0));
    top.take(look(1, 1, 0));
    let [_, _, rtt, weight, loss] = values(&top.paths[0].history[0]);
    assert_eq!((rtt, weight, loss), (12_000, 1000, 10_000));
    let scale = Scale::of(&top.paths, 10);
    assert_eq!(scale.tops, [5_000_000, 100_000, 12_000, 1000, 10_000]);
    // What is no longer visible does not count.
    let mut quiet = look(2, 1, 0);
    quiet.paths[0].0.tx_bytes = Some(5_000_000);
    top.take(quiet);
    assert_eq!(Scale::of(&top.paths, 1).tops[0], 1);
    let buffer = drawn(&mut top, 80, 24, Theme(false));
    let full = buffer
        .content
        .iter()
        .filter(|cell| cell.symbol() == "█")
        .count();
    // One sample of each at the height of the graph, and two of those that stayed.
    assert!(full > 4 * 4, "{full}");
}

/// What is not visible is not formatted: these keys and pictures would take minutes.
#[test]
fn very_many_sessions() {
    let mut top = top();
    top.take(look(0, 2, 100_000));
    top.take(look(1, 2, 100_000));
    for first in 0..1000 {
        let picture = picture(&mut top, 80, 24);
        let extent = format!("\n SESSIONS {}-{} of 100000\n", first + 1, first + 7);
        assert!(picture.contains(&extent), "{extent}{picture}");
        press(&mut top, &[KeyCode::Down]);
    }
    press(&mut top, &[KeyCode::End]);
    let picture = picture(&mut top, 80, 24);
    assert!(picture.contains("SESSIONS 99994-100000 of"), "{picture}");
    assert!(picture.contains(" 10.0.0.2:5000 "), "{picture}");
}

#[test]
fn what_is_older_than_it_should_be() {
    let mut top = watched(2, 5);
    let mut head = |later: f64| {
        top.now = std::time::Duration::from_secs(1025) + std::time::Duration::from_secs_f64(later);
        let picture = picture(&mut top, 80, 24);
        let head = picture.lines().next().unwrap();
        head.rsplit_once("  ").unwrap().1.to_string()
    };
    assert_eq!(head(0.0), "every 1s");
    assert_eq!(head(1.9), "every 1s");
    assert_eq!(head(2.0), "2s old");
    assert_eq!(head(75.5), "75s old");
    top.paused = true;
    assert!(picture(&mut top, 80, 24)
        .lines()
        .next()
        .unwrap()
        .ends_with("  paused"));
    // Nothing yet, but for what was asked first.
    let node = top.node.take();
    let mut blind = super::super::fixture::top();
    blind.node = node;
    assert!(picture(&mut blind, 80, 24)
        .lines()
        .next()
        .unwrap()
        .ends_with("  reading"));
}

/// Whatever sessions are ordered by, that column and its mark are there.
#[test]
fn the_order_is_shown() {
    for width in [80, 132] {
        let mut top = watched(2, 5);
        let mut marked = Vec::new();
        for _ in 0..9 {
            press(&mut top, &[KeyCode::Char('s')]);
            let drawn = picture(&mut top, width, 24);
            let titles = drawn.lines().find(|line| line.starts_with(" PROTO"));
            let titles = titles.unwrap_or_else(|| panic!("{drawn}"));
            let of = |word: &&str| word.ends_with(['▼', '▲']);
            marked.extend(titles.split_whitespace().find(of).map(str::to_string));
        }
        marked.sort();
        marked.dedup();
        assert_eq!(marked.len(), 9, "{width}: {marked:?}");
    }
}
