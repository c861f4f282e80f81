# SPDX-License-Identifier: GPL-2.0
"""One unmodified TCP connection over all paths."""

import socket
from collections import Counter

from lib import RX_BYTES, TX_BYTES, Link, active, case, sums
from lib.packet import TCP, Capture, parse_cm
from tools import xfer

EQUAL = [Link(rate="100mbit", delay="1ms", limit=300)] * 2


def both_ways(t, family):
    a, b = t.two_hosts(EQUAL)
    address = (b.addr if family == 4 else b.addr6)[0]
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, scheduler="weighted")
    pairs = xfer.connect(a, b, address, 7000)
    session = next(iter(t.spread(a, b, pairs).values()))
    before = a.counters()
    took = xfer.exchange(pairs, 24 << 20, 24 << 20)
    sent, got = t.shares(a, before, TX_BYTES), t.shares(a, before, RX_BYTES)
    t.note(f"2 x 24 MiB in {took:.2f} s; shares there {sent}, back {got}")
    t.reaches(min(sent), 0.2, "share of the lesser path, there")
    t.reaches(min(got), 0.2, "share of the lesser path, back")

    t.equal(session["state"], "open", "state")
    t.equal(session["remote"], {"addr": address, "port": 7000}, "remote end")
    t.equal(session["peer"], t.module.show(b, "status")["id"], "peer")
    t.equal([lane["original"] for lane in session["lane"]].count(True), 1, "original lanes")
    for host, other in ((a, b), (b, a)):
        (peer,) = t.module.show(host, "peer")
        t.equal(peer["id"], t.module.show(other, "status")["id"], "node id of the peer")
        known = {entry["addr"] for entry in peer["address"]}
        t.check(set(other.addr if family == 4 else other.addr6) <= known, f"addresses of the peer: {known}")
        (now,) = t.module.sessions(host, 7000)
        for way in ("tx_bytes", "rx_bytes"):
            t.at_least(sum(lane[way] for lane in now["lane"]), 24 << 20, f"{way} of all lanes")
    xfer.close(pairs)


@case("IPv4: session, lanes, both paths carry at least a fifth, both ways, bytes equal", timeout=90, long=False)
def ipv4(t):
    both_ways(t, 4)


@case("IPv6: session, lanes, both paths carry at least a fifth, both ways, bytes equal", timeout=90, long=False)
def ipv6(t):
    both_ways(t, 6)


@case("a server that takes no connection before data: its SYN-ACK, sent again, ends no session", timeout=60)
def deferred(t):
    a, b = t.two_hosts(EQUAL)
    t.load(a, b)
    with b.socket() as listener, a.socket() as client:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        listener.settimeout(10)
        listener.bind((b.addr[0], 7000))
        listener.listen(1)
        client.connect((b.addr[0], 7000))

        def sessions():
            """The session at both ends, if it has both lanes there."""
            seen = [t.module.sessions(host, 7000) for host in (a, b)]
            return [s["id"] for each in seen for s in each if len(active(s)) == 2]

        t.soon(lambda: len(sessions()) == 2, 10, "a session with two lanes at both ends")
        before, sent = sessions(), b.snmp("RetransSegs")
        t.soon(lambda: b.snmp("RetransSegs") > sent, 10, "the SYN-ACK to be sent again")
        data = bytes(range(256)) * 200
        client.sendall(data[:1000])
        server, _ = listener.accept()
        with server:
            client.sendall(data[1000:])
            client.shutdown(socket.SHUT_WR)
            server.settimeout(10)
            got = b"".join(iter(lambda: server.recv(1 << 16), b""))
        t.equal(got == data, True, "bytes equal")
        t.equal(sessions(), before, "the session is there at both ends")


@case("two links are clearly faster than one", timeout=90)
def faster(t):
    a, b = t.two_hosts([Link(rate="40mbit", delay="1ms", limit=300)] * 2)
    alone = xfer.transfer(a, b, b.addr[0], 12 << 20, 0)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    both = xfer.exchange(pairs, 24 << 20, 0) / 2
    t.note(f"12 MiB: {alone:.2f} s without, {both:.2f} s with MPIP")
    t.reaches(alone / both, 1.5, "speed-up")


