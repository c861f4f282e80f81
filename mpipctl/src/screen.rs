// SPDX-License-Identifier: GPL-2.0

//! The whole terminal as a screen, given back as it was however the process ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::IsTerminal;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::signal::raise;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SignalFd;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor;
use ratatui::crossterm::event;
use ratatui::crossterm::event::Event;
use ratatui::crossterm::event::KeyEvent;
use ratatui::crossterm::event::KeyEventKind;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal;
use ratatui::Frame;

use crate::Error;

/// How long the rest of a key may take that is sent as several bytes.
const HALF_A_KEY: Duration = Duration::from_millis(10);

/// What poll says of a terminal that is there no more.
const GONE: PollFlags = PollFlags::POLLHUP
    .union(PollFlags::POLLERR)
    .union(PollFlags::POLLNVAL);

/// Why a wait for the screen is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The time has come.
    Time,
    /// There is something to be read.
    Ready,
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has another size.
    Redraw,
    /// The process is to stop until it is continued.
    Stop,
    /// The process is to end, or the terminal has gone.
    End,
}

/// A screen with keys. Tests put one in memory in the terminal's place.
pub trait Screen {
    /// Has everything drawn anew.
    fn draw(&mut self, paint: &mut dyn FnMut(&mut Frame<'_>)) -> io::Result<()>;

    /// Waits until something happens here or on `other`, or for so long; without a time as long as
    /// it takes.
    fn wait(&mut self, time: Option<Duration>, other: BorrowedFd<'_>) -> io::Result<Wake>;

    /// Gives the terminal back, stops the process, and goes on when it is continued.
    fn suspend(&mut self) -> io::Result<()>;
}

/// The terminal of this process. When it is dropped, and when the process panics, the terminal has
/// its modes, its text and its cursor back.
pub struct Terminal {
    // Never dropped: it would complain if the terminal has gone, and panic because nobody hears it.
    inner: ManuallyDrop<ratatui::Terminal<CrosstermBackend<BufWriter<File>>>>,
    signals: SignalFd,
    blocked: SigSet,
    keys: VecDeque<Event>,
}

impl Terminal {
    /// Takes the terminal over. From then on signals that would end the process are told by
    /// [`Screen::wait`] instead.
    pub fn take() -> Result<Self, Error> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Error::Usage(
                "top: standard input and output are no terminal; try: mpipctl top --count 1"
                    .to_string(),
            ));
        }
        restore_on_panic();
        let blocked = SigSet::from_iter([
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
            Signal::SIGWINCH,
        ]);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&blocked, flags).map_err(io::Error::from)?;
        blocked.thread_block().map_err(io::Error::from)?;
        let backend = CrosstermBackend::new(BufWriter::new(output()?));
        // From here on dropping it gives everything back.
        let mut screen = Self {
            inner: ManuallyDrop::new(ratatui::Terminal::new(backend)?),
            signals,
            blocked,
            keys: VecDeque::new(),
        };
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&mut self) -> io::Result<()> {
        terminal::enable_raw_mode()?;
        execute!(output()?, terminal::EnterAlternateScreen, cursor::Hide)?;
        self.inner.clear()
    }

    /// The signals that have come, in the order of the numbers.
    fn next_signal(&self) -> Option<Signal> {
        let info = self.signals.read_signal().ok()??;
        Signal::try_from(info.ssi_signo as i32).ok()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
        // What ended it need not end the process as well; a hang-up's signal may be still to come.
        while self.next_signal().is_some() {}
        if !has_gone() {
            let _ = self.blocked.thread_unblock();
        }
    }
}

/// Standard output without its buffer, in which whatever a terminal that has gone does not take would
/// be left for somebody else to fail with.
fn output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Whatever fails here, there is nothing left to be done about it.
fn restore() {
    let _ = terminal::disable_raw_mode();
    if let Ok(mut output) = output() {
        let _ = execute!(output, terminal::LeaveAlternateScreen, cursor::Show);
    }
}

/// Whether the terminal was hung up.
fn has_gone() -> bool {
    let input = io::stdin();
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::empty())];
    let found = poll(&mut fds, PollTimeout::ZERO).is_ok();
    found
        && fds[0]
            .revents()
            .is_some_and(|events| events.intersects(GONE))
}

/// The message of a panic would be lost with the screen, and where a panic aborts nothing is
/// dropped.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            usual(info);
        }));
    });
}

