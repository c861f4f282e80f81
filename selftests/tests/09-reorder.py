# SPDX-License-Identifier: GPL-2.0
"""The receiver puts TCP segments back in order: paths of different delay without retransmissions."""

from dataclasses import replace

from lib import Link, active, case
from tools import xfer

# SO_RCVBUF; together with queues too long for such windows every retransmission is a spurious one.
WINDOW = 60_000


def run(t, family, delays, mib, buffered=True):
    """Transfer over two paths of these delays, the buffer on or off; returns (seconds, retransmissions)."""
    a, b = t.two_hosts([Link(rate="40mbit", delay=delay, limit=3000) for delay in delays])
    t.load(a, b)
    for host in (a, b):
        # Whatever the delays, both are used.
        t.module.set(host, scheduler="weighted")
        if not buffered:
            t.module.set(host, reorder_packets=0)
    pairs = xfer.connect(a, b, (b.addr if family == 4 else b.addr6)[0], bufsize=WINDOW)
    t.spread(a, b, pairs)
    before, start = a.snmp("RetransSegs"), a.counters()
    took = xfer.exchange(pairs, mib << 20, 0, seed=60, timeout=100)
    again = a.snmp("RetransSegs") - before
    held = t.module.stats(b)["reorder_held"]
    shares = [round(s, 2) for s in t.shares(a, start)]
    t.note(
        f"{'/'.join(delays)}, buffer {'on' if buffered else 'off'}: {took:.2f} s, "
        f"{again} retransmissions, {held} held, shares {shares}"
    )
    if buffered:
        t.reaches(held, 50, "packets held")
        t.reaches(min(shares), 0.1, "share of the lesser path")
    else:
        t.equal(held, 0, "packets held with the buffer off")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
    xfer.close(pairs)
    t.unload()
    a.delete()
    b.delete()
    t.hosts.clear()
    return took, again


for family in (4, 6):

    @case(f"IPv{family}, 10 and 2 ms: next to no retransmission in 12 MiB", timeout=90)
    def near(t, family=family):
        _, again = run(t, family, ("10ms", "2ms"), 12)
        t.within(again, 20, "retransmissions with the buffer")


@case("20 and 1 ms: no retransmissions with the buffer, many and slow without", timeout=150)
def far(t):
    took_on, on = run(t, 4, ("20ms", "1ms"), 5)
    took_off, off = run(t, 4, ("20ms", "1ms"), 5, buffered=False)
    t.within(on, 25, "retransmissions with the buffer")
    t.reaches(off, 40, "retransmissions without the buffer")
    t.reaches(off, 3 * on, "several times as many")
    t.reaches(took_off, 1.2 * took_on, "seconds without the buffer")


@case("a hole that stays is given up in bounded time", timeout=90)
def bounded(t):
    """All loss on one path: the stream goes on at TCP's pace, nothing is held for ever."""
    a, b = t.two_hosts(
        [Link(rate="40mbit", delay="2ms", limit=1000), Link(rate="40mbit", delay="2ms", limit=1000)]
    )
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    traffic = xfer.Traffic(pairs)
    t.flows(traffic, 1 << 20, 20, "bytes")
    # The second path turns into a black hole both ways.
    a.tc(["qdisc replace dev a2 root netem loss 100%"])
    b.tc(["qdisc replace dev b2 root netem loss 100%"])
    t.flows(traffic, 2 << 20, 30, "2 MiB each way over what is left")
    t.flows(traffic, 4 << 20, 15, "4 MiB more at once")
    for host, dev in ((a, "a2"), (b, "b2")):
        dead = {path["id"] for path in t.module.paths(host) if path["dev"] == dev}
        lanes = [lane for s in t.module.sessions(host, protocol=6) for lane in s["lane"]]
        state = [lane["state"] for lane in lanes if lane["path"] in dead]
        t.check(state and "active" not in state, f"lanes on the dead path are not active: {state}")
    for host, dev in ((a, "a2"), (b, "b2")):
        host.tc([f"qdisc replace dev {dev} root netem rate 40mbit delay 2ms limit 1000"])
    t.soon(
        lambda: all(len(active(s)) >= 2 for h in (a, b) for s in t.module.sessions(h, protocol=6)),
        30,
        "the path to be used again",
    )
    traffic.finish()
    for host in (a, b):
        t.equal(
            [s["held"] for s in t.module.sessions(host) if s["state"] == "open"][:1] or [0],
            [0],
            "packets held at the end",
        )


@case("what is lost at random is sent again, and meanwhile TCP may send what waits behind it", timeout=120)
def repaired(t):
    """Never more often than something was sent again; and not for a TCP that is not told of its window."""
    link = Link(rate="40mbit", delay="10ms", limit=1000)
    a, b = t.two_hosts([link, replace(link, netem="loss 1%")])
    t.load(a, b)
    for ask, least in ((1, 2), (0, 0)):
        t.module.set(b, repair=ask)
        pairs = xfer.connect(a, b, b.addr[0])
        t.spread(a, b, pairs)
        before = t.module.stats(a)
        took = xfer.exchange(pairs, 24 << 20, 0, seed=90, timeout=60)
        after = t.module.stats(a)
        again, credit = (after[name] - before[name] for name in ("repaired", "window_credit"))
        t.note(f"repair {ask}: {took:.2f} s, {again} segments sent again, {credit} times credit")
        t.at_least(again, 10 * ask, "segments sent again")
        t.reaches(credit, least, "times that the window was larger")
        t.at_most(credit, again, "times that the window was larger")
        xfer.close(pairs)


def bursts(t, family, encap):
    """Unshaped links, each segment alone: those of a burst become one before they get to TCP."""
    a, b = t.two_hosts([Link(offload=False)] * 2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, encap=encap)
    pairs = xfer.connect(a, b, (b.addr if family == 4 else b.addr6)[0])
    t.spread(a, b, pairs)
    joined = t.module.stats(b)["coalesced"]
    start = a.counters()
    took = xfer.exchange(pairs, 24 << 20, 0, seed=80, timeout=80)
    joined = t.module.stats(b)["coalesced"] - joined
    t.note(f"24 MiB in {took:.2f} s, {joined} segments appended, shares {t.shares(a, start)}")
    t.reaches(joined, 500, "segments appended to others")
    # Whatever is cut where, and both ways at once.
    xfer.exchange(pairs, 2 << 20, 2 << 20, seed=82, timeout=40)
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
    xfer.close(pairs)


for family in (4, 6):
    for encap in ("none", "udp"):

        @case(f"segments of a burst become one, IPv{family}, encap={encap}: every byte", timeout=100)
        def burst_case(t, family=family, encap=encap):
            bursts(t, family, encap)
