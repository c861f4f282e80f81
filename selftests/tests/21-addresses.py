# SPDX-License-Identifier: GPL-2.0
"""Addresses, interfaces and routes change under open sessions, at either end and at both.

Two hosts with two uplinks each behind a router: four paths. Data flows from A to B
at a few Mbit/s while something changes. The session lives on, whatever happened to
its own addresses, every byte; only the paths concerned go; what is new is used.
"""

import errno
import socket
import struct
import time
from dataclasses import dataclass, field

from lib import RX_BYTES, TX_BYTES, active, case
from lib.net import command
from lib.rtnl import Rtnl
from lib.wire import cord
from tools import flow, udpcount, xfer

TCP_RATE = 1_000_000  # bytes a second
UDP_RATE, UDP_SIZE = 500, 1000
BEFORE = 0.15 * xfer.SLOW  # seconds: what was sent earlier than that before a change cannot be lost by it
# The aims are 300 ms for a change and a return, 1 s for something new; an emulated machine gets more.
GAP, NEW, DATA_AFTER_OUTAGE = 0.75, 2.5, 0.5
LATE = 3  # so many times that may be lost on an unlucky machine, which then has another try
IN_USE = 40_000  # bytes on an interface that show it is in use
PATIENCE = 8
BITS = {4: 24, 6: 64}
# The end with the larger port opens the session: A over IPv4, B over IPv6.
PORT = {4: 7000, 6: 61000}
IP_PKTINFO, IP_TRANSPARENT = 8, 19
REFUSED = 50  # datagrams that a socket may refuse around a change


@dataclass
class Scene:
    """A flow in progress, and where it runs."""

    t: object
    a: object
    b: object
    r: object
    of_a: list
    of_b: list
    protocol: int
    family: int
    stream: object = None
    spans: list = field(default_factory=list)

    def __post_init__(self):
        self.at = {host: Rtnl(host) for host in (self.a, self.b, self.r)}

    def address(self, uplink, last=2):
        """The uplink's address of the family in question."""
        return uplink.addresses(last)[self.family == 6]

    def remove(self, uplink, last=2):
        """Take the address away from its interface."""
        self.at[uplink.host].address(uplink.dev, self.address(uplink, last), BITS[self.family], add=False)

    def add(self, uplink, last=2):
        """Give the interface an address."""
        self.at[uplink.host].address(uplink.dev, self.address(uplink, last), BITS[self.family])

    def configure(self, uplink):
        """What a network manager does with an interface that is new, or up again."""
        uplink.host.ip(uplink.configure())

    def session(self, host):
        """The session at a host, or nothing."""
        view = self.t.module.sessions(host, protocol=self.protocol)
        return view[0] if view else {}

    def lanes(self, host):
        """Active lanes there."""
        return active(self.session(host))

    def carries(self, *uplinks, timeout=PATIENCE, what="to carry data"):
        """Wait until each of these carries; returns when."""
        before = {up: up.host.counters()[up.dev] for up in uplinks}

        def grown(up):
            now, way = up.host.counters()[up.dev], TX_BYTES if up.side == 1 else RX_BYTES
            return now[way] - before[up][way]

        def ready():
            self.t.equal(self.stream.trouble(), None, "the flow")
            return all(grown(up) >= IN_USE for up in uplinks)

        self.t.soon(ready, timeout, f"{' and '.join(up.dev for up in uplinks)} {what}")
        return time.monotonic()

    def changed(self, when=None, tolerance=GAP):
        """Something was changed at this moment: datagrams on their way may be lost."""
        when = when or time.monotonic()
        self.spans.append((when - BEFORE, when + tolerance, when + LATE * tolerance))
        return when

    def flows(self, seconds=0.5):
        """Let data flow for a while; it may not break."""
        time.sleep(seconds)
        self.t.equal(self.stream.trouble(), None, "the flow")

    def gap(self, since, bound=GAP, what="the change"):
        """The longest gap since then, and a check of it."""
        gap, begun = self.stream.gap(since - 0.05, time.monotonic())
        self.t.note(f"longest gap {gap * 1e3:.0f} ms, {(begun - since) * 1e3:+.0f} ms from {what}")
        self.t.within(round(gap, 3), bound, f"longest gap after {what}, s")

    def finish(self, refusals=REFUSED):
        """End the flow: exact; datagrams may be missing only around the changes, and so many be refused."""
        try:
            came = self.stream.stop(PATIENCE)
        except xfer.Mismatch as error:
            self.t.check(False, error)
        if self.protocol == 6:
            self.t.note(f"{came >> 10} KiB, exact")
            return
        missing = self.stream.missing()
        refused = self.stream.refused()
        self.t.note(
            f"{came} of {self.stream.sent()} datagrams, none twice; {len(missing)} missing, "
            f"{refused} times the socket refused one"
        )
        self.t.lost_only(missing, self.spans)
        self.t.within(refused, refusals, "datagrams that the socket refused")


