# SPDX-License-Identifier: GPL-2.0
"""What fails and moves when the paths go through NATs: lanes inside UDP and made-up TCP connections.

A has an uplink behind a NAT that keeps ports and another one behind a NAT that does not;
B is on the Internet. Data flows through both while something happens to one: no gap
beyond what is noticed in time, every byte, and both are used again afterwards.
"""

import select
import socket
import time

from lib import active, case, nat
from lib.nat import LINK, RESTRICTED, SYMMETRIC
from lib.packet import Capture
from lib.rtnl import Rtnl
from lib.wire import numbers
from tools import flow, udpcount, xfer

MIB = 1 << 20
UDP_SEGMENT = 103
# The end with the larger port opens the session: A over IPv4, B over IPv6.
PORT = {4: 7000, 6: 61000}
NAMES = {6: "TCP", 17: "UDP"}
BITS = {4: 24, 6: 64}
TCP_RATE = 2_000_000  # bytes a second
UDP_RATE, UDP_SIZE = 500, 1000
IN_USE = 40_000  # bytes of an uplink that show it is in use
# The aims are 50 and 300 ms without data, and 1 s until a path carries again; an emulated machine gets more.
CARRIER, SILENT, RETURN = 0.150, 0.750, 2.5
NEW = 4  # seconds until an address that nobody knows is used: a NAT has to be asked through
BEFORE = 0.15 * xfer.SLOW  # seconds: older datagrams cannot be in flight
PATIENCE = 8


def acquaint(n, family):
    """The hosts get to know each other: boxes stop the answers to datagrams that go one way only."""
    xfer.transfer(n.a, n.b, n.target(family), 50_000, 50_000)


class Scene:
    """A flow in progress from A to B, or back, over both uplinks."""

    def __init__(self, t, protocol, family, encap="auto", back=False):
        self.t, self.protocol, self.family = t, protocol, family
        self.n = n = nat.natted([[RESTRICTED], [SYMMETRIC]])
        t.hosts += n.hosts
        for gate in n.gates:
            # A cable that is pulled takes no address of the box.
            gate[0].sysctl("net/ipv6/conf/lan/keep_addr_on_down", 1)
        t.load(n.a, n.b)
        for host in (n.a, n.b):
            # By weight all paths are used, however little there is to send.
            t.module.set(host, encap=encap, scheduler="weighted" if protocol == 17 else "earliest")
        if protocol == 6:
            self.pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family])
            t.spread(n.a, n.b, self.pairs)
            pair = self.pairs[0][:: -1 if back else 1]
            self.stream = flow.Tcp(pair, TCP_RATE)
        else:
            acquaint(n, family)
            pair = nat.udp_pair(n.a, n.b, n.target(family))[:: -1 if back else 1]
            self.stream = flow.Udp(pair, UDP_RATE, UDP_SIZE)
        t.defer(self.stream.close)
        t.soon(
            lambda: t.module.is_spread((n.a, n.b), 2, protocol=protocol),
            20,
            "the flow to have 2 active lanes at both ends",
        )
        for which in (0, 1):
            self.carries(which)
        self.flows()
        self.all_answer(encap)
        now = time.monotonic()
        self.calm = self.stream.gap(now - 0.5, now)[0]
        self.spans = []

    def all_answer(self, encap):
        """Wait until the session has a lane on each path that gets answers, in what it is to be wrapped in."""

        def ready():
            paths, sessions = self.t.module.paths_and_sessions(self.n.a, protocol=self.protocol)
            used = {
                lane["path"]
                for session in sessions
                for lane in active(session)
                if self.protocol == 6 or not lane.get("unused")
            }
            good = {path["id"] for path in paths if path["state"] == "active" and path["srtt_us"]}
            # Datagrams need no second wrapper of the same kind.
            raw = encap == "auto" or self.protocol == 17 and encap == "udp"
            wrapped = {path["id"] for path in paths if raw or path.get("way") == encap}
            return len(used & good & wrapped) >= 2

        self.t.soon(ready, PATIENCE, f"two paths that answer, encap={encap}")

    def carries(self, which, timeout=PATIENCE):
        """Wait until an uplink carries data; returns when."""
        start = self.n.carried()[which]
        self.t.soon(
            lambda: self.n.carried()[which] - start >= IN_USE, timeout, f"a{which + 1} to carry {IN_USE} bytes"
        )
        return time.monotonic()

    def flows(self, seconds=0.5):
        """Let data flow for a while; it may not break."""
        time.sleep(seconds)
        self.t.equal(self.stream.trouble(), None, "the flow")

    def silence(self, which, silent=True):
        """The network behind a box drops everything, or no longer. Returns the time."""
        loss = 1.0 if silent else 0.0
        for host, dev in ((self.n.gates[which][-1], "wan"), (self.n.inet, f"w{which + 1}")):
            Rtnl(host).netem(dev, loss=loss, **numbers(LINK))
        return time.monotonic()

    def pull(self, which, pulled=True):
        """Pull A's cable out of the box, or put it back. Returns the time."""
        rtnl = Rtnl(self.n.gates[which][0])
        rtnl.up("lan", not pulled)
        if not pulled:
            rtnl.look()
        return time.monotonic()

    def lost(self, when, bound, until=None):
        """Datagrams may be lost that were on their way at this moment, or sent until it was noticed."""
        self.spans.append((when - BEFORE, when + bound + self.calm, until or when + 3 * bound))

    def gap(self, since, until, bound):
        """The longest gap in between, and a check of it."""
        gap, begun = self.stream.gap(since - 0.05, until)
        self.t.note(f"longest gap {gap * 1e3:.0f} ms, {(begun - since) * 1e3:+.0f} ms from the event")
        self.t.within(round(gap, 3), round(bound + self.calm, 3), "longest gap without data, s")

    def finish(self):
        """End the flow: exact."""
        try:
            came = self.stream.stop(PATIENCE)
        except xfer.Mismatch as error:
            self.t.check(False, error)
        if self.protocol == 17:
            missing = self.stream.missing()
            self.t.note(f"{came} of {self.stream.sent()} datagrams, none twice; missing {len(missing)}")
            self.t.lost_only(missing, self.spans)


