# SPDX-License-Identifier: GPL-2.0
"""Links of different MTU: both are used, nothing disappears, MSS is clamped for MPIP hosts only."""

import errno
import socket
import struct
import time

from lib import Link, case
from lib.mpip import active
from lib.packet import SYN, Capture
from tools import udpcount, xfer

TCP_MAXSEG = 2


def narrow(t, family, original, offload):
    """One link of 1500, one of 1280; the session's own link is number `original`."""
    links = [Link(offload=offload), Link(mtu=1280, offload=offload)]
    a, b = t.two_hosts(links)
    y = (b.addr if family == 4 else b.addr6)[original]
    t.load(a, b)
    # The first connection makes them peers, the second knows from the start.
    for _ in range(2):
        pairs = xfer.connect(a, b, y, 7000)
        t.spread(a, b, pairs)
        before = a.counters()
        took = xfer.exchange(pairs, 4 << 20, 4 << 20, timeout=40)
        shares = t.shares(a, before)
        t.note(f"{took:.2f} s, shares {shares}")
        t.reaches(min(shares), 0.05, "share of the lesser path")
        xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
        header = 40 if family == 4 else 60
        size = pairs[0][0].getsockopt(socket.IPPROTO_TCP, TCP_MAXSEG)
        xfer.close(pairs)
    t.at_most(size, 1280 - header, "segment size of the second connection")


for cell in ((4, 0, True), (4, 1, True), (4, 0, False), (6, 0, True), (6, 1, False)):

    @case(
        f"1500 and 1280, IPv{cell[0]}, own link {(1500, 1280)[cell[1]]}, "
        f"offloads {'on' if cell[2] else 'off'}",
        timeout=90,
    )
    def narrow_cell(t, cell=cell):
        narrow(t, *cell)


def mss(packet):
    """The MSS option of a SYN."""
    return struct.unpack("!H", packet.options[2])[0]


@case("the MSS in SYNs is clamped between MPIP hosts, and not towards strangers")
def clamp(t):
    a, b = t.two_hosts([Link(), Link(mtu=1280)])
    seen = {}
    for who in ("plain", "stranger", "friend", "unclamped"):
        if who == "stranger":
            t.load(a)
        if who == "friend":
            t.unload()
            t.load(a, b)
            pairs = xfer.connect(a, b, b.addr[0])
            t.spread(a, b, pairs)
        if who == "unclamped":
            for host in (a, b):
                t.module.set(host, mss_clamp="off")
        capture = Capture(b, "b1", "tcp")
        xfer.transfer(a, b, b.addr[0], 10000, 10000)
        seen[who] = [mss(p) for p in capture.stop() if p.flags & SYN]
        t.note(f"{who}: {seen[who]}")
    t.equal(set(seen["plain"]), {1460}, "without the module")
    t.equal(set(seen["stranger"]), {1460}, "towards a stranger")
    t.equal(set(seen["unclamped"]), {1460}, "with mss_clamp=off")
    # A SYN may ask somebody unknown: the end that it reaches clamps it. The answer shows it.
    t.at_most(min(seen["friend"]), 1240, "between MPIP hosts")
    t.at_least(min(seen["friend"]), 1100, "not below need")


def narrows(r, uplink, mtu=1300):
    """The router carries no larger packets to an uplink of B any more; only its ICMP tells.

    The device keeps its MTU: a veth end drops what is larger without a word.
    """
    dev = f"dev rb{uplink} mtu lock {mtu}"
    r.ip([f"route replace 10.2.{uplink}.0/24 proto kernel scope link src 10.2.{uplink}.1 {dev}"])
    r.ip([f"route replace fd02:{uplink}::/64 proto kernel metric 256 {dev}"], "-6")


def hidden(t, family):
    """The narrow place is behind a router: it shows only as ICMP."""
    a, b, r = t.routed()
    narrows(r, 2)
    t.load(a, b)
    pairs = xfer.connect(a, b, (b.addr if family == 4 else b.addr6)[0])
    t.spread(a, b, pairs, lanes=4)
    for n in range(3):
        # One way: back from B the narrow interface drops in silence what is too large for it.
        took = xfer.exchange(pairs, 3 << 20, 0, seed=10 * n, timeout=40)
        t.note(f"{took:.2f} s")
    before = r.counters()
    xfer.exchange(pairs, 3 << 20, 0, seed=90, timeout=40)
    after = r.counters()
    down = [after[d][2] - before[d][2] for d in ("rb1", "rb2")]
    t.note(
        f"bytes towards B by uplink {down}, "
        f"MTUs {[(p['local'], p['remote'], p.get('mtu')) for p in t.module.paths(a)]}"
    )
    t.at_least(sum(down), 3 << 20, "bytes")
    told = sum(p.get("mtu") == 1300 for p in t.module.paths(a))
    t.at_least(told, 1, "paths whose MTU was lowered")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()


@case("a narrow place behind a router, IPv4: found, no black hole", timeout=90)
def hidden4(t):
    hidden(t, 4)


@case("a narrow place behind a router, IPv6: found, no black hole", timeout=90)
def hidden6(t):
    hidden(t, 6)


