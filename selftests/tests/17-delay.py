# SPDX-License-Identifier: GPL-2.0
"""What is measured on a path, and what Algorithm 1 makes of it, against what netem does."""

import contextlib
import socket
import time

from lib import Link, case
from tools import burst, udpcount, xfer

SO_MARK = 36
FILL = 1400  # bytes of a datagram that fills a queue; 1442 on the cable


def figures(t, host):
    """The IPv4 paths of a host by number of the link."""
    found = {path["local"]: path for path in t.module.paths(host)}
    return [found[address] for address in host.addr]


@case("one-way delays: each end tells those of its own direction, whatever the other one is")
def one_way(t):
    there, back = (10, 30), (40, 15)  # ms of the two links
    links = [Link(delay=f"{x}ms", back=Link(delay=f"{y}ms")) for x, y in zip(there, back)]
    a, b = t.two_hosts(links)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    for n in range(10):
        xfer.exchange(pairs, 50_000, 50_000, seed=10 * n)
    for host, delays in ((a, there), (b, back)):
        one, two = figures(t, host)
        want = (delays[0] - delays[1]) * 1000
        # The offset of the clocks is the same on both paths.
        for name, tolerance in (("min_delay_us", 3000), ("delay_us", 8000)):
            got = one[name] - two[name]
            t.note(f"{host}: {name} of the paths differ by {got} of {want}")
            t.within(abs(got - want), tolerance, f"error of the difference of {name} at {host}")
    for near, far in ((a, b), (b, a)):
        for path, other in zip(figures(t, near), figures(t, far)):
            error = abs(path["delay_us"] - other["rx_delay_us"])
            t.within(error, 8000, f"{near} and {far} about the same direction")
    for path, *ways in zip(figures(t, a), there, back):
        trip = sum(ways) * 1000
        t.reaches(path["srtt_us"], trip, "round trip")
        t.within(path["srtt_us"], trip + 15_000, "round trip")


@contextlib.contextmanager
def filled(a, b, link, rate, first):
    """Others' datagrams fill the queue from A to B: so many at once, then so many a second."""
    sink = burst.sink(b, b.addr[link], 9)
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, sink:
        # Marked: none of MPIP's business.
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, 7)
        sock.bind((a.addr[link], 9))
        sock.connect((b.addr[link], 9))
        udpcount.send(sock, None, 1, first, FILL, 1e6)
        sender = udpcount.Sender(sock, None, 1, None, FILL, rate)
        try:
            yield
        finally:
            sender.finish()


def trickle(t, a, b, rate=200):
    """A UDP session that sends a little both ways and uses both paths."""
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    senders = [udpcount.Sender(sock, None, n, None, 100, rate) for n, sock in enumerate(sockets)]
    for sender in senders:
        t.defer(sender.finish)

    t.soon(lambda: t.module.is_spread((a, b), port=5001, protocol=17), 20, "a UDP session on two paths")
    for host in (a, b):
        t.soon(lambda h=host: all(p["srtt_us"] for p in figures(t, h)), 10, "both paths to be measured")


@case("a filled queue shows on its own path, in its own direction, as long as it is there")
def queue(t):
    # 100 packets of 1442 bytes at 10 Mbit/s: 115 ms.
    a, b = t.two_hosts([Link(rate="10mbit", delay="2ms", limit=100)] * 2)
    t.load(a, b)
    trickle(t, a, b)
    seen = []

    def full():
        seen.append(figures(t, a)[1]["queue_us"])
        return 95_000 <= seen[-1] <= 135_000

    with filled(a, b, 1, 1000, 100):
        t.soon(full, 15, "the queue of 115 ms to be measured")
        others = [figures(t, a)[0]["queue_us"], *(path["queue_us"] for path in figures(t, b))]
    t.note(f"us of the filled queue {seen}, of the others {others}")
    t.within(max(others), 25_000, "us of the other queues")
    t.soon(lambda: figures(t, a)[1]["queue_us"] < 15_000, 15, "the queue to be gone")
    t.reaches(figures(t, a)[1]["max_queue_us"], 95_000, "the longest queue, us")


class Weight:
    """The weights of a session's lanes, original first, and when they were so."""

    def __init__(self, t, host):
        before = time.monotonic()
        (session,) = t.module.sessions(host, 5001, 17)
        lanes = sorted(session["lane"], key=lambda lane: not lane["original"])
        self.own, self.added = (lane["weight"] for lane in lanes)
        self.span = before, time.monotonic()


@case("weight_step and weight_interval: the weight of the path with a queue falls by S each T")
def weights(t):
    a, b = t.two_hosts([Link(rate="10mbit", delay="2ms", limit=1000)] * 2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, scheduler="weighted", weight_step=1, weight_interval="10s")
    trickle(t, a, b)
    # A little more than the link takes, so that the queue grows slowly and nothing is lost.
    with filled(a, b, 1, 880, 50):
        t.soon(lambda: figures(t, a)[1]["queue_us"] > 30_000, 15, "a queue on the added path")
        for step, interval in ((20, 0.5), (9, 0.1)):
            t.module.set(a, weight_step=step, weight_interval=f"{interval * 1000:.0f}ms")
            first = Weight(t, a)
            time.sleep(2.5)
            last = Weight(t, a)
            fallen = first.added - last.added
            longest, shortest = last.span[1] - first.span[0], last.span[0] - first.span[1]
            t.note(f"S {step}, T {interval} s: {fallen} in {shortest:.2f} to {longest:.2f} s, own {last.own}")
            t.equal(fallen % step, 0, f"remainder of {fallen} by S")
            t.at_most(fallen // step, longest / interval + 1, "steps in that time")
            t.reaches(fallen // step, 0.75 * shortest / interval - 1, "steps in that time")
            t.check(last.own in (first.own + fallen, 1000), f"weights {vars(first)}, then {vars(last)}")