def begin(t, protocol, family, lanes=4, prepare=None, links=(2, 2), back=False, loose=False):
    """A flow from A to B over all paths, or `back` from B to A; `loose`: of sockets without a connection."""
    a, b, r, of_a, of_b = t.uplinks(*links)
    s = Scene(t, a, b, r, of_a, of_b, protocol, family)
    if prepare:
        prepare(s)
    t.load(a, b)
    mine, theirs = s.address(of_a[0]), s.address(of_b[0])
    if protocol == 6:
        pairs = xfer.connect(a, b, theirs, PORT[family])
        s.stream = flow.Tcp(pairs[0][:: -1 if back else 1], TCP_RATE)
    elif loose:
        s.stream = flow.Udp(two_sockets(a, b, mine, theirs), UDP_RATE, UDP_SIZE, target=(theirs, 5002))
    else:
        s.stream = flow.Udp(udpcount.pair(a, b, mine, theirs)[:: -1 if back else 1], UDP_RATE, UDP_SIZE)
    t.defer(s.stream.close)
    t.soon(
        lambda: all(len(s.lanes(host)) >= lanes for host in (a, b)),
        20,
        f"a session with {lanes} active lanes at both ends",
    )
    return s


def two_sockets(a, b, mine, theirs):
    """UDP sockets that are bound to these addresses, and connected to nobody."""
    kind = (socket.AF_INET6 if ":" in mine else socket.AF_INET, socket.SOCK_DGRAM)
    near, far = a.socket(*kind), b.socket(*kind)
    near.bind((mine, 5001))
    far.bind((theirs, 5002))
    return near, far


NAMES = {6: "TCP", 17: "UDP"}
ALL = ((6, 4), (17, 6), (6, 6), (17, 4))
TWO = ((6, 4), (17, 6))


def declare(what, kinds, timeout=60, usual=1):
    """Make a function of (t, protocol, family) a case for each kind; all but the first ones are long."""

    def register(function):
        for number, (protocol, family) in enumerate(kinds):

            @case(f"{NAMES[protocol]} IPv{family}: {what}", timeout=timeout, long=number >= usual)
            def one(t, protocol=protocol, family=family):
                function(t, protocol, family)

        return function

    return register


# --- addresses -------------------------------------------------------------------


@declare("the session's own address at A goes, and comes back", ALL, usual=2)
def own_goes(t, protocol, family, loose=False):
    s = begin(t, protocol, family, loose=loose)
    own, other = s.of_a
    s.remove(own)
    gone = s.changed()
    s.carries(other)
    s.flows()
    s.gap(gone)
    s.configure(own)
    back = s.changed()
    s.carries(own, other, what="to carry data after the address came back")
    t.note(f"used again after {time.monotonic() - back:.2f} s")
    t.within(time.monotonic() - back, NEW, "seconds until the address is used again")
    s.finish()


@declare("the session's own address at A goes, of a socket without a connection", ((17, 4), (17, 6)))
def own_goes_loose(t, protocol, family):
    own_goes(t, protocol, family, loose=True)


