# SPDX-License-Identifier: GPL-2.0
"""What ends a session, and what ends a lane only: resets by the hosts and by boxes, ICMP errors."""

import itertools
import socket
import struct
import time

from lib import Link, active, case, nat
from lib.nat import RESTRICTED, SYMMETRIC
from lib.net import command
from tools import xfer

# The end with the larger port opens the session: A over IPv4, B over IPv6.
PORT = {4: 7000, 6: 61000}
SOON = 3  # seconds until the other end has heard of a reset: it is repeated when more data comes


def abort(sock):
    """Close a socket with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_reset(sock):
    """Whether the other end's reset has arrived."""
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def hears(t, pair, which):
    """One end resets the connection and the other one hears of it."""
    abort(pair[which])
    start = time.monotonic()
    t.soon(lambda: is_reset(pair[1 - which]), SOON, f"{'BA'[which]} to hear of the reset by {'AB'[which]}")
    t.note(f"reset by {'AB'[which]} heard after {(time.monotonic() - start) * 1e3:.0f} ms")


def forgotten(t, hosts):
    """Nothing is left of closed sessions after a while."""
    for host in hosts:
        t.module.set(host, close_timeout="1s")
    t.wait(lambda: not any(t.module.sessions(host, protocol=6) for host in hosts), 20, "sessions to go")


def declare_reset(family, which, dead, known, long):
    """A reset of a session with two good paths, or of one with a path that is dead, be that known or not."""
    what = "a session over two paths"
    if dead is not None:
        what = f"a session whose {('own', 'added')[dead]} path is dead" + ("" if known else ", which nobody knows yet")

    @case(f"IPv{family}: {'AB'[which]} resets {what}", timeout=60, long=long)
    def one(t):
        a, b, wires = t.switched([Link(rate="50mbit", delay="3ms")] * 2)
        t.load(a, b)
        target = (b.addr if family == 4 else b.addr6)[0]
        pairs = xfer.connect(a, b, target, PORT[family])
        t.spread(a, b, pairs)
        xfer.exchange(pairs, 300_000, 300_000)
        if dead is not None:
            wires[dead].silence()
        if known:
            # Both ends notice while data flows.
            xfer.exchange(pairs, 300_000, 300_000, 5, timeout=20)
        hears(t, pairs[0], which)
        forgotten(t, (a, b))


# Every other one is long.
for cell in itertools.product((4, 6), (0, 1), enumerate(((None, False), (0, True), (0, False), (1, False)))):
    declare_reset(*cell[:2], *cell[2][1], long=(cell[0] // 2 + cell[1] + cell[2][0]) % 2 == 1)


@case("A resets a session, and each CLOSE is lost: B, which sends nothing, hears of it all the same", timeout=60)
def close_lost(t):
    a, b, wires = t.switched([Link(rate="50mbit", delay="3ms")] * 2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], PORT[4])
    t.spread(a, b, pairs)
    xfer.exchange(pairs, 300_000, 300_000)
    before = t.module.stats(b)["reset_doubted"]
    # On the own path nothing but the RST comes.
    chain = "type filter hook ingress device b1 priority 0\ntcp flags & rst == 0 drop"
    with b.inside():
        command("nft", "-f", "-", stdin=f"table netdev box {{\nchain f {{\n{chain}\n}}\n}}\n")
    wires[1].silence()
    abort(pairs[0][0])
    t.wait(lambda: t.module.stats(b)["reset_doubted"] > before, 5, "B to doubt the RST")
    t.equal(is_reset(pairs[0][1]), False, "B takes the RST for granted")
    with b.inside():
        command("nft", "delete", "table", "netdev", "box")
    wires[1].heal()
    t.soon(lambda: is_reset(pairs[0][1]), SOON, "B to hear of the reset")
    forgotten(t, (a, b))


def declare_nat(family, which):
    """Resets through NATs that drop what they find out of the window."""

    @case(f"IPv{family}: {'AB'[which]} resets a session behind NATs", timeout=60)
    def one(t):
        n = nat.natted([[RESTRICTED], [SYMMETRIC]])
        t.hosts += n.hosts
        t.load(n.a, n.b)
        pairs = xfer.connect(n.a, n.b, n.target(family), PORT[family])
        t.spread(n.a, n.b, pairs)
        xfer.exchange(pairs, 1 << 20, 1 << 20, timeout=20)
        hears(t, pairs[0], which)


for cell in itertools.product((4, 6), (0, 1)):
    declare_nat(*cell)


def refuse(router, dev, how):
    """The router rejects what comes in by a device."""
    chain = f'type filter hook forward priority 0\niifname "{dev}" reject with {how}'
    with router.inside():
        command("nft", "-f", "-", stdin=f"table inet box {{\nchain f {{\n{chain}\n}}\n}}\n")


def declare_icmp(family, how, ends):
    """A router answers the added path's packets with an ICMP error."""

    @case(f"IPv{family}: a router rejects the added path with {how}", timeout=60)
    def one(t):
        a, b, router, of_a, _ = t.uplinks(2, 1)
        t.load(a, b)
        target = (b.addr if family == 4 else b.addr6)[0]
        pairs = xfer.connect(a, b, target, PORT[family])
        t.spread(a, b, pairs)

        def added():
            (session,) = t.module.sessions(a, protocol=6)
            # The other path may have two by now: what was lost looks like a box that follows windows.
            return [lane for lane in active(session) if lane["local"]["addr"] in (a.addr[1], a.addr6[1])]

        t.check(added(), "a lane on the path that is to be refused")
        before = t.module.stats(a)
        refuse(router, "ra2", how)
        xfer.exchange(pairs, 2 << 20, 2 << 20, 7, timeout=30)
        counter = "lane_refused_icmp" if ends else "path_doubted"
        t.wait(lambda: t.module.stats(a).get(counter, 0) > before.get(counter, 0), 5, f"counter {counter}")
        if ends:
            t.soon(lambda: not added(), 10, "the added lane to be given up")
        xfer.exchange(pairs, 300_000, 300_000, 9, timeout=20)
        router.run("nft", "delete", "table", "inet", "box")
        t.spread(a, b, pairs)
        xfer.close(pairs)


declare_icmp(4, "icmpx admin-prohibited", True)
declare_icmp(6, "icmpx admin-prohibited", True)
declare_icmp(4, "icmpx no-route", False)
declare_icmp(6, "icmpx no-route", False)