def fails(t, protocol, family, which, how, encap, back):
    """An uplink fails and returns."""
    s = Scene(t, protocol, family, encap, back)
    fail, bound = (s.pull, CARRIER) if how == "carrier" else (s.silence, SILENT)
    if how == "carrier" and back:
        # B has no part in it and has to be told by A.
        bound = SILENT
    gone = fail(which)
    s.flows(2)
    returns = fail(which, False)
    s.lost(gone, bound, returns)
    s.gap(gone, returns, bound)
    returned = s.carries(which) - returns
    t.note(f"carried again {returned * 1e3:.0f} ms after the return")
    t.within(round(returned, 3), RETURN, "seconds until the path carried again")
    s.flows()
    s.finish()


def declare(protocol, family, which, how, encap="auto", back=False, long=False):
    """One case of `fails`."""
    where = ("the session's own", "the added")[which]
    what = f"carrier loss of {where} uplink" if how == "carrier" else f"silence behind the NAT of {where} uplink"
    way = "B to A" if back else "A to B"

    @case(f"{NAMES[protocol]} IPv{family}, encap={encap}, {way}: {what}, and its return", timeout=60, long=long)
    def one(t):
        fails(t, protocol, family, which, how, encap, back)


declare(6, 4, 1, "silent", "udp")
declare(6, 4, 1, "silent", "tcp", back=True)
declare(6, 6, 0, "silent", "udp", long=True)
declare(6, 4, 0, "silent", "tcp", long=True)
declare(6, 4, 0, "carrier", "udp")
declare(6, 6, 1, "carrier", "tcp")
declare(6, 4, 1, "carrier", "auto", back=True, long=True)
declare(17, 4, 1, "silent", "udp")
declare(17, 6, 0, "silent", "tcp")
declare(17, 4, 0, "silent", "auto", back=True, long=True)
declare(17, 4, 1, "carrier", "tcp", long=True)
declare(17, 6, 0, "carrier", "udp")