@case("UDP IPv4: what a socket may do while its address is gone is to send from there to its sessions, and no more")
def no_forger(t):
    s = begin(t, 17, 4, loose=True)
    near = s.stream.pair[0]
    theirs = s.stream.target
    s.remove(s.of_a[0])
    s.carries(s.of_a[1])
    t.soon(lambda: near.getsockopt(socket.SOL_IP, IP_TRANSPARENT), 5, "the socket to be lent what it needs")
    nat = "chain c {\ntype nat hook postrouting priority srcnat;\nip saddr 10.9.9.0/24 masquerade\n}"
    with s.a.inside():
        command("nft", "-f", "-", stdin=f"table ip t {{\n{nat}\n}}\n")
    for what, address, source in (
        ("another source", theirs, "10.8.8.8"),
        ("another source that this host translates", theirs, "10.9.9.9"),
        ("its own, to a port that knows no session", (theirs[0], 9), None),
    ):
        source = source and [(socket.SOL_IP, IP_PKTINFO, struct.pack("I4s4x", 0, socket.inet_aton(source)))]
        try:
            near.sendmsg([b"forged"], source or [], 0, address)
        except OSError as error:
            t.equal(error.errno, errno.EINVAL, what)
        else:
            t.check(False, f"{what}: it was sent")
    t.equal(t.module.stats(s.a)["source_refused"], 3, "refusals that were counted")
    s.flows()
    # It may not keep it, neither when the address is back nor without the module.
    s.configure(s.of_a[0])
    t.soon(lambda: not near.getsockopt(socket.SOL_IP, IP_TRANSPARENT), 5, "the socket to be as it was")
    s.remove(s.of_a[0])
    t.soon(lambda: near.getsockopt(socket.SOL_IP, IP_TRANSPARENT), 5, "the socket to be lent it again")
    s.flows()
    t.module.disable(s.a)
    t.equal(near.getsockopt(socket.SOL_IP, IP_TRANSPARENT), 0, "transparent, without MPIP")
    s.stream.close()


@declare("the session's own address at B goes", ALL, usual=2)
def own_goes_at_b(t, protocol, family):
    s = begin(t, protocol, family)
    s.remove(s.of_b[0])
    gone = s.changed()
    s.carries(s.of_b[1])
    s.flows()
    s.gap(gone)
    s.finish()


@declare("an added address at A goes: only its paths do", TWO)
def added_goes(t, protocol, family):
    s = begin(t, protocol, family)
    left, right = s.address(s.of_a[0]), s.address(s.of_a[1])
    s.remove(s.of_a[1])
    gone = s.changed()

    def only_its_paths():
        locals_a = {lane["local"]["addr"] for lane in s.lanes(s.a)}
        remotes_b = {lane["remote"]["addr"] for lane in s.lanes(s.b)}
        t.check(left in locals_a and left in remotes_b, "the other address is in use all the time")
        return right not in locals_a | remotes_b

    t.soon(only_its_paths, 3, f"no active lane of {right} at either end")
    t.note(f"its paths had gone at both ends after {time.monotonic() - gone:.2f} s")
    s.carries(s.of_a[0])
    s.gap(gone)
    t.equal(len([x for x in s.lanes(s.a) if x["local"]["addr"] == left]), 2, "lanes of the other address")
    s.finish()


@declare("the session's own address at A is replaced", ALL, usual=2)
def own_replaced(t, protocol, family):
    s = begin(t, protocol, family)
    s.add(s.of_a[0], 3)
    s.remove(s.of_a[0])
    when = s.changed()
    fresh = s.address(s.of_a[0], 3)
    t.soon(
        lambda: any(lane["local"]["addr"] == fresh for lane in s.lanes(s.a)), PATIENCE, f"a lane of {fresh}"
    )
    t.note(f"a lane of the new address after {time.monotonic() - when:.2f} s")
    s.carries(*s.of_a)
    s.gap(when)
    s.finish()


@declare("both ends' own addresses are replaced at once while another path works", ALL)
def both_move(t, protocol, family):
    s = begin(t, protocol, family)
    for own in (s.of_a[0], s.of_b[0]):
        s.add(own, 3)
        # The other end may take its time.
        s.changed()
        s.remove(own)
    when = s.changed()
    ends = s.address(s.of_a[0], 3), s.address(s.of_b[0], 3)

    def met():
        return any((x["local"]["addr"], x["remote"]["addr"]) == ends for x in s.lanes(s.a))

    t.soon(met, PATIENCE, f"a path from {ends[0]} to {ends[1]}")
    t.note(f"a path between the new addresses after {time.monotonic() - when:.2f} s")
    s.carries(*s.of_a)
    s.gap(when)
    s.finish()


@declare("a second address appears at A", TWO)
def appears(t, protocol, family):
    s = begin(t, protocol, family, lanes=2, prepare=lambda s: s.remove(s.of_a[1]))
    before = s.a.counters()["a2"][TX_BYTES]
    s.flows(0.3)
    t.at_most(s.a.counters()["a2"][TX_BYTES] - before, 5000, "bytes by an interface without an address")
    s.configure(s.of_a[1])
    when = s.changed()
    s.carries(*s.of_a)
    took = time.monotonic() - when
    t.note(f"used after {took:.2f} s")
    t.within(took, NEW, "seconds until it is used")
    s.gap(when)
    s.finish()


