# SPDX-License-Identifier: GPL-2.0
"""A terminal: a program on a pty, and what is to be seen on the screen."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass, replace

SEQUENCE = re.compile(r"\x1b\[([?<=>]?)([0-9;]*)([@-~])|\x1b[()][0-9A-Za-z]|\x1b[=>78cDEHM]")


@dataclass(frozen=True)
class Style:
    """How a cell is drawn; colours are numbers from 0 to 255, or None."""

    fg: "int | None" = None
    bg: "int | None" = None
    bold: bool = False
    dim: bool = False
    reverse: bool = False


PLAIN = Style()
# Numbers of SGR that switch something on or off.
SWITCHES = {
    1: {"bold": True},
    2: {"dim": True},
    22: {"bold": False, "dim": False},
    7: {"reverse": True},
    27: {"reverse": False},
    39: {"fg": None},
    49: {"bg": None},
}


class Screen:
    """What a terminal shows of the bytes it was sent, as far as such programs use it."""

    def __init__(self, columns=80, lines=24):
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.rest = ""
        self.columns, self.lines = columns, lines
        self.cells = self.blank()
        self.kept = None  # the usual screen while the other one is shown
        self.x = self.y = 0
        self.style = PLAIN
        self.cursor = True

    def blank(self):
        """An empty screen."""
        return [[(" ", PLAIN)] * self.columns for _ in range(self.lines)]

    def resize(self, columns, lines):
        """What fits stays where it is."""
        old = self.cells
        self.columns, self.lines = columns, lines
        self.cells = self.blank()
        for row, was in zip(self.cells, old):
            row[: len(was)] = was[:columns]
        self.x, self.y = min(self.x, columns - 1), min(self.y, lines - 1)

    def text(self):
        """The lines, without blanks at their ends."""
        return ["".join(char for char, _ in row).rstrip() for row in self.cells]

    def feed(self, data):
        """Take what a program wrote."""
        text = self.rest + self.decoder.decode(data)
        self.rest = ""
        at = 0
        while at < len(text):
            char = text[at]
            if char != "\x1b":
                self.put(char)
                at += 1
                continue
            found = SEQUENCE.match(text, at)
            if found:
                if found[3]:
                    self.control(found[1], found[2], found[3])
                at = found.end()
            elif len(text) - at < 32:
                self.rest = text[at:]  # the end of it is still to come
                return
            else:
                at += 1

    def put(self, char):
        """One character at the cursor."""
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.newline()
        elif char == "\b":
            self.x = max(0, self.x - 1)
        elif char >= " ":
            if self.x >= self.columns:
                self.x = 0
                self.newline()
            self.cells[self.y][self.x] = (char, self.style)
            self.x += 1

    def newline(self):
        """One line down; the screen scrolls at its end."""
        self.y += 1
        if self.y == self.lines:
            self.y -= 1
            self.cells = [*self.cells[1:], [(" ", PLAIN)] * self.columns]

    def control(self, private, numbers, what):
        """A control sequence."""
        given = [int(n or 0) for n in numbers.split(";")]
        first = max(1, given[0])
        if private == "?":
            if what in "hl" and given[0] == 1049:
                self.alternate(what == "h")
            elif what in "hl" and given[0] == 25:
                self.cursor = what == "h"
        elif what in "Hf":
            row, column = (*given, 1, 1)[:2] if len(given) > 1 else (given[0], 1)
            self.y = min(max(1, row), self.lines) - 1
            self.x = min(max(1, column), self.columns) - 1
        elif what == "A":
            self.y = max(0, self.y - first)
        elif what == "B":
            self.y = min(self.lines - 1, self.y + first)
        elif what == "C":
            self.x = min(self.columns - 1, self.x + first)
        elif what == "D":
            self.x = max(0, self.x - first)
        elif what == "G":
            self.x = min(first, self.columns) - 1
        elif what == "J":
            self.erase_screen(given[0])
        elif what == "K":
            self.erase_line(given[0])
        elif what == "m":
            self.paint(given)

    def alternate(self, on):
        """The other screen begins empty; the usual one comes back as it was."""
        if on and self.kept is None:
            self.kept = (self.cells, self.x, self.y)
            self.cells = self.blank()
        elif not on and self.kept is not None:
            cells, self.x, self.y = self.kept
            self.kept, self.cells = None, self.blank()
            for row, was in zip(self.cells, cells):
                row[: len(was)] = was[: self.columns]
            self.x, self.y = min(self.x, self.columns - 1), min(self.y, self.lines - 1)

    def erase_screen(self, which):
        """From the cursor on, up to it, or all."""
        self.erase_line(which)
        for y in range(self.lines):
            if which >= 2 or (y > self.y if which == 0 else y < self.y):
                self.cells[y] = [(" ", PLAIN)] * self.columns

    def erase_line(self, which):
        """From the cursor on, up to it, or all of its line."""
        first = self.x if which == 0 else 0
        behind = min(self.x + 1, self.columns) if which == 1 else self.columns
        for x in range(first, behind):
            self.cells[self.y][x] = (" ", PLAIN)

    def paint(self, given):
        """Colours and the like."""
        at = 0
        while at < len(given):
            n = given[at]
            if n == 0:
                self.style = PLAIN
            elif n in SWITCHES:
                self.style = replace(self.style, **SWITCHES[n])
            elif 30 <= n <= 37 or 90 <= n <= 97:
                self.style = replace(self.style, fg=n - 30 if n < 90 else n - 82)
            elif 40 <= n <= 47:
                self.style = replace(self.style, bg=n - 40)
            elif n in (38, 48) and given[at + 1 : at + 2] == [5] and at + 2 < len(given):
                self.style = replace(self.style, **{"fg" if n == 38 else "bg": given[at + 2]})
                at += 2
            at += 1


class Terminal:
    """A program that has a terminal of its own, and the screen that shows it."""

    def __init__(self, *argv, columns=80, lines=24, env=None):
        self.master, self.slave = pty.openpty()
        self.screen = Screen(columns, lines)
        self.size(columns, lines)
        self.modes = termios.tcgetattr(self.slave)
        slave = self.slave
        self.process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        )

    def size(self, columns, lines):
        """Tell the kernel, which tells the program."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        """Another size, as if somebody had dragged the window."""
        self.look()
        self.screen.resize(columns, lines)
        self.size(columns, lines)

    def type(self, keys):
        """Press keys."""
        os.write(self.master, keys.encode())

    def look(self):
        """What is on the screen now."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # nobody has the other end
                break
            if not data:
                break
            self.screen.feed(data)
        return self.screen.text()

    def wait(self, timeout=20):
        """Wait until the program has ended and return its status; the screen is read meanwhile."""
        end = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < end:
            self.look()
            time.sleep(0.02)
        self.look()
        return self.process.poll()

    def restored(self):
        """Whether the terminal is as it was: its modes, its screen, its cursor."""
        self.look()
        same = termios.tcgetattr(self.slave) == self.modes
        return same and self.screen.kept is None and self.screen.cursor

    def close(self):
        """End the program and take the terminal away."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in (self.master, self.slave):
            if fd is not None:
                os.close(fd)
        self.master = self.slave = None
