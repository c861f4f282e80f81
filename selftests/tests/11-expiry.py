# SPDX-License-Identifier: GPL-2.0
"""Tables do not grow for ever: finished and idle sessions are forgotten, and may come back."""

import contextlib

from lib import case
from tools import udpcount, xfer


def gone(t, host, ports):
    """Whether no session of these ports is left."""
    return not any({s["local"]["port"], s["remote"]["port"]} & ports for s in t.module.sessions(host))


@case("a closed TCP session expires after close_timeout, by FIN and by RST")
def closed(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, close_timeout=1)
    pairs = xfer.connect(a, b, b.addr[0], 7000, count=6)
    t.spread(a, b, pairs)
    ports = {p[0].getsockname()[1] for p in pairs}
    stay = xfer.connect(a, b, b.addr[0], 7001)
    t.spread(a, b, stay)
    xfer.Traffic(pairs[:3], 1000, 1000, seed=4).wait()
    for near, far in pairs[3:]:
        # SO_LINGER with no time: close sends RST.
        near.setsockopt(1, 13, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        near.close()
        far.setblocking(True)
        far.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            t.equal(far.recv(10), "an error", "what follows a reset")
    xfer.close(pairs[:3])
    for host in (a, b):
        t.wait(lambda h=host: gone(t, h, ports), 20, f"closed sessions to be forgotten at {host}")
        t.check(not gone(t, host, {7001}), "the open one is still there")
    xfer.Traffic(stay, 1000, 1000, seed=4).wait()


def asked(t, host, port):
    """The row of the availability table for a TCP port of another host's."""
    return [row for row in t.module.show(host, "avail") if (row["protocol"], row["port"]) == ("tcp", port)]


@case("an idle connection whose own address has gone is kept as long as its sockets are", timeout=60)
def moved(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, session_timeout_tcp="10s", close_timeout="1s")
    stay = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, stay)
    other = xfer.connect(a, b, b.addr[1], 7001)
    t.spread(a, b, other)
    a.ip([f"address del {a.addr[0]}/24 dev a1"])
    for host in (a, b):
        t.wait(lambda h=host: gone(t, h, {7001}), 40, f"a session with its own path to be forgotten at {host}")
        t.check(not gone(t, host, {7000}), f"the one without is still there at {host}")
    xfer.exchange(stay, 100_000, 100_000, timeout=10)
    xfer.close(stay)
    for host in (a, b):
        t.wait(lambda h=host: gone(t, h, {7000}), 20, f"it to be forgotten at {host} when it is closed")


@case("an idle UDP session and an unused row of the availability table expire, a TCP session not", timeout=90)
def idle_udp(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, session_timeout_udp="10s")
    t.module.set(a, avail_timeout="10s", close_timeout="1s")
    xfer.transfer(a, b, b.addr[0], 3000, 3000, port=7001)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    t.check(asked(t, a, 7001), "a row for the destination of the finished connection")
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    receivers = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)

    def seen():
        udpcount.send(sa, None, 1, 5, 100, 1000)
        udpcount.send(sb, None, 2, 5, 100, 1000)
        return t.module.sessions(a, 5001, 17) and t.module.sessions(b, 5001, 17)

    t.soon(seen, 20, "a UDP session")
    for host in (a, b):
        t.wait(lambda h=host: gone(t, h, {5001}), 30, f"the UDP session to be forgotten at {host}")
        t.check(not gone(t, host, {7000}), "the TCP session is still there")
    # Both tables are looked through a piece at a time.
    t.wait(lambda: not asked(t, a, 7001), 20, "the unused row to be forgotten")
    t.soon(seen, 20, "the UDP session to come back with traffic")
    for receiver in receivers:
        receiver.stopping.set()
    xfer.Traffic(pairs, 1000, 1000, seed=4).wait()


@case("an idle TCP session expires after session_timeout_tcp and is found again", timeout=90)
def idle_tcp(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, session_timeout_tcp="10s")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    t.wait(lambda: gone(t, a, {7000}) and gone(t, b, {7000}), 40, "the idle session to be forgotten")
    xfer.exchange(pairs, 50000, 50000, seed=8)
    t.spread(a, b, pairs)
    before = a.counters()
    xfer.exchange(pairs, 1 << 20, 1 << 20, seed=18)
    t.reaches(min(t.shares(a, before)), 0.05, "share of the lesser path")
    xfer.Traffic(pairs, 1000, 1000, seed=4).wait()


@case("one end has forgotten the session, the other not: every byte", timeout=90)
def one_end(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    t.module.set(b, session_timeout_tcp="10s")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    t.wait(lambda: gone(t, b, {7000}), 40, "B to forget the idle session")
    for n in range(5):
        xfer.exchange(pairs, 300000, 300000, seed=10 * n, timeout=30)
    xfer.Traffic(pairs, 1000, 1000, seed=4).wait()
