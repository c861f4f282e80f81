# SPDX-License-Identifier: GPL-2.0
"""Sessions live through loading, unloading, enabling and disabling in their middle."""

import time

from lib import TX_BYTES, Link, active, case
from tools import udpcount, xfer

LINKS = [Link(rate="200mbit", limit=1000)] * 2


def addresses(hosts, family):
    return [(h.addr if family == 4 else h.addr6)[0] for h in hosts]


def joins(t, family):
    a, b = t.two_hosts(2)
    _, y = addresses((a, b), family)
    pairs = xfer.connect(a, b, y, count=3)
    xfer.exchange(pairs, 100000, 100000)
    t.load(a, b)
    t.spread(a, b, pairs)
    before = a.counters()
    xfer.exchange(pairs, 4 << 20, 4 << 20)
    t.reaches(min(t.shares(a, before)), 0.05, "share of the lesser path")
    t.unload()
    before = a.counters()
    xfer.exchange(pairs, 1 << 20, 1 << 20)
    t.at_most(t.shares(a, before)[1], 0.01, "share of the second link without the module")
    xfer.Traffic(pairs, 1000, 1000).wait()


@case("TCP open before insmod joins, IPv4; rmmod takes it back to its own path", timeout=90)
def joins4(t):
    joins(t, 4)


@case("TCP open before insmod joins, IPv6; rmmod takes it back to its own path", timeout=90)
def joins6(t):
    joins(t, 6)


def idle_joins(t, speaker):
    a, b = t.two_hosts(2)
    pairs = xfer.connect(a, b, b.addr[0])
    xfer.exchange(pairs, 5000, 5000)
    t.load(a, b)
    amounts = (2000, 0) if speaker == "A" else (0, 2000)

    def ready():
        xfer.exchange(pairs, *amounts)
        return t.module.is_spread((a, b), protocol=6)

    t.soon(ready, 30, f"two active lanes when only {speaker} speaks")


for speaker in ("A", "B"):

    @case(f"an idle TCP session open before insmod joins when only {speaker} speaks")
    def idle(t, speaker=speaker):
        idle_joins(t, speaker)


def udp_joins(t, family):
    a, b = t.two_hosts(2)
    sa, sb = udpcount.pair(a, b, *addresses((a, b), family))
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    senders = [udpcount.Sender(sa, None, 1, None, 900, 500), udpcount.Sender(sb, None, 2, None, 900, 500)]
    t.wait(lambda: at_b.count > 200 and at_a.count > 200, 20, "datagrams")
    t.load(a, b)

    def spread():
        views = t.module.sessions(a, 5001, 17) + t.module.sessions(b, 5001, 17)
        return len(views) == 2 and all(len(active(v)) >= 2 for v in views)

    t.soon(spread, 30, "two active lanes at both ends")
    before = a.counters()
    count = at_b.count
    t.wait(lambda: at_b.count > count + 400, 20, "datagrams over both")
    t.reaches(min(t.shares(a, before)), 0.15, "share of the lesser path")
    # Both ends stop here: nothing is lost but what was under way on added paths at that moment.
    t.unload()
    count = at_b.count
    t.wait(lambda: at_b.count > count + 300, 20, "datagrams after rmmod")
    sent = [s.finish() for s in senders]
    for receiver, n in ((at_b, sent[0]), (at_a, sent[1])):
        result = receiver.settle(n, 5).result(n)
        t.note(result)
        t.equal((result["duplicate"], result["corrupt"]), (0, 0), f"duplicate and corrupt: {result}")
        t.at_most(result["missing"], 20, f"missing: {result}")


for family in (4, 6):

    @case(
        f"UDP open before insmod joins, IPv{family}; rmmod takes it back; nothing is lost or comes twice",
        timeout=90,
    )
    def udp_joins_cell(t, family=family):
        udp_joins(t, family)


@case("five times unloaded and loaded in the middle of transfers; every byte", timeout=240)
def five_cycles(t):
    a, b = t.two_hosts(LINKS)
    pairs = xfer.connect(a, b, b.addr[0], count=2) + xfer.connect(a, b, b.addr6[0], count=2)
    traffic = xfer.Traffic(pairs)
    for cycle in range(5):
        t.load(a, b)

        def ready():
            return sum(len(active(s)) >= 2 for s in t.module.sessions(a, protocol=6)) == 4

        # A lane that was refused rests for 2 s, 4 s, 8 s, 16 s.
        t.soon(ready, 60, f"cycle {cycle}: all four sessions on two paths")
        t.carries(a)
        t.carries(b)
        t.unload()
        t.flows(traffic, 1 << 20, 20, "bytes without the module")
    took = traffic.finish()
    t.note(f"{traffic.moved()} bytes in {took:.1f} s; longest silence {traffic.silence():.2f} s")