# --- addresses behind NATs ------------------------------------------------------------


def renumbers(t, protocol, family, which):
    """A's address behind a NAT is replaced by another one: the NAT maps it anew."""
    s = Scene(t, protocol, family)
    rtnl = Rtnl(s.n.a)
    dev, number = s.n.a.dev[which], which + 1
    old, new = (
        (f"192.168.{number}.{last}" if family == 4 else f"fd0a:{number}::{last}") for last in (2, 77)
    )
    rtnl.address(dev, old, BITS[family], add=False)
    gone = time.monotonic()
    s.lost(gone, SILENT)
    s.flows()
    s.gap(gone, time.monotonic(), SILENT)
    rtnl.address(dev, new, BITS[family])
    gate = new[: -len("77")] + "1"
    # With the last address of IPv4 went the routes.
    s.n.a.ip(
        [f"route replace default via {gate} dev {dev} {rest}" for rest in (f"metric {100 + number}", f"table {number}")]
    )
    came = time.monotonic()
    s.lost(came, SILENT)
    used = s.carries(which) - came
    t.note(f"the new address is used after {used:.2f} s")
    t.within(round(used, 3), NEW, "seconds until the new address is used")
    s.flows()
    s.finish()


for cell in ((6, 4, 0), (6, 6, 1), (17, 4, 1), (17, 6, 0)):

    @case(
        f"{NAMES[cell[0]]} IPv{cell[1]}: another address at A behind the NAT of "
        f"{('the session' + chr(39) + 's own', 'the added')[cell[2]]} uplink",
        timeout=60,
    )
    def renumbers_case(t, cell=cell):
        renumbers(t, *cell)


# --- ICMP errors about wrapped packets --------------------------------------------------


def narrows(s, mtu):
    """The network behind the second box carries no longer packets; only ICMP tells."""
    # The device keeps its MTU: a veth end drops what is larger without a word.
    gate = s.gates[1][0]
    gate.ip([f"route replace default via 198.18.2.1 dev wan mtu lock {mtu}"])
    gate.ip([f"route replace default via fd18:2::1 dev wan mtu {mtu}"], "-6")


def narrow(t, family, encap):
    """A box tells in ICMP errors about wrapped packets that they are too long."""
    n = nat.natted([[RESTRICTED], [SYMMETRIC]])
    t.hosts += n.hosts
    narrows(n, 1300)
    t.load(n.a, n.b)
    for host in (n.a, n.b):
        # Otherwise nothing would ever be too long.
        t.module.set(host, encap=encap, mss_clamp="off")
    pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family])
    t.spread(n.a, n.b, pairs)

    def told():
        xfer.exchange(pairs, MIB, 0, seed=4, timeout=20)
        return [path for path in t.module.paths(n.a) if path.get("mtu") == 1300 and path["state"] == "active"]

    (path,) = t.soon(told, 10, "the path's MTU to be 1300 at A")
    t.check(path["local"] in (n.a.addr[1], n.a.addr6[1]), f"it is that of the second uplink: {path}")
    before = n.carried()
    xfer.exchange(pairs, 3 * MIB, 0, seed=90, timeout=30)
    parts = [now - then for now, then in zip(n.carried(), before)]
    t.note(f"bytes by uplink {parts}")
    t.at_least(min(parts), sum(parts) // 20, "bytes of the lesser uplink")


for FAMILY in (4, 6):
    for ENCAP in ("udp", "tcp"):

        @case(f"IPv{FAMILY}, encap={ENCAP}: a narrow place behind the NAT of the added path is found", timeout=90)
        def narrow_case(t, family=FAMILY, encap=ENCAP):
            narrow(t, family, encap)


def rejected(t, family):
    """ICMP errors refuse a lane's packets."""
    n = nat.natted([[RESTRICTED], [SYMMETRIC]])
    t.hosts += n.hosts
    t.load(n.a, n.b)
    for host in (n.a, n.b):
        t.module.set(host, encap="udp", port=4443)
    pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family])
    t.spread(n.a, n.b, pairs)
    xfer.exchange(pairs, MIB, MIB, timeout=20)
    rule = 'type filter hook forward priority 0\niifname "w2" udp dport 4443 reject with icmpx admin-prohibited'
    with n.inet.inside():
        nat.command("nft", "-f", "-", stdin=f"table inet box {{\nchain f {{\n{rule}\n}}\n}}\n")

    def refused():
        xfer.exchange(pairs, 100_000, 100_000, seed=6, timeout=20)
        paths = [path for path in t.module.show(n.a, "-d path") if path["local"] in (n.a.addr[1], n.a.addr6[1])]
        return [path for path in paths if path["state"] != "active"]

    (path,) = t.soon(refused, 15, "the path to be given up")
    t.note(path)
    t.equal(nat.told([path]), None, "what mpipctl says of it")
    xfer.exchange(pairs, MIB, MIB, seed=8, timeout=20)
    with n.inet.inside():
        nat.command("nft", "flush", "chain", "inet", "box", "f")

    def both():
        before = n.carried()
        xfer.exchange(pairs, MIB, MIB, seed=10, timeout=20)
        parts = [now - then for now, then in zip(n.carried(), before)]
        return min(parts) > sum(parts) // 20

    t.soon(both, 30, "both uplinks to be used once nobody rejects")