impl Screen for Terminal {
    fn draw(&mut self, paint: &mut dyn FnMut(&mut Frame<'_>)) -> io::Result<()> {
        match self.inner.draw(|frame| paint(frame)) {
            // The next wait tells.
            Err(_) if has_gone() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    fn wait(&mut self, time: Option<Duration>, other: BorrowedFd<'_>) -> io::Result<Wake> {
        let time = time.map_or(PollTimeout::NONE, |time| {
            // Rounded up, so that a wait is not over before its time.
            let ms = time.as_micros().div_ceil(1000);
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        });
        loop {
            while let Some(event) = self.keys.pop_front() {
                match event {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        return Ok(Wake::Key(key))
                    }
                    Event::Resize(..) => return Ok(Wake::Redraw),
                    _ => {}
                }
            }
            match self.next_signal() {
                Some(Signal::SIGWINCH) => return Ok(Wake::Redraw),
                Some(Signal::SIGTSTP) => return Ok(Wake::Stop),
                Some(_) => return Ok(Wake::End),
                None => {}
            }
            let input = io::stdin();
            let mut fds = [
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(input.as_fd(), PollFlags::POLLIN),
                PollFd::new(other, PollFlags::POLLIN),
            ];
            match poll(&mut fds, time) {
                Ok(0) => return Ok(Wake::Time),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let typed = fds[1].revents().unwrap_or(PollFlags::empty());
            if typed.intersects(GONE) {
                return Ok(Wake::End);
            }
            // All at once: what is read and not taken would not be seen by poll. Half a key is waited
            // for.
            let mut patience = HALF_A_KEY;
            while !typed.is_empty() && event::poll(patience)? {
                self.keys.push_back(event::read()?);
                patience = Duration::ZERO;
            }
            // Whoever types goes first.
            if self.keys.is_empty() && fds[2].any() != Some(false) {
                return Ok(Wake::Ready);
            }
        }
    }

    fn suspend(&mut self) -> io::Result<()> {
        restore();
        raise(Signal::SIGSTOP)?;
        self.enter()
    }
}

#[cfg(test)]
mod tests {
    //! This very program is run once more on a terminal made for that. What signals do is tested in
    //! the VM.

    use std::env;
    use std::io::Read;
    use std::process::Command;
    use std::process::Stdio;
    use std::thread;

    use nix::pty::openpty;
    use nix::pty::Winsize;
    use nix::sys::termios::tcgetattr;

    use super::*;

    /// Says to the program that it is the one on the terminal.
    const INSIDE: &str = "MPIPCTL_TEST_SCREEN";

    /// Runs the test of this name on a terminal; what it wrote there, after a check of the modes.
    fn on_a_terminal(test: &str) -> String {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let ends = openpty(&size, None).unwrap();
        let mut master = File::from(ends.master);
        // A terminal that nobody has open any more reads as an error.
        let reader = thread::spawn(move || {
            let mut written = Vec::new();
            let _ = master.read_to_end(&mut written);
            written
        });
        let before = tcgetattr(&ends.slave).unwrap();
        let end = || Stdio::from(ends.slave.try_clone().unwrap());
        Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .status()
            .unwrap();
        assert_eq!(
            tcgetattr(&ends.slave).unwrap(),
            before,
            "modes of the terminal"
        );
        drop(ends.slave);
        String::from_utf8_lossy(&reader.join().unwrap()).into_owned()
    }

    /// The text is on the usual screen, where the cursor is to be seen.
    fn check(written: &str, text: &str) {
        let place = |what: &str| {
            written
                .rfind(what)
                .unwrap_or_else(|| panic!("{what:?}: {written:?}"))
        };
        assert!(place("\x1b[?1049h") < place("drawn"), "{written:?}");
        assert!(place("drawn") < place("\x1b[?1049l"), "{written:?}");
        assert!(place("\x1b[?25l") < place("\x1b[?25h"), "{written:?}");
        assert!(
            written.find("\x1b[?1049l") < written.find(text),
            "{written:?}"
        );
    }

    fn draw() -> Terminal {
        let mut terminal = Terminal::take().unwrap();
        terminal
            .draw(&mut |frame| frame.render_widget("drawn", frame.area()))
            .unwrap();
        terminal
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        if env::var_os(INSIDE).is_some() {
            let _terminal = draw();
            panic!("a grave fault");
        }
        let written = on_a_terminal("screen::tests::a_panic_gives_the_terminal_back");
        check(&written, "a grave fault");
    }

    #[test]
    fn whoever_leaves_gives_the_terminal_back() {
        if env::var_os(INSIDE).is_some() {
            drop(draw());
            println!("and away");
            return;
        }
        let written = on_a_terminal("screen::tests::whoever_leaves_gives_the_terminal_back");
        check(&written, "and away");
    }

    #[test]
    fn only_a_terminal_is_taken() {
        if env::var_os(INSIDE).is_some() {
            let refused = Terminal::take().err().map(|error| error.to_string());
            println!("{}", refused.unwrap());
            return;
        }
        let written = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "screen::tests::only_a_terminal_is_taken",
                "--nocapture",
            ])
            .env(INSIDE, "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let written = String::from_utf8_lossy(&written.stdout);
        assert!(written.contains("try: mpipctl top --count 1"), "{written}");
    }
}
