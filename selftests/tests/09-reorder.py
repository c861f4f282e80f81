# SPDX-License-Identifier: GPL-2.0
"""The receiver puts TCP segments back in order: paths of 10 and 2 ms without retransmissions."""

from lib import Link, active, case
from tools import xfer

# Queues too long to overflow with the receive windows below, so that every
# retransmission is a spurious one.
PATHS = [Link(rate="40mbit", delay="10ms", limit=3000), Link(rate="40mbit", delay="2ms", limit=3000)]
WINDOW = 200_000  # half of what the socket reports: 400 kB for a product of 80 Mbit/s and 20 ms


def run(t, family, buffered):
    """Transfer with the buffer on or off; returns (seconds, retransmissions)."""
    a, b = t.two_hosts(PATHS)
    t.load(a, b)
    if not buffered:
        for host in (a, b):
            t.module.set(host, reorder_packets=0)
    pairs = xfer.connect(a, b, (b.addr if family == 4 else b.addr6)[0], bufsize=WINDOW)
    t.spread(a, b, pairs)
    xfer.exchange(pairs, 3 << 20, 0, seed=50)
    before, start = a.snmp("RetransSegs"), a.counters()
    took = xfer.exchange(pairs, 12 << 20, 0, seed=60)
    again = a.snmp("RetransSegs") - before
    t.at_least(min(t.shares(a, start)), 0.1, "share of the lesser path")
    t.at_least(len(active(t.module.sessions(a, protocol=6)[0])), 2, "active lanes")
    held = t.module.stats(b)["reorder_held"]
    t.note(f"buffer {'on' if buffered else 'off'}: {took:.2f} s, {again} retransmissions, {held} held")
    if buffered:
        t.at_least(held, 50, "packets held")
    else:
        t.equal(held, 0, "packets held with the buffer off")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
    xfer.close(pairs)
    t.unload()
    a.delete()
    b.delete()
    t.hosts.clear()
    return took, again


def compare(t, family):
    took_on, on = run(t, family, True)
    took_off, off = run(t, family, False)
    t.at_most(on, 30, "retransmissions with the buffer")
    t.at_least(off, 100, "retransmissions without the buffer")
    t.at_least(off, 10 * on, "ten times fewer retransmissions")
    t.at_least(took_off, took_on, "seconds without the buffer are no fewer than with it")


@case("IPv4: few retransmissions with the buffer, many without", timeout=150)
def ipv4(t):
    compare(t, 4)


@case("IPv6: few retransmissions with the buffer, many without", timeout=150)
def ipv6(t):
    compare(t, 6)


@case("a hole that stays is given up in bounded time", timeout=90)
def bounded(t):
    """All loss on one path: the stream goes on at TCP's pace, nothing is held for ever."""
    a, b = t.two_hosts([Link(rate="40mbit", delay="2ms", limit=1000), Link(rate="40mbit", delay="2ms", limit=1000)])
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    traffic = xfer.Traffic(pairs)
    t.wait(lambda: traffic.moved()[0] > 1 << 20, 20, "bytes")
    # The second path turns into a black hole both ways.
    a.tc(["qdisc replace dev a2 root netem loss 100%"])
    b.tc(["qdisc replace dev b2 root netem loss 100%"])
    moved = traffic.moved()
    t.wait(lambda: min(n - m for n, m in zip(traffic.moved(), moved)) > 2 << 20, 30, "2 MiB each way over what is left")
    moved = traffic.moved()
    t.wait(lambda: min(n - m for n, m in zip(traffic.moved(), moved)) > 4 << 20, 15, "4 MiB more at once")
    for host in (a, b):
        state = [lane["state"] for s in t.module.sessions(host, protocol=6) for lane in s["lane"] if not lane["original"]]
        t.check("active" not in state, f"the dead lane is not active: {state}")
    for host, dev in ((a, "a2"), (b, "b2")):
        host.tc([f"qdisc replace dev {dev} root netem rate 40mbit delay 2ms limit 1000"])
    t.wait(lambda: all(len(active(s)) >= 2 for h in (a, b) for s in t.module.sessions(h, protocol=6)), 30, "the path to be used again")
    traffic.finish()
    for host in (a, b):
        t.equal([s["held"] for s in t.module.sessions(host) if s["state"] == "open"][:1] or [0], [0], "packets held at the end")