def loses(t, family, heard):
    """B switches off in mid-session, with or without its goodbye being heard."""
    a, b = t.two_hosts(LINKS)
    _, y = addresses((a, b), family)
    t.load(a, b)
    pairs = xfer.connect(a, b, y, 7000, count=2)
    t.spread(a, b, pairs)
    traffic = xfer.Traffic(pairs)
    t.flows(traffic, 4 << 20, 20, "bytes")
    if not heard:
        for dev in b.dev:
            b.tc([f"qdisc replace dev {dev} root netem loss 100%"])
    t.module.disable(b)
    if not heard:
        for dev in b.dev:
            b.tc([f"qdisc replace dev {dev} root netem rate 200mbit limit 1000"])
    start = time.monotonic()
    t.flows(traffic, 4 << 20, 30, "4 MiB both ways after B switched off")
    t.note(f"4 MiB after {time.monotonic() - start:.2f} s; longest silence {traffic.silence():.2f} s")
    before = a.counters()
    t.flows(traffic, 2 << 20, 20, "more bytes")
    t.within(t.shares(a, before, TX_BYTES)[1], 0.1, "share of the added path that B no longer knows")
    traffic.finish()
    xfer.close(pairs)


@case("B is switched off in mid-session and says goodbye: TCP stays exact, IPv4", timeout=90)
def heard4(t):
    loses(t, 4, True)


@case("B is switched off in mid-session, goodbye unheard: TCP stays exact, IPv4", timeout=90)
def unheard4(t):
    loses(t, 4, False)


@case("B is switched off in mid-session, goodbye unheard: TCP stays exact, IPv6", timeout=90)
def unheard6(t):
    loses(t, 6, False)


@case("B switched off and on again: the session returns to two paths", timeout=90)
def returns(t):
    a, b = t.two_hosts(LINKS)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], count=2)
    t.spread(a, b, pairs)
    for _ in range(2):
        t.module.disable(b)
        xfer.exchange(pairs, 500000, 500000)
        t.module.enable(b)
        xfer.exchange(pairs, 500000, 500000)
    fresh = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, fresh, timeout=40)
    xfer.Traffic(pairs + fresh, 100000, 100000, seed=9).wait()


@case("the caller is switched off for longer than the called end asks, which has to ask: two paths again")
def caller_returns(t):
    a, b = t.two_hosts(LINKS)
    t.load(a, b)
    # The end with the larger port asks.
    pairs = xfer.connect(a, b, b.addr[0], port=61001, count=2)
    t.spread(a, b, pairs)
    t.module.disable(a)
    before = t.module.stats(b)["query_tx_hello"]

    def given_up():
        xfer.exchange(pairs, 20000, 20000)
        rows = [row for row in t.module.show(b, "avail") if row["addr"] == a.addr[0]]
        asked = t.module.stats(b)["query_tx_hello"] - before
        return asked >= 2 * 3 and rows and all(row["availability"] == "unavailable" for row in rows)

    t.soon(given_up, 30, "three questions to each of the caller's ports, in vain")
    t.module.enable(a)

    def ready():
        xfer.exchange(pairs, 20000, 20000)
        return t.module.is_spread((a, b), protocol=6)

    t.soon(ready, 30, "two active lanes again")
    xfer.Traffic(pairs, 100000, 100000, seed=9).wait()


@case("UDP, B switched off unheard: nothing altered or doubled, and soon nothing lost", timeout=90)
def udp_unheard(t):
    a, b = t.two_hosts(LINKS)
    t.load(a, b)
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    senders = [udpcount.Sender(sa, None, 1, None, 900, 400), udpcount.Sender(sb, None, 2, None, 900, 400)]
    t.soon(lambda: [v for v in t.module.sessions(b, 5001, 17) if len(active(v)) >= 2], 30, "two active lanes")
    b.tc([f"qdisc replace dev {dev} root netem loss 100%" for dev in b.dev])
    t.module.disable(b)
    b.tc([f"qdisc replace dev {dev} root netem rate 200mbit limit 1000" for dev in b.dev])
    start = at_b.highest
    # 5 s later nothing may be lost any more.
    t.wait(lambda: at_b.highest > start + 2000, 30, "2000 more datagrams")
    late = at_b.highest
    t.wait(lambda: at_b.highest > late + 800, 20, "800 more datagrams")
    sent = [s.finish() for s in senders]
    for receiver, n in ((at_b, sent[0]), (at_a, sent[1])):
        result = receiver.settle(n, 3).result(n)
        t.note(result)
        t.equal((result["duplicate"], result["corrupt"]), (0, 0), f"duplicate and corrupt: {result}")
    missing = [n for n in range(late, sent[0]) if not at_b.seen[n]]
    t.equal(missing[:5], [], "missing at B after 5 s")