@case("the session's own path narrows behind a router", timeout=90)
def own(t):
    a, b, r = t.routed()
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs, lanes=4)
    xfer.exchange(pairs, 1 << 20, 1 << 20)
    narrows(r, 1)
    xfer.exchange(pairs, 4 << 20, 4 << 20, seed=9, timeout=40)
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
    t.check(True, "exact")


@case("UDP with DF: datagrams that fit one path only arrive all the same")
def udp_df(t):
    a, b = t.two_hosts([Link(), Link(mtu=1280)])
    t.load(a, b)
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    sa.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    first = 0
    for size in (200, 1200, 1252, 1253, 1300, 1472, 200):
        udpcount.send(sa, None, 1, 200, size, 800, first)
        udpcount.send(sb, None, 2, 200, 200, 1e6, first)
        first += 200
    for receiver in (at_b, at_a):
        receiver.settle(first, 5)
        t.check(receiver.exact(first), f"{receiver.result(first)}")
    t.reaches(a.counters()["a2"][2], 50_000, "bytes on the narrow link")


def is_too_long(sock, size):
    """Whether whoever sends a datagram of this size is told that it is too long."""
    try:
        sock.send(bytes(size))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return True
    return False


@case("UDP: a datagram too long for all that is left is refused, and the next shorter one arrives")
def too_long(t):
    a, b = t.two_hosts([Link(), Link(mtu=1280)])
    b.sysctl("net/ipv6/conf/b1/keep_addr_on_down", 1)
    t.load(a, b)
    for port, address_a, address_b in ((5004, a.addr[0], b.addr[0]), (5006, a.addr6[0], b.addr6[0])):
        sa, sb = udpcount.pair(a, b, address_a, address_b, port_b=port)
        at_b = udpcount.Receiver(sb, 1)
        t.soon(
            lambda sa=sa, sb=sb, port=port: sa.send(b"x")
            and sb.send(b"y")
            and t.module.is_spread((a, b), port=port),
            20,
            "a session with two lanes",
        )
        t.check(not is_too_long(sa, 1400), "as long as the session's own link is there")
        b.ip(["link set b1 down"])
        t.soon(lambda sa=sa: is_too_long(sa, 1400), 3, "without it the sender is told")
        t.at_least(t.module.stats(a)["tx_too_long"], 1, "counted")
        udpcount.send(sa, None, 1, 300, 1100, 3000)
        t.soon(lambda at_b=at_b: at_b.count == 300, 5, "all shorter ones")
        b.ip(["link set b1 up"])
        t.soon(lambda sa=sa: not is_too_long(sa, 1400), 5, "when it is there again it carries long ones")
        udpcount.send(sa, None, 1, 200, 1400, 3000, 300)
        at_b.settle(500, 5)
        t.check(at_b.count == 500 and not at_b.duplicate, f"all, and the long ones: {at_b.result(500)}")


def swallows(t, way, protocol):
    """A box in the middle of one link carries nothing larger than 1300 bytes and tells nobody."""
    a, b, _ = t.switched([Link(rate="20mbit", delay="2ms")] * 2)
    switch = t.hosts[-1]
    t.load(a, b)
    if protocol == 6:
        pairs = xfer.connect(a, b, b.addr[0])
        t.spread(a, b, pairs)
    else:
        sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
        at_b = udpcount.Receiver(sb, 1)
        t.soon(
            lambda: (sa.send(b"x"), sb.send(b"y"))
            and all(len(active(s)) > 1 for s in t.module.show(a, "session") + t.module.show(b, "session")),
            20,
            "a session with two lanes",
        )
    switch.run(
        "nft",
        "add table bridge t; add chain bridge t c { type filter hook forward priority 0; }; "
        f"add rule bridge t c oifname sb{way} ip length > 1300 counter drop",
    )
    found = lambda: t.module.stats(a).get("path_black_hole", 0)  # noqa: E731
    if protocol == 6:
        took = xfer.exchange(pairs, 4 << 20, 0, timeout=40)
        t.note(f"{took:.2f} s")
        t.at_least(found(), 1, "black holes found")
        before = a.counters()
        took = xfer.exchange(pairs, 4 << 20, 0, seed=5, timeout=40)
        shares = t.shares(a, before)
        t.note(f"{took:.2f} s, shares {shares}")
        t.reaches(min(shares), 0.2, "share of the lesser path")
    else:
        sent = 0
        while not found() and sent < 20000:
            sent += udpcount.send(sa, None, 1, 100, 1400, 1000, sent)
        t.at_least(found(), 1, "black holes found")
        # What was on its way has come.
        t.wait(lambda: time.monotonic() - at_b.last > 0.3, 5, "silence")
        before = at_b.count
        udpcount.send(sa, None, 1, 1000, 1400, 1000, sent)
        t.wait(lambda: at_b.count >= before + 1000, 5, "all datagrams from then on")
        at_b.settle(0, 0)
    t.note(f"MTUs {[(p['local'], p['remote'], p.get('mtu')) for p in t.module.paths(a)]}")


for cell in ((2, 6), (1, 6), (2, 17), (1, 17)):

    @case(
        f"{'TCP' if cell[1] == 6 else 'UDP'}: the {('own', 'added')[cell[0] - 1]} path swallows "
        "large packets, nobody tells",
        timeout=120,
    )
    def swallows_case(t, cell=cell):
        swallows(t, *cell)
