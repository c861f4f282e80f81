# SPDX-License-Identifier: GPL-2.0
"""Many sessions at once, and what happens at the caps."""

from lib import case
from tools import udpcount, xfer


@case("200 TCP sessions at once, all on two paths, every byte both ways", timeout=150)
def two_hundred(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], 7000, count=100) + xfer.connect(a, b, b.addr6[1], 7001, count=100)
    t.spread(a, b, pairs, timeout=60)
    t.at_least(t.module.show(a, "status")["sessions"], 200, "sessions")
    before = a.counters()
    took = xfer.exchange(pairs, 1 << 18, 1 << 18)
    t.note(f"200 x 2 x 256 KiB in {took:.1f} s")
    t.reaches(min(t.shares(a, before)), 0.1, "share of the lesser path")
    xfer.Traffic(pairs, 10000, 10000, seed=3).wait()
    xfer.close(pairs)


@case("200 connections opened, used and closed at the same time", timeout=90)
def at_the_same_time(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for address in (b.addr[0], b.addr6[0]):
        took = xfer.transfer(a, b, address, 1 << 16, 1 << 16, count=200)
        t.note(f"{took:.1f} s")
    t.reaches(t.module.stats(a)["session_opened"], 10, "sessions opened")


@case("max_sessions: more are refused and counted, their traffic goes on", timeout=90)
def cap(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, max_sessions=5)
    pairs = xfer.connect(a, b, b.addr[0], count=20)
    seed = 0

    def refused():
        nonlocal seed
        seed += 100
        xfer.exchange(pairs, 5000, 5000, seed=seed)
        # Either end may be the one that opens sessions, and so the one that refuses.
        count = sum(t.module.stats(host)["session_refused_cap"] for host in (a, b))
        return count >= 15 and t.module.sessions(a) and t.module.sessions(b)

    t.wait(refused, 20, "15 sessions to be refused and some not")
    for host in (a, b):
        t.at_most(len(t.module.sessions(host)), 5, f"sessions of {host}")
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    receiver = udpcount.Receiver(sockets[1], 1)
    sent = udpcount.send(sockets[0], None, 1, 200, 500, 1000)
    receiver.settle(sent, 5)
    t.check(receiver.exact(sent), f"UDP beyond the cap: {receiver.result(sent)}")
    xfer.Traffic(pairs, 10000, 10000, seed=3).wait()


@case("max_peers and max_lanes hold", timeout=90)
def other_caps(t):
    a, b, _ = t.routed()
    t.load(a, b)
    t.module.set(a, max_lanes=2)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs, lanes=2)
    for n in range(5):
        xfer.exchange(pairs, 50000, 50000, seed=10 * n)
    (session,) = t.module.sessions(a, protocol=6)
    t.at_most(len(session["lane"]), 2, "lanes of A")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
    t.unload()
    t.load(a, b)
    t.module.set(a, max_peers=1)
    t.module.set(b, max_peers=1)
    xfer.transfer(a, b, b.addr[0], 100000, 100000)
    t.at_most(len(t.module.show(a, "peer")), 1, "peers")
