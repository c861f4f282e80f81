# SPDX-License-Identifier: GPL-2.0
"""Links of different MTU: both are used, nothing disappears, MSS is clamped for MPIP hosts only."""

import socket
import struct

from lib import Link, case
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