for FAMILY in (4, 6):

    @case(
        f"IPv{FAMILY}, encap=udp: a router behind the NAT rejects what is wrapped: the session goes on, and mpipctl says why",
        timeout=90,
    )
    def rejected_case(t, family=FAMILY):
        rejected(t, family)


def mss(t, family):
    """What the ends of four connections in a row agree upon."""
    n = nat.natted([[RESTRICTED], [SYMMETRIC]])
    t.hosts += n.hosts
    t.load(n.a, n.b)
    found = {}
    # Each connection knows what the one before has found.
    for turn, encap in (("first", "udp"), ("second", "udp"), ("third", "tcp"), ("fourth", "tcp")):
        for host in (n.a, n.b):
            t.module.set(host, encap=encap)
        capture = Capture(n.b, "b1", "tcp")
        pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family])
        t.spread(n.a, n.b, pairs)
        # What the SYN of A asks for, and what B is told to send at most.
        (syn,) = (p for p in capture.stop() if p.flags & 0x12 == 2 and p.dport == PORT[family])
        found[turn] = nat.mss_of(syn.options)
        segment = pairs[0][0].getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        t.note(f"{turn}: MSS {found[turn]} in the SYN, A sends {segment} bytes at most")
        if turn != "first":
            # 12 bytes are the time stamps.
            t.equal(segment, found[turn] - 12, "what A sends at most")
        xfer.exchange(pairs, 300_000, 300_000, timeout=20)
        xfer.close(pairs)
    whole = {4: 1460, 6: 1440}[family]
    want = {"first": whole, "second": whole - 8, "third": whole - 8, "fourth": whole - 20}
    t.equal(found, want, "MSS in SYNs")


for FAMILY in (4, 6):

    @case(f"IPv{FAMILY}: the MSS leaves room for what segments are wrapped in, once that is known", timeout=60)
    def mss_case(t, family=FAMILY):
        mss(t, family)


# --- bursts of datagrams ------------------------------------------------------------------


