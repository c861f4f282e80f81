# SPDX-License-Identifier: GPL-2.0
"""mpipctl top on a terminal: what it shows, keys, sizes, and how it leaves the terminal."""

import json
import os
import re
import signal
import subprocess

from lib import Link, case, wait_for
from lib.net import Host
from lib.vt import Terminal
from lib.world import SLOW
from tools import xfer

LINK = Link(rate="20mbit", delay="5ms")
START = 20  # seconds until a program of an emulated machine has drawn something
RATE = re.compile(r"TX ([0-9.]+)Mbit/s")
BARS = set("▁▂▃▄▅▆▇█")


def start(t, host, *options, **kwargs):
    """top for a host, on a terminal of its own, once it has drawn something."""
    terminal = Terminal("mpipctl", "-n", host, "top", *options, **kwargs)
    t.defer(terminal.close)
    t.wait(lambda: "q quit" in terminal.look()[-1], START, "the first picture")
    return terminal


def seen(t, terminal, what, condition, timeout=15):
    """Wait until the screen's lines meet a condition."""
    try:
        wait_for(lambda: condition(terminal.look()), timeout * SLOW)
    except TimeoutError:
        t.check(False, f"{what} in vain on:\n" + "\n".join(terminal.look()))
    t.checks += 1


def ends(t, terminal, what, status=0):
    """It ends by itself, and the terminal is as it was."""
    t.equal(terminal.wait(), status, f"exit status after {what}")
    t.check(terminal.restored(), f"the terminal is as it was after {what}: {terminal.screen.text()}")


@case("top shows rates, delays and sessions, obeys keys and follows the terminal's size", timeout=120)
def shows(t):
    a, b = t.two_hosts([LINK, LINK])
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], 7000, count=2)
    t.defer(xfer.close, pairs)
    t.spread(a, b, pairs)
    traffic = xfer.Traffic(pairs)
    terminal = start(t, a, "-i", "0.5")

    def moves(lines):
        rates = [float(rate) for rate in RATE.findall("\n".join(lines))]
        return len(rates) == 2 and min(rates) > 1

    seen(t, terminal, "the rate of both paths", moves, 30)
    lines = terminal.look()
    t.note("\n".join(lines))
    t.check("netns hA" in lines[0] and "enabled" in lines[0], lines[0])
    for dev, number in zip(a.dev, (1, 2)):
        path = f"{dev}  active  10.0.{number}.1 > 10.0.{number}.2"
        t.check(any(path in line for line in lines), f"{path} is shown")
    t.check(BARS & set("".join(lines)), "graphs are drawn")
    ports = {str(near.getsockname()[1]) for near, _ in pairs}
    t.check(all(any(port in line for line in lines) for port in ports), f"sessions of {ports}")

    # Everything moves with the size, down to one that shows little.
    terminal.resize(120, 40)
    seen(t, terminal, "120x40", lambda lines: "q quit" in lines[39] and "HELD" in str(lines))
    terminal.resize(50, 12)
    seen(t, terminal, "50x12", lambda lines: "q quit" in lines[11] and "HELD" not in str(lines))
    terminal.resize(80, 24)
    seen(t, terminal, "80x24", lambda lines: "q quit" in lines[23] and moves(lines))

    one = ports.pop()
    terminal.type(f"/tcp {one}")
    seen(t, terminal, "the filter", lambda lines: any("SESSIONS 1 " in line for line in lines))
    terminal.type("\r")
    seen(t, terminal, "the keys again", lambda lines: "q quit" in lines[-1])
    t.check(ports.pop() not in str(terminal.look()), "the other session is not shown")
    terminal.type("\x1b")
    seen(t, terminal, "all sessions", lambda lines: any("SESSIONS 2 " in line + " " for line in lines))
    terminal.type("s")
    seen(t, terminal, "another order", lambda lines: "RX▼" in str(lines) and "TX▼" not in str(lines))
    terminal.type("r")
    seen(t, terminal, "the other way round", lambda lines: "RX▲" in str(lines))
    terminal.type("h")
    seen(t, terminal, "help", lambda lines: "scroll the paths" in str(lines))
    terminal.type("hq")
    ends(t, terminal, "q")
    traffic.finish()