@declare(
    "a lease is renumbered: another prefix, another gateway, the old address runs out", ((6, 4), (17, 4))
)
def renumbered(t, protocol, family):
    s = begin(t, protocol, family)
    s.r.ip(["addr add 10.1.12.1/24 dev ra1"])
    s.a.ip(
        [
            "addr add 10.1.12.2/24 dev a1",
            "rule add from 10.1.12.0/24 table 1",
            "route replace default via 10.1.12.1 dev a1 metric 101",
            "route replace default via 10.1.12.1 dev a1 table 1",
        ]
    )
    s.remove(s.of_a[0])
    when = s.changed()
    s.r.ip(["addr del 10.1.1.1/24 dev ra1"])
    t.soon(
        lambda: any(x["local"]["addr"] == "10.1.12.2" for x in s.lanes(s.a)),
        PATIENCE,
        "a lane of the new address",
    )
    t.note(f"a lane of the new address after {time.monotonic() - when:.2f} s")
    s.carries(*s.of_a)
    s.gap(when)
    s.finish()


@declare("a tentative address is left alone until it is confirmed", ((6, 6),))
def tentative(t, protocol, family):
    s = begin(t, protocol, family, lanes=2, prepare=lambda s: s.remove(s.of_a[1]))
    for name, value in (("accept_dad", 1), ("dad_transmits", 4)):
        s.a.sysctl(f"net/ipv6/conf/a2/{name}", value)
    before = s.a.counters()["a2"][TX_BYTES]
    s.a.ip([f"addr add {s.address(s.of_a[1])}/64 dev a2", *s.of_a[1].routes()])

    def state():
        return s.a.run("ip", "-6", "-o", "addr", "show", "dev", "a2", "scope", "global").stdout

    s.flows(0.3)
    spent = s.a.counters()["a2"][TX_BYTES] - before
    # If it still is, it was all the time.
    t.check("tentative" in state(), f"the address is tentative: {state()}")
    t.wait(lambda: "tentative" not in state(), 10, "the address to be confirmed")
    when = s.changed()
    t.at_most(spent, 5000, "bytes by the interface while its address was tentative")
    s.carries(*s.of_a)
    t.note(f"used {time.monotonic() - when:.2f} s after it was confirmed")
    t.within(time.monotonic() - when, NEW, "seconds until it is used")
    s.finish()


@declare("a new session does not use a deprecated address", ((17, 6), (6, 6)))
def deprecated(t, protocol, family):
    s = begin(t, protocol, family)
    old = s.address(s.of_a[1])
    s.at[s.a].address("a2", old, 64, preferred=0)
    when = s.changed()
    s.flows()
    s.gap(when)
    pairs = xfer.connect(s.a, s.b, s.address(s.of_b[0]))
    port = pairs[0][0].getsockname()[1]
    t.spread(s.a, s.b, pairs, lanes=2)
    used = {lane["local"]["addr"] for lane in active(t.by_port(s.a, "local")[port])}
    t.equal(used, {s.address(s.of_a[0])}, "local addresses of the new session")
    s.at[s.a].address("a2", old, 64)
    s.changed()
    s.carries(*s.of_a)
    s.finish()


# --- interfaces and routes -----------------------------------------------------------


@declare("the interface of the session's own path is switched off and on", TWO)
def down_up(t, protocol, family):
    s = begin(t, protocol, family)
    own, other = s.of_a
    s.at[s.a].up(own.dev, False)
    gone = s.changed()
    s.carries(other)
    s.flows()
    s.gap(gone)
    s.configure(own)
    back = s.changed()
    s.carries(own, other, what="to carry data after it was switched on")
    t.note(f"used again after {time.monotonic() - back:.2f} s")
    t.within(time.monotonic() - back, NEW, "seconds until it is used again")
    s.finish()


@declare("the interface of the session's own path is removed and made anew", ALL, usual=2)
def recreated(t, protocol, family):
    s = begin(t, protocol, family)
    own, other = s.of_a
    s.at[s.a].delete(own.dev)
    gone = s.changed()
    s.carries(other)
    s.flows()
    s.gap(gone)
    line = cord(own.dev, s.a, f"p{own.dev}", s.r, 177, 1500)
    command("ip", "-batch", "-", stdin=line + "\n")
    s.r.ip([f"link set p{own.dev} master r{own.dev} up"])
    s.configure(own)
    back = s.changed()
    s.carries(own, other, what="to carry data after it was made anew")
    t.note(f"used again after {time.monotonic() - back:.2f} s")
    t.within(time.monotonic() - back, NEW, "seconds until it is used again")
    s.finish()


