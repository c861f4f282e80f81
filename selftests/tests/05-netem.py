# SPDX-License-Identifier: GPL-2.0
"""Loss, duplication, corruption and reordering on both links: every byte, both ways."""

import itertools

from lib import TX_BYTES, Link, case
from tools import udpcount, xfer

WEATHER = "loss 1% duplicate 1% corrupt 0.5% reorder 5% 25%"


def storm(t, family, mib, netem=WEATHER, delay="1ms", mtu=1500, offload=True, count=1, cm=None, least=0.01):
    """Move `mib` MiB each way over two such links."""
    a, b = t.two_hosts([Link(delay=delay, netem=netem, mtu=mtu, offload=offload)] * 2)
    t.load(a, b)
    if cm:
        for host in (a, b):
            t.module.set(host, cm=cm)
    pairs = xfer.connect(a, b, (b.addr if family == 4 else b.addr6)[0], count=count)
    t.spread(a, b, pairs, timeout=60)
    before = a.counters()
    took = xfer.exchange(pairs, mib << 20, mib << 20, timeout=280)
    # And the end of the stream: a FIN, nothing behind it.
    xfer.Traffic(pairs, 1000, 1000, seed=77, timeout=60).wait()
    shares = t.shares(a, before, TX_BYTES)
    t.note(
        f"2 x {mib} MiB in {took:.1f} s, 2 x {mib * 8.4 / took:.0f} Mbit/s, "
        f"shares {[round(s, 2) for s in shares]}, retransmitted {a.snmp('RetransSegs')}"
    )
    t.reaches(min(shares), least, "share of the lesser path")
    xfer.close(pairs)


@case("64 MiB both ways, IPv4, offloads on", timeout=300)
def big_v4_on(t):
    storm(t, 4, 64)


@case("64 MiB both ways, IPv4, offloads off", timeout=300)
def big_v4_off(t):
    storm(t, 4, 64, offload=False)


@case("64 MiB both ways, IPv6, offloads on", timeout=300)
def big_v6_on(t):
    storm(t, 6, 64)


@case("64 MiB both ways, IPv6, offloads off", timeout=300)
def big_v6_off(t):
    storm(t, 6, 64, offload=False)


def declare_mtu(mtu, family, offload):
    """One cell of the matrix."""

    @case(f"MTU {mtu}, IPv{family}, offloads {'on' if offload else 'off'}", timeout=120)
    def cell(t):
        storm(t, family, 6 if mtu < 9000 else 24, mtu=mtu, offload=offload)


for cell in itertools.product((1280, 9000), (4, 6), (True, False)):
    declare_mtu(*cell)


def declare_weather(name, netem, delay):
    """One kind of weather alone."""

    @case(f"{name} alone", timeout=120)
    def weather(t):
        storm(t, 4, 8, netem=netem, delay=delay)


declare_weather("duplication", "duplicate 5%", "")
declare_weather("corruption", "corrupt 2%", "")
declare_weather("reordering", "reorder 25% 50%", "2ms")
declare_weather("jitter", "", "3ms 2ms")
declare_weather("heavy loss", "loss 5%", "")
declare_weather("bursts of loss", "loss gemodel 1% 20% 80% 0.1%", "1ms")


@case("20 connections at once in bad weather, offloads off", timeout=120)
def many(t):
    storm(t, 4, 1, count=20, offload=False)


@case("a CM with every packet in bad weather, offloads on", timeout=120)
def every_on(t):
    storm(t, 4, 8, cm="every")


@case("a CM with every packet in bad weather, IPv6, offloads off", timeout=120)
def every_off(t):
    storm(t, 6, 8, cm="every", offload=False)


@case("UDP: no datagram altered, none twice that netem did not double")
def udp(t):
    a, b = t.two_hosts([Link(delay="1ms", netem="loss 1% corrupt 0.5% reorder 5% 25%")] * 2)
    t.load(a, b)
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    senders = [
        udpcount.Sender(sa, None, 1, 6000, (20, 1400), 1200),
        udpcount.Sender(sb, None, 2, 6000, (20, 1400), 1200),
    ]
    for sender in senders:
        sender.wait()
    for receiver in (at_b, at_a):
        result = receiver.settle(6000, 3).result(6000)
        t.note(result)
        t.equal((result["duplicate"], result["corrupt"]), (0, 0), f"duplicate and corrupt of {result}")
        t.at_least(result["received"], 5700, "received in spite of 1.5 % loss")
    t.reaches(min(t.shares(a, {d: (0, 0, 0, 0) for d in a.dev})), 0.15, "share of the lesser path")
