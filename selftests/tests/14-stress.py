# SPDX-License-Identifier: GPL-2.0
"""Loading, unloading and tearing down under full traffic: no warning, no reference kept."""

import contextlib
import time

from lib import Link, active, case
from lib.net import two_hosts
from tools import udpcount, xfer

TEN = 4 << 20  # bytes each way in ten cycles, a third of the least seen; a single cycle may see a timeout
CUT = 50  # datagrams under way on added paths when one end forgets them: less than one in two cycles


def background(t, a, b):
    """iperf3 in both directions, as applications that know nothing."""
    servers = [b.spawn("iperf3", "-s", "-p", port) for port in (5201, 5202)]
    t.wait(lambda: {"1451", "1452"} <= set(listening(b)), 10, "iperf3 to listen")
    clients = [
        a.spawn("iperf3", "-c", b.addr[0], "-p", 5201, "-t", 900),
        a.spawn("iperf3", "-c", b.addr6[1], "-p", 5202, "-t", 900, "-R"),
    ]
    return servers + clients


def listening(host):
    """Listening TCP ports of a host, in hexadecimal."""
    found = []
    with host.inside():
        for name in ("tcp", "tcp6"):
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
            found += [row[1].split(":")[1] for row in rows if row[3] == "0A"]
    return found


def dress(host):
    """A rate for TCP alone, so that no queue loses a datagram.

    Fast enough to keep queues and CPUs busy, slow enough to leave the commands a share of them.
    """
    for dev in host.dev:
        host.tc(
            [
                f"qdisc replace dev {dev} root handle 1: prio bands 2 priomap {' '.join('1' * 16)}",
                f"qdisc add dev {dev} parent 1:2 handle 2: netem rate 20mbit limit 200",
                f"filter add dev {dev} parent 1: protocol ip u32 match ip protocol 17 0xff flowid 1:1",
            ]
        )


def reloaded(t, times):
    """Loads and unloads the module in the middle of everything."""
    a, b = t.two_hosts(2)
    for host in (a, b):
        dress(host)
    others = background(t, a, b)
    pairs = xfer.connect(a, b, b.addr[0], count=1) + xfer.connect(a, b, b.addr6[0], count=1)
    traffic = xfer.Traffic(pairs)
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    senders = [udpcount.Sender(sa, None, 1, None, 700, 300), udpcount.Sender(sb, None, 2, None, 700, 300)]
    joined, marks = 0, [traffic.moved()]
    for n in range(times):
        t.load(a, b)
        if n % 10 == 0:
            # Every tenth time long enough for sessions to be on two paths, the others in the middle of it.
            t.soon(
                lambda host=a: any(len(active(s)) >= 2 for s in t.module.sessions(host)),
                20,
                f"a session on two paths in cycle {n}",
            )
            joined += 1
        elif n % 5 == 1:
            t.module.disable(a)
        elif n % 5 == 2:
            t.module.disable(b)
        if n % 10 == 9:
            t.note(f"cycle {n + 1} after {time.monotonic() - traffic.start:.0f} s")
        t.unload()
        marks.append(traffic.moved())
    least = [min(after - before for before, after in zip(way, way[10:])) for way in zip(*marks)]
    t.note(f"at least {least} bytes there and back in ten cycles")
    t.reaches(min(least), TEN, "bytes in ten cycles")
    t.equal(joined, times // 10, "cycles with sessions on two paths")
    # All of them first: a client ends with its server.
    t.equal([process.poll() for process in others], [None] * 4, "iperf3 still runs")
    for process in others:
        process.kill()
        process.wait()
    took = traffic.finish()
    t.note(f"{traffic.moved()} bytes exact in {took:.0f} s; longest silence {traffic.silence():.2f} s")
    sent = [s.finish() for s in senders]
    for receiver, n in ((at_b, sent[0]), (at_a, sent[1])):
        result = receiver.settle(n, 3).result(n)
        t.note(result)
        t.equal((result["duplicate"], result["corrupt"]), (0, 0), f"duplicate and corrupt: {result}")
        t.at_most(result["missing"], CUT, f"missing, of {n}")


for TIMES in (10, 100):

    @case(f"{TIMES} times loaded and unloaded under TCP and UDP traffic; every byte", timeout=600, long=TIMES > 10)
    def reloaded_case(t, times=TIMES):
        reloaded(t, times)


@case("namespaces deleted under traffic with the module on", timeout=180)
def namespaces(t):
    t.load()
    for n in range(6):
        a, b = two_hosts(2)
        t.module.enable(a)
        t.module.enable(b)
        processes = background(t, a, b)
        t.soon(
            lambda host=a: any(len(active(s)) >= 2 for s in t.module.sessions(host)),
            30,
            f"sessions on two paths, round {n}",
        )
        first, second = (a, b) if n % 2 else (b, a)
        # `delete` ends the processes inside: sockets and namespace go in one moment, packets still flying.
        first.delete()
        time.sleep(0.1 * (n % 3))
        second.delete()
        for process in processes:
            with contextlib.suppress(Exception):
                process.kill()
            process.wait()
    t.unload()
    t.check(not t.module.loaded(), "unloaded")


@case("interfaces go down, come back and are deleted under traffic", timeout=120)
def interfaces(t):
    a, b = t.two_hosts(3)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], count=3)
    t.spread(a, b, pairs, lanes=3)
    traffic = xfer.Traffic(pairs)
    for _ in range(5):
        a.ip(["link set a2 down"])
        t.flows(traffic, 1 << 20, 30, "bytes with one link down")
        a.ip(["link set a2 up"])
    b.ip(["link del b3"])
    t.flows(traffic, 1 << 20, 30, "bytes with a link gone for good")
    a.ip([f"addr del {a.addr[1]}/24 dev a2"])
    t.flows(traffic, 1 << 20, 30, "bytes with an address gone")
    took = traffic.finish()
    t.note(f"{traffic.moved()} bytes in {took:.1f} s; longest silence {traffic.silence():.2f} s")


@case("parameters and tables changed and read under traffic", timeout=120)
def control(t):
    # Full links, and some of the CPU left for those who ask.
    a, b = t.two_hosts([Link(rate="60mbit", limit=300)] * 2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], count=10)
    t.spread(a, b, pairs)
    traffic = xfer.Traffic(pairs)
    # Each way of sending messages with each size of the buffer.
    for n in range(6):
        for host in (a, b):
            t.module.set(host, cm=("every", "adaptive")[n % 2])
            t.module.set(host, reorder_packets=(1024, 0, 3)[n % 3])
            t.equal(len(t.module.sessions(host, protocol=6)), 10, "sessions")
            t.at_least(len(t.module.paths(host)), 2, "paths")
    traffic.finish()
    t.note(f"{traffic.moved()} bytes")