@case("top gives the terminal back after signals, a stop, and when the module goes", timeout=120)
def leaves(t):
    a = Host("hA")
    t.hosts.append(a)
    t.load(a)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        terminal = start(t, a)
        t.check(not terminal.restored(), "the terminal was taken")
        terminal.process.send_signal(number)
        ends(t, terminal, number.name)
    terminal = start(t, a)
    terminal.type("\x03")
    ends(t, terminal, "Ctrl-C")

    terminal = start(t, a)

    def stopped():
        with open(f"/proc/{terminal.process.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    terminal.type("\x1a")
    t.wait(stopped, 10, "Ctrl-Z to stop it")
    t.check(terminal.restored(), "the terminal is as it was while it is stopped")
    terminal.process.send_signal(signal.SIGCONT)
    seen(t, terminal, "the picture again", lambda lines: "q quit" in lines[-1])
    t.module.disable(a)
    seen(t, terminal, "that it is off", lambda lines: "disabled" in lines[0])
    t.unload()
    ends(t, terminal, "rmmod", 3)
    t.check("try: modprobe mpip" in str(terminal.look()), f"the reason is to be read: {terminal.look()}")

    # A terminal that is gone: nobody waits for keys for ever.
    t.module.load(enabled=0)
    terminal = start(t, a)
    os.close(terminal.slave)
    os.close(terminal.master)
    terminal.master = terminal.slave = None
    t.equal(terminal.process.wait(20), 0, "exit status after a hang-up")


@case("top writes text and JSON of intervals; what it cannot do it says", timeout=120)
def reports(t):
    a, b = t.two_hosts([LINK, LINK])
    t.load(a, b)
    ctl = t.module.ctl
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.defer(xfer.close, pairs)
    t.spread(a, b, pairs)
    traffic = xfer.Traffic(pairs)
    t.carries(a)
    before = a.counters()
    lines = ctl(a, "-j", "top", "--count", "2", "-i", "1").stdout.splitlines()
    now = a.counters()
    t.equal(len(lines), 2, "a line for each interval")
    last = json.loads(lines[1])
    t.equal((last["netns"], last["enabled"]), ("hA", True), "how it is")
    t.equal({p["dev"] for p in last["path"]}, set(a.dev), "paths")
    for path in last["path"]:
        # The program needs time as well, so that less than all was sent within the interval.
        sent = now[path["dev"]][2] - before[path["dev"]][2]
        t.at_most(path["tx_rate"], sent, f"bytes per second of {path['dev']}")
        t.reaches(path["tx_rate"], 100_000, f"bytes per second of {path['dev']}")
    (session,) = last["session"]
    t.equal(session["local"]["port"], pairs[0][0].getsockname()[1], "the session")
    total = sum(path["tx_rate"] for path in last["path"])
    t.reaches(session["tx_rate"], total / 2, f"its part of {total} bytes per second")
    text = ctl(a, "top", "-c", "1", "-i", "0.5", "udp").stdout
    t.note(text)
    t.check("TX" in text and "Mbit/s" in text and "tcp" not in text, text)
    traffic.finish()

    # It ends with whoever reads it.
    done = subprocess.run(
        ["bash", "-c", "set -o pipefail; mpipctl -n hA -j top -i 0.1 | head -n 2"],
        capture_output=True,
        timeout=30,
    )
    t.equal((done.returncode, len(done.stdout.splitlines())), (0, 2), f"a closed pipe: {done.stderr}")
    for words, status, what in (
        (("top",), 1, "--count 1"),
        (("top", "-i", "never"), 1, '"never"'),
        (("top", "--count", "0"), 1, "0"),
    ):
        done = ctl(a, *words, check=False)
        t.equal(done.returncode, status, f"{words}: {done.stderr}")
        t.check(done.stderr.startswith("Error: ") and what in done.stderr, done.stderr)
