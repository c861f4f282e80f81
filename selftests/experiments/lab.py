# SPDX-License-Identifier: GPL-2.0
"""Two hosts to experiment with, and what an experiment says in the end."""

import contextlib
import tempfile
import time
from dataclasses import dataclass, field

from lib import wire
from lib.mpip import Mpip
from lib.net import NetemError, wait_for
from tools import flow, media, udpcount, xfer

USED = ("active", "standby")


@dataclass
class Result:
    """What came of an experiment.

    about   how it was made
    tables  (caption, head, rows): Markdown
    goals   (what has to be, what was, whether it is reached)
    plots   what each picture shows, by its file's name
    data    all figures
    """

    title: str
    about: str
    tables: list = field(default_factory=list)
    goals: list = field(default_factory=list)
    plots: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    pictures: dict = field(default_factory=dict)

    def plot(self, file, caption, svg):
        """One more picture."""
        self.plots[file] = caption
        self.pictures[file] = svg

    def goal(self, what, was, reached):
        """One more goal."""
        self.goals.append([what, was, bool(reached)])


class Lab:
    """Hosts A and B, the wires between them, the module, and what flows."""

    def __init__(self, a, b, wires):
        self.a, self.b, self.wires = a, b, wires
        self.module = Mpip()
        self.open = []

    def end_flows(self):
        """End all flows, the sockets included."""
        while self.open:
            self.open.pop().close()

    # --- MPIP ---------------------------------------------------------------

    @contextlib.contextmanager
    def mpip(self, **params):
        """Meanwhile both hosts have MPIP, with these parameters."""
        self.module.load(enabled=0)
        try:
            for host in (self.a, self.b):
                self.module.enable(host)
                self.module.set(host, **params)
            yield
        finally:
            self.end_flows()
            self.module.unload()

    def rules(self, *some, host=None):
        """These rules from now on, and no others."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("".join(f"{words}\n" for words in some))
            file.flush()
            self.module.ctl(host or self.a, "rule", "load", file.name, "--replace")

    def session(self, port, protocol, host=None):
        """The session that uses a port."""
        found = self.module.sessions(host or self.a, port, protocol)
        return found[0] if found else {"lane": []}

    def both(self, port, protocol):
        """Wait until a session has two lanes at both ends, and what is to be known of its paths is."""

        def ready():
            views = [self.session(port, protocol, host)["lane"] for host in (self.a, self.b)]
            return all(sum(lane["state"] in USED for lane in view) >= 2 for view in views)

        wait_for(ready, 30, "a session on two paths")
        measured = lambda: all(path.get("srtt_us") for path in self.module.paths(self.a)[:2])  # noqa: E731
        wait_for(measured, 20, "paths to be measured")

    def sent(self, *flows):
        """Bytes that A has sent on each link, for each of these flows, as (port, protocol)."""
        view, found = self.module.sessions(self.a), []
        for port, protocol in flows:
            name = {6: "tcp", 17: "udp"}[protocol]
            mine = [s for s in view if s["protocol"] == name and port in (s["local"]["port"], s["remote"]["port"])]
            lanes = [lane for session in mine for lane in session["lane"]]
            links = [[n["tx_bytes"] for n in lanes if n["local"]["addr"] == where] for where in self.a.addr]
            found.append([sum(some) for some in links])
        return found

    def unused(self, link, port, protocol):
        """Why none of a session's lanes on a link is used; None if one is."""
        lanes = self.session(port, protocol)["lane"]
        mine = [lane for lane in lanes if lane["local"]["addr"] == self.a.addr[link]]
        reasons = [lane.get("unused") for lane in mine if lane["state"] != "gone"]
        return None if not all(reasons) else next((why for why in reasons if why != "replaced"), None)

    # --- what flows ---------------------------------------------------------

    def keep(self, stream):
        """A flow that ends with all others."""
        self.open.append(stream)
        return stream

    def media(self, ports, link=0, kernel=True, **what):
        """A stream of datagrams from A to B between a link's addresses."""
        pair = udpcount.pair(self.a, self.b, self.a.addr[link], self.b.addr[link], *ports)
        return self.keep(media.Media(pair, kernel=kernel, **what))

    def tcp(self, port, rate=None, seed=1):
        """A stream of bytes from A to B."""
        return self.keep(flow.Tcp(xfer.connect(self.a, self.b, self.b.addr[0], port)[0], rate, seed))


@contextlib.contextmanager
def lab(links):
    """A Lab for a while, each link through a switch."""
    a, b, switch, wires = wire.switched(links)
    one = Lab(a, b, wires)
    try:
        yield one
    finally:
        one.end_flows()
        with contextlib.suppress(NetemError):
            if one.module.loaded():
                one.module.unload()
        for host in (a, b, switch):
            host.delete()


def span(seconds):
    """Let so much time pass; the time it began, and the time it ended."""
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


def shares(before, after):
    """What part of what was sent in between each link had."""
    grown = [now - then for now, then in zip(after, before)]
    return [part / max(1, sum(grown)) for part in grown]


def quantile(values, part):
    """The value below which this part of them is."""
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))] if values else None


def windows(start, end):
    """The time in five parts. The median of five says what is usual, whatever else the machine did in two."""
    step = (end - start) / 5
    return [(start + n * step, start + (n + 1) * step) for n in range(5)]


def usual(delays, start, end, part):
    """The quantile of delays, as (when sent, seconds), in each of five windows: the median of these."""
    some = [[d for when, d in delays if one <= when < other] for one, other in windows(start, end)]
    return quantile([quantile(values, part) for values in some if values], 0.5)


def ms(seconds):
    """Seconds as text in milliseconds."""
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"


def percent(part, digits=0):
    """A part of 1 as text."""
    return "-" if part is None else f"{100 * part:.{digits}f} %"


def distribution(delays):
    """Points of a curve: how much has come after so many milliseconds."""
    values = sorted(delays)
    return [(value * 1e3, 100 * (n + 1) / len(values)) for n, value in enumerate(values)]


def late(numbers):
    """For each datagram, in the order of arrival, whether one behind it had come before."""
    highest, found = -1, []
    for number in numbers:
        found.append(number < highest)
        highest = max(highest, number)
    return found
