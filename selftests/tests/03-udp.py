# SPDX-License-Identifier: GPL-2.0
"""A UDP flow over all paths: every datagram exactly once, byte for byte."""

import socket
import time

from lib import TX_BYTES, active, case, sums
from lib.net import set_offload
from tools import udpcount, xfer

UDP_SEGMENT = 103


def talk(t, a, b, sockets, count, size, rate, stream=1, back=True):
    """Datagrams both ways, accounted for at both ends."""
    sa, sb = sockets
    at_b, at_a = udpcount.Receiver(sb, stream), udpcount.Receiver(sa, stream + 1)
    senders = [udpcount.Sender(sa, None, stream, count, size, rate)]
    if back:
        senders.append(udpcount.Sender(sb, None, stream + 1, count, size, rate))
    sent = [s.wait() for s in senders] + [0]
    for receiver, n, who in ((at_b, sent[0], "B"), (at_a, sent[1], "A")):
        receiver.settle(n, 10, quiet=0.15)
        t.check(receiver.exact(n), f"exactly once at {who}: {receiver.result(n)}")
        t.at_most(len(receiver.senders), 1, f"sources seen at {who}")
    t.note(f"there {at_b.result(sent[0])}")


def until_spread(t, a, b, sockets, port, lanes=2):
    """Exchange datagrams until the session uses so many lanes at both ends."""
    stream = 100

    def ready():
        nonlocal stream
        stream += 2
        talk(t, a, b, sockets, 20, 200, 400, stream)
        views = [t.by_port(h, end, 17).get(port, {}) for h, end in ((a, "local"), (b, "remote"))]
        return all(len(active(view)) >= lanes for view in views)

    t.soon(ready, 30, f"UDP session with {lanes} active lanes at both ends")


def all_paths(t, family):
    a, b = t.two_hosts(2)
    mine, theirs = (a.addr, b.addr) if family == 4 else (a.addr6, b.addr6)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, scheduler="weighted")
    sockets = udpcount.pair(a, b, mine[0], theirs[0])
    until_spread(t, a, b, sockets, 5001)
    before = a.counters(), b.counters()
    talk(t, a, b, sockets, 5000, (20, 1400), 1500)
    for host, start in zip((a, b), before):
        shares = t.shares(host, start, TX_BYTES)
        t.note(f"shares of {host}: {shares}")
        t.reaches(min(shares), 0.2, "share of the lesser path")


@case("IPv4: both paths carry at least a fifth, both ways, exactly once", long=False)
def ipv4(t):
    all_paths(t, 4)


@case("IPv6: both paths carry at least a fifth, both ways, exactly once", long=False)
def ipv6(t):
    all_paths(t, 6)


@case("one way only, to a peer known from a TCP session: both paths, exactly once")
def one_way(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    before = a.counters()
    talk(t, a, b, sockets, 5000, 1000, 2000, back=False)
    shares = t.shares(a, before, TX_BYTES)
    t.note(f"shares {shares}")
    t.reaches(min(shares), 0.1, "share of the lesser path")


@case("sizes from empty to fragmented, at and around the MTU")
def sizes(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    until_spread(t, a, b, sockets, 5001)
    stream = 500
    for size in (10, 11, 1471, 1472, 1473, 1440, 1436, 1432, 3000, 9000, 20000):
        stream += 2
        talk(t, a, b, sockets, 40, size, 1000, stream)
    # An empty datagram is one, too.
    sockets[1].setblocking(False)
    for _ in range(5):
        sockets[0].send(b"")
    got = []

    def five():
        try:
            got.append(sockets[1].recv(100))
        except BlockingIOError:
            return False
        return len(got) == 5

    t.wait(five, 5, "five empty datagrams")
    t.equal(got, [b""] * 5, "empty datagrams")


@case("segmentation offload of UDP, offloads on and off: exactly once", timeout=90)
def gso(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    until_spread(t, a, b, sockets, 5001)
    for offload in (True, False):
        for host in (a, b):
            for dev in host.dev:
                set_offload(host, dev, offload)
        for size in (400, 1200, 1400, 1472):
            receiver = udpcount.Receiver(sockets[1], size)
            number = 0
            for _ in range(40):
                train = b"".join(udpcount.payload(size, number + n, size) for n in range(20))
                sockets[0].sendmsg([train], [(socket.IPPROTO_UDP, UDP_SEGMENT, size.to_bytes(2, "little"))])
                number += 20
            receiver.settle(number, 10)
            t.check(receiver.exact(number), f"size {size}, offload {offload}: {receiver.result(number)}")


@case("one socket, many peers' ports: every flow is a session of its own")
def many_flows(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    flows = [udpcount.pair(a, b, a.addr[0], b.addr[0], 6000 + n, 7000 + n) for n in range(20)]
    receivers = [udpcount.Receiver(sb, n) for n, (_, sb) in enumerate(flows)]
    backs = [udpcount.Receiver(sa, 100 + n) for n, (sa, _) in enumerate(flows)]
    for number in range(0, 200, 10):
        for n, (sa, sb) in enumerate(flows):
            udpcount.send(sa, None, n, 10, 300, 1e6, number)
            udpcount.send(sb, None, 100 + n, 10, 300, 1e6, number)
    time.sleep(0.3)
    for receiver in receivers + backs:
        receiver.settle(200, 10, quiet=0)
        t.check(receiver.exact(200), f"{receiver.result(200)}")
    t.at_least(len(t.module.sessions(a, protocol=17)), 20, "UDP sessions")


@case("sums of whole packets from the device (CHECKSUM_COMPLETE): exactly once, sums right")
def complete_sums(t):
    a, b = t.two_hosts(2)
    tunnels = sums.tunnels(a, b)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, scheduler="weighted")
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    until_spread(t, a, b, sockets, 5001)
    with sums.ip_summed() as counts:
        talk(t, a, b, sockets, 1000, (20, 1300), 1000)
        sums.check(t, (a, b), tunnels, counts(), 200)
