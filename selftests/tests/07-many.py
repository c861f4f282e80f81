# SPDX-License-Identifier: GPL-2.0
"""Many sessions at once, and what happens at the caps."""

from lib import case
from lib.net import Host, cable, settle
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
    shares = t.shares(a, before)
    t.note(f"200 x 2 x 256 KiB in {took:.1f} s, shares {[round(s, 2) for s in shares]}")
    t.reaches(min(shares), 0.2, "share of the lesser path")
    xfer.Traffic(pairs, 10000, 10000, seed=3).wait()
    xfer.close(pairs)


@case("200 connections opened, used and closed at the same time", timeout=90)
def at_the_same_time(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for address in (b.addr[0], b.addr6[0]):
        took = xfer.transfer(a, b, address, 1 << 16, 1 << 16, count=200)
        t.note(f"{took:.1f} s, {t.module.stats(a)['session_opened']} sessions opened")
    # All were when this was measured; a connection may end before its session is open.
    t.reaches(t.module.stats(a)["session_opened"], 300, "sessions opened, of 400")


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


@case("max_lanes holds: more are refused and counted", timeout=90)
def lanes(t):
    a, b, _ = t.routed()
    t.load(a, b)
    t.module.set(a, max_lanes=2)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs, lanes=2)
    t.wait(
        lambda: xfer.exchange(pairs, 3000, 3000) and t.module.stats(a)["lane_refused_cap"],
        20,
        "lanes that B asks for to be refused",
    )
    (session,) = t.module.sessions(a, protocol=6)
    t.at_most(len(session["lane"]), 2, "lanes of A, of four that there could be")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()


@case("max_paths holds: a session that would need another is refused and counted, its traffic goes on")
def paths(t):
    a, b, _ = t.routed()
    t.load(a, b)
    t.module.set(a, max_paths=2)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs, lanes=2)
    six = xfer.connect(a, b, b.addr6[0], 7001)
    t.wait(
        lambda: xfer.exchange(six, 3000, 3000) and t.module.stats(a)["path_refused_cap"],
        20,
        "the IPv6 session's own path to be refused",
    )
    t.equal([s["remote"]["port"] for s in t.module.sessions(a)], [7000], "ports of A's sessions")
    t.equal(len(t.module.paths(a)), 2, "paths of A, of eight that there could be")
    xfer.Traffic(pairs + six, 100_000, 100_000, seed=3).wait()


@case("max_peers holds: a third host is refused and counted until the first is idle", timeout=90)
def peers(t):
    a, b = t.two_hosts(1)
    c = Host("hC")
    t.hosts.append(c)
    a.ip([cable("a9", a, "c9", c, 1500), "addr add 10.0.9.1/24 dev a9", "link set a9 up"])
    c.ip(["addr add 10.0.9.2/24 dev c9", "link set c9 up"])
    settle((a, c), [(a, "10.0.9.1", c, "10.0.9.2")])
    t.load(a, b, c)
    t.module.set(a, max_peers=1, close_timeout=1)
    node_b, node_c = (t.module.show(host, "status")["id"] for host in (b, c))

    def known():
        return [peer["id"] for peer in t.module.show(a, "peer")]

    first = xfer.connect(a, b, b.addr[0], 7000)
    t.soon(lambda: xfer.exchange(first, 3000, 3000) and known() == [node_b], 20, "B to be a peer")
    second = xfer.connect(a, c, "10.0.9.2", 7000)
    t.wait(
        lambda: xfer.exchange(second, 3000, 3000) and t.module.stats(a)["peer_refused_cap"],
        20,
        "C to be refused",
    )
    t.equal(known(), [node_b], "peers of A")
    t.equal({s["peer"] for s in t.module.sessions(a)}, {node_b}, "peers that A has sessions with")
    xfer.Traffic(first, 100_000, 100_000, seed=3).wait()
    xfer.close(first)
    # B's session expires and leaves B without one: it makes room.
    t.wait(lambda: xfer.exchange(second, 3000, 3000) and known() == [node_c], 40, "C to take the place")
    xfer.Traffic(second, 100_000, 100_000, seed=3).wait()