def bursts(t, family, encap):
    """An application hands over bursts (UDP_SEGMENT): each datagram arrives once, by both uplinks."""
    n = nat.natted([[RESTRICTED], [SYMMETRIC]])
    t.hosts += n.hosts
    t.load(n.a, n.b)
    for host in (n.a, n.b):
        t.module.set(host, encap=encap, scheduler="weighted")
    acquaint(n, family)
    sockets = nat.udp_pair(n.a, n.b, n.target(family))
    size, count = 1100, 10

    def burst(ends, stream, first):
        data = b"".join(udpcount.payload(stream, number, size) for number in range(first, first + count))
        option = (socket.IPPROTO_UDP, UDP_SEGMENT, size.to_bytes(2, "little"))
        ends.sendmsg([data], [option])
        time.sleep(0.01)

    def spread():
        for end in sockets:
            # As every protocol does that sends bursts later. Messages cannot ride on those.
            end.send(udpcount.payload(1, 0, 200))
            burst(end, 1, 0)
        # What comes before both are used is no part of the account.
        views = [t.module.sessions(host, protocol=17) for host in (n.a, n.b)]
        return all(view and len(active(view[0])) >= 2 for view in views)

    t.soon(spread, 20, "a session with 2 active lanes at both ends")
    while ready := select.select(sockets, [], [], 0.3)[0]:
        for sock in ready:
            sock.recv(65536)
    before = n.carried()
    for stream, (near, far) in ((7, sockets), (9, sockets[::-1])):
        receiver = udpcount.Receiver(far, stream)
        for first in range(0, 600, count):
            burst(near, stream, first)
        receiver.settle(600, 5)
        t.check(receiver.exact(600), f"exactly once: {receiver.result(600)}")
    parts = [now - then for now, then in zip(n.carried(), before)]
    t.note(f"bytes by uplink {parts}")
    t.at_least(min(parts), sum(parts) // 20, "bytes of the lesser uplink")


for FAMILY, ENCAP in ((4, "udp"), (6, "udp"), (4, "tcp"), (6, "tcp")):

    @case(f"IPv{FAMILY}, encap={ENCAP}: bursts of datagrams (UDP_SEGMENT) through NATs", timeout=60)
    def bursts_case(t, family=FAMILY, encap=ENCAP):
        bursts(t, family, encap)


def merged(t, family):
    """Receivers that merge datagrams, as forwarding ones do."""
    n = nat.natted([[RESTRICTED], [SYMMETRIC]])
    t.hosts += n.hosts
    t.load(n.a, n.b)
    for host in (n.a, n.b):
        t.module.set(host, encap="udp")
    pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family])
    t.spread(n.a, n.b, pairs)
    sockets = nat.udp_pair(n.a, n.b, n.target(family))
    for host in (n.a, n.b):
        for dev in host.dev:
            host.merge_slowly(dev)
    # A veth that could send bursts whole has nothing merged.
    for host, dev in ((n.inet, "v1"), *((gates[0], "lan") for gates in n.gates)):
        host.run("ethtool", "-K", dev, "tso", "off")
    for stream, feature in ((30, "rx-gro-list"), (40, "rx-udp-gro-forwarding")):
        for host in (n.a, n.b):
            for dev in host.dev:
                host.run("ethtool", "-K", dev, "gro", "on", feature, "on")
        before = n.carried()
        capture = Capture(n.b, "b1", "udp")
        took = xfer.exchange(pairs, 3 * MIB, 3 * MIB, seed=stream, timeout=40)
        longest = max(len(packet.payload) for packet in capture.stop())
        t.at_least(longest, 2000, f"{feature}: bytes of the longest datagram after the device has merged some")
        parts = [now - then for now, then in zip(n.carried(), before)]
        t.note(f"{feature}: 2 x 3 MiB in {took:.2f} s, bytes by uplink {parts}")
        t.at_least(min(parts), sum(parts) // 20, "bytes of the lesser uplink")
        receiver = udpcount.Receiver(sockets[1], stream)
        sent = udpcount.send(sockets[0], None, stream, 600, (20, 1300), 2000)
        receiver.settle(sent, 5)
        t.check(receiver.exact(sent), f"exactly once: {receiver.result(sent)}")
        for host in (n.a, n.b):
            for dev in host.dev:
                host.run("ethtool", "-K", dev, feature, "off")


for FAMILY in (4, 6):

    @case(f"IPv{FAMILY}: datagrams that the receiver merges (rx-gro-list, rx-udp-gro-forwarding): every byte", timeout=90)
    def merged_case(t, family=FAMILY):
        merged(t, family)