@declare("the added path gets another gateway, and the old one dies", ((6, 4), (6, 6)))
def gateway(t, protocol, family):
    s = begin(t, protocol, family)
    up = s.of_a[1]
    old, new = s.address(up, 1), s.address(up, 254)
    s.at[s.r].address("ra2", new, BITS[family])
    s.a.ip(
        [
            f"route replace default via {new} dev a2 metric 102",
            f"route replace default via {new} dev a2 table 2",
        ]
    )
    s.at[s.r].address("ra2", old, BITS[family], add=False)
    # Whoever still asks for the old one gets no answer.
    s.a.ip([f"neigh flush dev a2 to {old}"])
    when = s.changed()
    s.carries(*s.of_a)
    s.flows(1.5)
    s.carries(*s.of_a)
    s.gap(when)
    s.finish()


# --- nothing works for a while ---------------------------------------------------------


def outage(t, protocol, family, seconds, returns):
    """All of A's cables are pulled; later one comes back."""
    s = begin(t, protocol, family)
    gone = min([up.wire.pull() for up in s.of_a])
    time.sleep(seconds)
    got = s.stream.got()
    time.sleep(0.1)
    t.equal(s.stream.got(), got, "what the receiver has got while nothing works")
    back = s.of_a[returns].wire.plug()
    due = back + DATA_AFTER_OUTAGE
    s.spans.append((gone - BEFORE, due, due + LATE * DATA_AFTER_OUTAGE))
    first = t.soon(lambda: s.stream.next_after(back), PATIENCE, "data after the return")
    t.note(f"data {(first - back) * 1e3:.0f} ms after the return (aim 300 ms)")
    t.within(round(first - back, 3), DATA_AFTER_OUTAGE, "seconds from the return to data")
    s.carries(s.of_a[returns])
    s.finish()


@declare("nothing works for 5 s, then the added link comes back", ((6, 4), (17, 6)))
def outage_added(t, protocol, family):
    outage(t, protocol, family, 5, 1)


@declare("nothing works for 5 s, then the session's own link comes back", ((6, 6), (17, 4)))
def outage_own(t, protocol, family):
    outage(t, protocol, family, 5, 0)


@declare("nothing works for 30 s, then the added link comes back", TWO, timeout=90)
def outage_long(t, protocol, family):
    outage(t, protocol, family, 30, 1)


def another_address(t, protocol, family, links, back, seconds):
    """A loses all its addresses; later it gets one that nobody knows yet."""
    s = begin(t, protocol, family, lanes=links, links=(links, 1), back=back)
    for up in s.of_a:
        s.remove(up)
    gone = s.changed()
    time.sleep(seconds)
    got = s.stream.got()
    time.sleep(0.1)
    t.equal(s.stream.got(), got, "what the receiver has got while nothing works")
    s.a.ip(s.of_a[-1].configure(3))
    came = time.monotonic()
    s.spans.append((gone - BEFORE, came + NEW, came + LATE * NEW))
    first = t.soon(lambda: s.stream.next_after(came), PATIENCE, "data after the new address came")
    t.note(f"data {(first - came) * 1e3:.0f} ms after the new address came (aim 300 ms)")
    t.within(round(first - came, 3), NEW, "seconds from the new address to data")
    # A host without an address may refuse to send.
    s.finish(REFUSED + int((seconds + NEW) * UDP_RATE))


MORE = [(6, 4, 1, True, 7), (6, 4, 2, False, 7), (6, 6, 1, False, 7), (6, 6, 2, True, 7), (6, 4, 2, False, 30)]
# TCP sends again after 6.2 s, then after 12.6, 25.4 and 51 s.
for CELL in (
    *((6, family, links, back, 7) for family in (4, 6) for links in (1, 2) for back in (False, True)),
    (6, 4, 2, False, 30),
    (17, 4, 2, False, 7),
    (17, 6, 2, True, 30),
):
    WHAT = f"the last of {CELL[2]} addresses at A goes, {CELL[4]} s later another comes"
    WAY = "B to A" if CELL[3] else "A to B"

    @case(
        f"{NAMES[CELL[0]]} IPv{CELL[1]}: {WHAT}, {WAY}",
        timeout=60 if CELL[4] < 30 else 90,
        long=CELL in MORE,
    )
    def another(t, cell=CELL):
        another_address(t, *cell)
