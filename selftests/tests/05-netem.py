# SPDX-License-Identifier: GPL-2.0
"""Loss, duplication, corruption and reordering on both links: every byte, both ways.

How much data came on which link is counted by a rule of nftables in front of MPIP,
for packets that are longer than any message or acknowledgement.
"""

import itertools
import re

from lib import Link, case
from tools import udpcount, xfer

WEATHER = "loss 1% duplicate 1% corrupt 0.5% reorder 5% 25%"
MIB = 16
# Longer than the longest CM with the longest headers.
DATA = 500


class Arrivals:
    """Bytes of data that come in at each device of some hosts from now on."""

    def __init__(self, *hosts):
        self.hosts = hosts
        for host in hosts:
            rules = [f'add rule inet data c iifname "{dev}" meta length > {DATA} counter' for dev in host.dev]
            chain = "add chain inet data c { type filter hook prerouting priority -450; }"
            host.run("nft", "; ".join(["add table inet data", chain, *rules]))

    def shares(self):
        """The part of the lesser link, for each host."""
        found = []
        for host in self.hosts:
            text = host.run("nft", "list", "chain", "inet", "data", "c").stdout
            counts = [int(n) for n in re.findall(r"bytes (\d+)", text)]
            found.append(min(counts) / max(1, sum(counts)))
        return found


def storm(t, family, mib, netem=WEATHER, delay="1ms", mtu=1500, offload=True, count=1, params=None, least=0.0):
    """Move `mib` MiB each way over two such links; each has to carry `least` of the data each way.

    By default nothing is asked: the default scheduler may well leave a link alone in such weather.
    """
    a, b = t.two_hosts([Link(delay=delay, netem=netem, mtu=mtu, offload=offload)] * 2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, **params or {})
    pairs = xfer.connect(a, b, (b.addr if family == 4 else b.addr6)[0], count=count)
    t.spread(a, b, pairs, timeout=60)
    came = Arrivals(b, a)
    took = xfer.exchange(pairs, mib << 20, mib << 20, timeout=280)
    shares = came.shares()
    # And the end of the stream: a FIN, nothing behind it.
    xfer.Traffic(pairs, 1000, 1000, seed=77, timeout=60).wait()
    t.note(
        f"2 x {mib} MiB in {took:.1f} s, 2 x {mib * 8.4 / took:.0f} Mbit/s, data on the lesser path "
        f"there and back {[round(s, 3) for s in shares]}, retransmitted {a.snmp('RetransSegs')}"
    )
    for share, way in zip(shares, ("there", "back")):
        t.reaches(share, least, f"share of the data on the lesser path, {way}")
    xfer.close(pairs)


def declare_cell(mtu, family, offload):
    """One cell of the matrix. By weight both paths must carry, whatever is thought of them."""
    name = f"{MIB} MiB both ways, MTU {mtu}, IPv{family}, offloads {'on' if offload else 'off'}"

    @case(name, timeout=300, long=offload == (family == 6) and mtu != 1500)
    def cell(t):
        storm(t, family, MIB, mtu=mtu, offload=offload, params={"scheduler": "weighted"}, least=0.05)


for cell in itertools.product((1280, 1500, 9000), (4, 6), (True, False)):
    declare_cell(*cell)


def declare_weather(name, netem, delay, long=False):
    """One kind of weather alone, by the default scheduler."""

    @case(f"{name} alone", timeout=120, long=long)
    def weather(t):
        storm(t, 4, 8, netem=netem, delay=delay)


declare_weather("duplication", "duplicate 5%", "")
declare_weather("corruption", "corrupt 2%", "", long=True)
declare_weather("reordering", "reorder 25% 50%", "2ms")
declare_weather("jitter", "", "3ms 2ms", long=True)
declare_weather("heavy loss", "loss 5%", "", long=True)
declare_weather("bursts of loss", "loss gemodel 1% 20% 80% 0.1%", "1ms")


@case("20 connections at once in bad weather, offloads off", timeout=120)
def many(t):
    storm(t, 4, 1, count=20, offload=False, params={"scheduler": "weighted"}, least=0.05)


@case("a CM with every packet in bad weather, offloads on", timeout=120)
def every_on(t):
    storm(t, 4, 8, params={"cm": "every"})


@case("a CM with every packet in bad weather, IPv6, offloads off", timeout=120)
def every_off(t):
    storm(t, 6, 8, params={"cm": "every"}, offload=False)


def declare_udp(family, offload):
    """One cell of UDP. netem doubles nothing here, so nobody may."""
    name = f"UDP, IPv{family}, offloads {'on' if offload else 'off'}"

    @case(f"{name}: loss, corruption, reordering; no datagram altered, none twice", long=offload == (family == 4))
    def udp(t):
        link = Link(delay="1ms", netem="loss 1% corrupt 0.5% reorder 5% 25%", offload=offload)
        a, b = t.two_hosts([link] * 2)
        t.load(a, b)
        for host in (a, b):
            t.module.set(host, scheduler="weighted")
        mine, theirs = (a.addr, b.addr) if family == 4 else (a.addr6, b.addr6)
        sa, sb = udpcount.pair(a, b, mine[0], theirs[0])
        at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
        came = Arrivals(b, a)
        senders = [udpcount.Sender(s, None, n, UDP, (20, 1400), 1500) for s, n in ((sa, 1), (sb, 2))]
        for sender in senders:
            sender.wait()
        for receiver in (at_b, at_a):
            result = receiver.settle(UDP, 0.5).result(UDP)
            t.note(result)
            t.equal((result["duplicate"], result["corrupt"]), (0, 0), f"duplicate and corrupt of {result}")
            t.at_most(result["missing"], UDP // 40, "missing of 1.5 %")
        for share, way in zip(came.shares(), ("there", "back")):
            t.reaches(share, 0.05, f"share of the data on the lesser path, {way}")


UDP = 4000
for cell in itertools.product((4, 6), (True, False)):
    declare_udp(*cell)