@case("the end without a connection of its own opens one: B to A")
def reverse(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(b, a, a.addr[1], 7000)
    t.spread(b, a, pairs)
    before = b.counters()
    xfer.exchange(pairs, 4 << 20, 4 << 20)
    t.reaches(min(t.shares(b, before)), 0.05, "share of the lesser path")


@case("unshaped links: 64 MiB both ways", timeout=120)
def unshaped(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    before = a.counters()
    took = xfer.exchange(pairs, 64 << 20, 64 << 20)
    t.note(f"{took:.2f} s, shares {t.shares(a, before)}")
    t.reaches(min(t.shares(a, before)), 0.05, "share of the lesser path")


@case("behind a router: all four pairs of addresses are paths, IPv4 and IPv6", timeout=90)
def four_paths(t):
    a, b, _ = t.routed()
    t.load(a, b)
    for mine, theirs in ((a.addr, b.addr), (a.addr6, b.addr6)):
        pairs = xfer.connect(a, b, theirs[0])
        port = pairs[0][0].getsockname()[1]
        t.spread(a, b, pairs, lanes=4)
        xfer.exchange(pairs, 8 << 20, 8 << 20)
        session = t.by_port(a, "local")[port]
        ends = {(lane["local"]["addr"], lane["remote"]["addr"]) for lane in active(session)}
        t.equal(ends, {(x, y) for x in mine for y in theirs}, "paths")
        for lane in session["lane"]:
            t.reaches(lane["tx_bytes"], 200 << 10, f"bytes on path {lane['path']}")
        xfer.close(pairs)


@case("two addresses to one: two paths")
def two_to_one(t):
    a, b, _ = t.routed(2, 1)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs, lanes=2)
    before = a.counters()
    xfer.exchange(pairs, 4 << 20, 4 << 20)
    t.reaches(min(t.shares(a, before)), 0.05, "share of the lesser uplink")


@case("three links: three paths")
def three(t):
    a, b = t.two_hosts(3)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[1])
    t.spread(a, b, pairs, lanes=3)
    before = a.counters()
    xfer.exchange(pairs, 8 << 20, 8 << 20)
    t.reaches(min(t.shares(a, before)), 0.05, "share of the least path")


@case("one link only: nothing is sent beyond the question and its answer")
def one_path(t):
    a, b = t.two_hosts([Link(rate="50mbit")])
    a.ip([f"addr del {x}/64 dev {d}" for x, d in zip(a.addr6, a.dev)])
    b.ip([f"addr del {x}/64 dev {d}" for x, d in zip(b.addr6, b.dev)])
    t.load(a, b)
    capture = Capture(b, "b1", "tcp or udp")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    took = xfer.exchange(pairs, 4 << 20, 1 << 20)
    packets = capture.stop()
    messages = [p for p in packets if p.protocol == TCP and parse_cm(p.payload)]
    kinds = Counter(parse_cm(p.payload)["type"] for p in messages)
    t.note(f"{len(packets)} packets in {took:.1f} s, {kinds}")
    t.equal(sorted(kinds), ["CONFIRM", "HELLO", "HELLO_REPLY", "OPEN_ACK"], "kinds of CMs")
    t.within(max(kinds.values()), 1, "CMs of a kind: what waits for an answer is sent again if that is late")
    t.at_most(t.module.stats(a)["tx_lane"], 0, "packets on added paths")


@case("60 short connections one after the other, every byte of each")
def short(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for n in range(60):
        xfer.transfer(a, b, (b.addr + b.addr6)[n % 4], 1 + n * 37, n * 91, seed=n)
    t.at_least(t.module.stats(a)["session_opened"], 1, "sessions")


@case("sums of whole packets from the device (CHECKSUM_COMPLETE): bytes equal, sums right", timeout=90)
def complete_sums(t):
    a, b = t.two_hosts(2)
    tunnels = sums.tunnels(a, b)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, scheduler="weighted")
    with sums.ip_summed() as counts:
        pairs = xfer.connect(a, b, b.addr[0])
        t.spread(a, b, pairs)
        xfer.exchange(pairs, 8 << 20, 8 << 20)
        sums.check(t, (a, b), tunnels, counts(), 500)
