# SPDX-License-Identifier: GPL-2.0
"""What MPIP leaves alone, and what the rest of a host sees of it."""

import re
import socket
import struct

from lib import Link, case, wireguard
from lib.packet import Capture
from lib.userqueue import UserQueue
from tools import udpcount, xfer

SO_BINDTODEVICE, SO_MARK, TCP_MD5SIG = 25, 36, 14


def option(setting, value):
    """Open a connection whose client has a socket option set, and see where its bytes go."""

    def run(t):
        a, b = t.two_hosts(2)
        t.load(a, b)
        # Peers already, so that only the option can be the reason.
        known = xfer.connect(a, b, b.addr[0])
        t.spread(a, b, known)
        with b.socket() as listener:
            listener.bind((b.addr[0], 7000))
            listener.listen(1)
            near = a.socket()
            near.setsockopt(socket.SOL_SOCKET, setting, value)
            near.connect((b.addr[0], 7000))
            pairs = [(near, listener.accept()[0])]
        xfer.exchange(pairs, 200_000, 200_000)
        before = a.counters()
        xfer.exchange(pairs, 2 << 20, 0, seed=9)
        t.at_most(t.shares(a, before)[1], 0.05, "share of the second link")
        xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
        xfer.Traffic(known, 1000, 1000, seed=5).wait()

    return run


@case("a socket bound to a device stays on it")
def bound(t):
    option(SO_BINDTODEVICE, b"a1\0")(t)


@case("a marked socket keeps to its own route")
def marked(t):
    option(SO_MARK, struct.pack("i", 7))(t)


@case("loopback and a host's own addresses are no sessions")
def loopback(t):
    a, _ = t.two_hosts(2)
    t.load(a)
    for address in ("127.0.0.1", "::1", a.addr[0], a.addr6[1]):
        xfer.transfer(a, a, address, 200_000, 200_000)
    t.equal(t.module.sessions(a), [], "sessions")
    t.equal(t.module.show(a, "avail"), [], "rows of the availability table")


@case("forwarded traffic: a router with the module on touches nothing")
def forwarded(t):
    a, b, r = t.routed()
    t.load(r)
    xfer.transfer(a, b, b.addr[0], 2 << 20, 2 << 20)
    xfer.transfer(a, b, b.addr6[1], 2 << 20, 2 << 20)
    sa, sb = udpcount.pair(a, b, a.addr[1], b.addr[0])
    receiver = udpcount.Receiver(sb, 1)
    sent = udpcount.send(sa, None, 1, 500, (20, 1400), 1000)
    receiver.settle(sent, 5)
    t.check(receiver.exact(sent), f"{receiver.result(sent)}")
    t.equal(t.module.sessions(r), [], "sessions of the router")
    stats = t.module.stats(r)
    t.equal((stats["cm_tx"], stats["query_tx_syn"], stats["query_tx_hello"]), (0, 0, 0), "CMs and questions")


@case("broadcast and multicast datagrams arrive once, unasked")
def group(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for target, options in (
        ("10.0.1.255", [(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)]),
        ("239.1.2.3", [(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(a.addr[0]))]),
    ):
        sa, sb = (h.socket(socket.AF_INET, socket.SOCK_DGRAM) for h in (a, b))
        sb.bind(("", 5555))
        if target.startswith("239"):
            member = socket.inet_aton(target) + socket.inet_aton(b.addr[0])
            sb.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sa.bind((a.addr[0], 5554))
        for level, name, value in options:
            sa.setsockopt(level, name, value)
        receiver = udpcount.Receiver(sb, 1)
        sent = udpcount.send(sa, (target, 5555), 1, 100, 300, 1000)
        receiver.settle(sent, 5)
        t.check(receiver.exact(sent), f"{target}: {receiver.result(sent)}")
        sa.close()
        sb.close()
    t.equal(t.module.stats(a)["query_tx_hello"], 0, "questions")


@case("the host's firewall and conntrack see the session only", timeout=90)
def firewall(t):
    a, b = t.two_hosts(2)
    for host, other, rule in ((b, a, "tcp dport 7000"), (a, b, "tcp sport 7000")):
        host.run(
            "nft",
            "add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }; "
            "add rule inet t c ct state invalid counter drop; "
            f"add rule inet t c ip saddr {other.addr[0]} {rule} counter accept; "
            "add rule inet t c icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; "
            "add rule inet t c counter",
        )
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    before = a.counters()
    xfer.exchange(pairs, 6 << 20, 6 << 20)
    t.reaches(min(t.shares(a, before)), 0.05, "share of the lesser path")
    for host in (a, b):
        flows = host.run("conntrack", "-L", "-p", "tcp").stdout
        t.note(flows)
        t.equal(len([line for line in flows.splitlines() if "dport=7000" in line]), 1, "flows in conntrack")
        t.check(a.addr[1] not in flows, "no added tuple in conntrack")
        rules = host.run("nft", "list", "ruleset").stdout
        t.check("invalid counter packets 0" in rules, f"nothing invalid: {rules}")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()


@case("each segment alone: connection tracking sees every byte, finds nothing invalid, and counters count all")
def tracked(t):
    a, b = t.two_hosts([Link(offload=False)] * 2)
    for host in (a, b):
        host.run(
            "nft",
            "add table inet t; add counter inet t seen; "
            "add chain inet t i { type filter hook input priority 0; }; "
            "add chain inet t o { type filter hook output priority 0; }; "
            "add rule inet t i ct state invalid counter drop; add rule inet t o ct state invalid counter drop; "
            "add rule inet t i tcp dport 7000 counter name seen",
        )
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    size = 24 << 20
    xfer.exchange(pairs, size, 0, seed=90, timeout=60)
    t.note(f"{t.module.stats(b)['coalesced']} segments appended")
    seen = int(re.search(r"bytes (\d+)", b.run("nft", "list", "counter", "inet", "t", "seen").stdout)[1])
    t.at_least(seen, size, "bytes that the counter has seen")
    xfer.exchange(pairs, 0, size, seed=92, timeout=60)
    for host in (a, b):
        rules = host.run("nft", "list", "table", "inet", "t").stdout
        t.equal(rules.count("invalid counter packets 0"), 2, f"nothing invalid: {rules}")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()


@case("a program in user space decides about each packet (NFQUEUE): both paths, every byte", timeout=90)
def user_queue(t):
    cable = Link(rate="20mbit", delay="2ms")
    a, b = t.two_hosts([cable] * 2)
    t.load(a, b)
    with UserQueue(a) as back, UserQueue(b) as there:
        for host, rule in ((b, "dport"), (a, "sport")):
            host.run(
                "nft",
                "add table inet t; add chain inet t c { type filter hook input priority 0; }; "
                f"add rule inet t c tcp {rule} 7000 ct state established queue to 0",
            )
        for version in (4, 6):
            address = (b.addr if version == 4 else b.addr6)[0]
            pairs = xfer.connect(a, b, address, 7000)
            t.spread(a, b, pairs)
            before, seen = a.counters(), back.seen + there.seen
            xfer.exchange(pairs, 2 << 20, 2 << 20)
            t.reaches(min(t.shares(a, before)), 0.1, f"IPv{version}: share of the lesser path")
            t.reaches(back.seen + there.seen - seen, 2000, f"IPv{version}: packets that were asked about")
            xfer.Traffic(pairs, 1000, 1000, seed=3).wait()


NAT = {
    "a service's address that A maps to B's": (
        "hook output priority -100",
        "ip daddr 10.9.9.9 tcp dport 80 dnat to 10.0.1.2:7000",
        ("10.9.9.9", 80),
    ),
    "another address of A for what leaves": (
        "hook postrouting priority 100",
        "oifname a1 snat to 10.0.1.9",
        ("10.0.1.2", 7000),
    ),
    "a port that B redirects": (
        "hook prerouting priority -100",
        "tcp dport 80 redirect to :7000",
        ("10.0.1.2", 80),
    ),
}


def own_nat(t, what):
    """A host translates the addresses of its own connections: nothing is found invalid, order is kept."""
    hook, rule, target = NAT[what]
    # Unequal delays: without the buffer the order would be lost all the time. No queue overflows.
    links = [Link(rate="50mbit", delay=delay, limit=3000) for delay in ("1ms", "4ms")]
    a, b = t.two_hosts(links)
    a.ip(["addr add 10.0.1.9/24 dev a1", "route add 10.9.9.9 via 10.0.1.2"])
    for host in (a, b):
        host.run(
            "nft",
            "add table inet t; add chain inet t c { type filter hook input priority 0; }; "
            "add rule inet t c ct state invalid counter drop",
        )
    (b if "redirect" in rule else a).run(
        "nft", f"add table ip n; add chain ip n c {{ type nat {hook}; }}; add rule ip n c {rule}"
    )
    t.load(a, b)
    known = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, known)
    with b.socket() as listener:
        listener.bind((b.addr[0], 7000))
        listener.listen(1)
        near = a.socket()
        near.settimeout(10)
        near.connect(target)
        pairs = [(near, listener.accept()[0])]
    xfer.exchange(pairs, 300_000, 300_000)
    before, early = b.counters(), a.snmp("TCPOFOQueue")
    xfer.exchange(pairs, 0, 10 << 20, seed=9, timeout=40)
    shares, early = t.shares(b, before), a.snmp("TCPOFOQueue") - early
    t.note(f"shares {shares}, {early} segments out of order")
    if "redirect" not in rule:
        t.reaches(min(shares), 0.1, "share of the lesser path")
    t.within(early, 100, "segments that A's TCP got too early")
    for host in (a, b):
        rules = host.run("nft", "list", "table", "inet", "t").stdout
        t.check("invalid counter packets 0" in rules, f"nothing invalid: {rules}")


for name in NAT:

    @case(f"a host's NAT of its own: {name}", timeout=90)
    def own_nat_case(t, name=name):
        own_nat(t, name)


@case("TCP MD5 signatures hold on both paths")
def md5(t):
    a, b = t.two_hosts(2)

    def sign(sock, peer):
        address = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton(peer))
        sock.setsockopt(
            socket.IPPROTO_TCP, TCP_MD5SIG, address + struct.pack("=BBHi80s", 0, 0, 6, 0, b"secret")
        )

    t.load(a, b)
    known = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, known)
    with b.socket() as listener:
        sign(listener, a.addr[0])
        listener.bind((b.addr[0], 7000))
        listener.listen(1)
        near = a.socket()
        near.settimeout(10)
        sign(near, b.addr[0])
        near.connect((b.addr[0], 7000))
        pairs = [(near, listener.accept()[0])]
    for n in range(4):
        xfer.exchange(pairs, 1 << 20, 1 << 20, seed=2 * n)
    t.equal(a.snmp("TCPMD5Failure") + b.snmp("TCPMD5Failure"), 0, "signatures that failed")
    xfer.Traffic(pairs, 1000, 1000, seed=30).wait()


@case("MPTCP works on top of MPIP", timeout=90)
def mptcp(t):
    a, b = t.two_hosts([Link(rate="40mbit", limit=300)] * 2)
    b.run("ip", "mptcp", "endpoint", "add", b.addr[1], "dev", "b2", "signal")
    for host in (a, b):
        host.run("ip", "mptcp", "limits", "set", "subflow", 2, "add_addr_accepted", 2)
    t.load(a, b)
    listener = b.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    listener.bind((b.addr[0], 7000))
    listener.listen(1)
    near = a.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    near.connect((b.addr[0], 7000))
    pairs = [(near, listener.accept()[0])]
    took = xfer.exchange(pairs, 8 << 20, 8 << 20, timeout=60)
    t.note(f"2 x 8 MiB in {took:.1f} s, {a.snmp('MPCapableSYNTX')} MP_CAPABLE")
    t.at_least(a.snmp("MPCapableSYNTX"), 1, "MPTCP connections")
    t.at_most(a.snmp("MPCapableFallbackACK") + b.snmp("MPFallbackTokenInit"), 0, "fallbacks to plain TCP")
    xfer.Traffic(pairs, 1000, 1000, seed=30).wait()


@case("what is sent into a tunnel stays in it, and the tunnel is no path for its own packets", timeout=90)
def tunnel(t):
    a, b = t.two_hosts([Link(rate="50mbit", delay="1ms", limit=300)] * 2)
    wireguard.join(a, b)
    t.load(a, b)
    captures = [Capture(b, dev, "tcp") for dev in b.dev]
    pairs = xfer.connect(a, b, wireguard.ADDRESSES[1], 7000)
    # Hosts that know each other by the addresses outside, too, and use both links for those.
    known = xfer.connect(a, b, b.addr[0], 7001)
    t.spread(a, b, known)
    xfer.exchange(pairs, 4 << 20, 4 << 20)
    a.ip(["link set wg0 down"])
    inside = xfer.Traffic(pairs, 100_000, 0, seed=3, timeout=30)
    xfer.exchange(known, 200_000, 200_000, seed=5)
    a.ip(["link set wg0 up"])
    inside.wait()
    leaked = [p for c in captures for p in c.stop() if 7000 in (p.sport, p.dport)]
    t.equal(len(leaked), 0, "segments of the connection outside the tunnel")
    for host in (a, b):
        for session in t.module.sessions(host, 7000):
            t.equal(len(session["lane"]), 1, "lanes of the session inside")
        t.equal([p for p in t.module.paths(host) if p["dev"] == "wg0" and p["local"] not in wireguard.ADDRESSES], [], "paths")
        stats = t.module.stats(host)
        t.equal(stats.get("lane_refused_tunnel", 0), 0, "lanes that were asked for all the same")
    (outer,) = [s for s in t.module.sessions(a, protocol=17) if s["local"]["port"] == 51820]
    t.check(all(lane["local"]["addr"] in a.addr for lane in outer["lane"]), f"lanes of the tunnel: {outer['lane']}")


@case("a reverse-path filter of the raw table: both paths are used, IPv6")
def way_back(t):
    a, b = t.two_hosts(2)
    for host in (a, b):
        host.run(
            "nft",
            "add table inet f; add chain inet f c { type filter hook prerouting priority raw + 10; }; "
            "add rule inet f c meta nfproto ipv6 fib saddr . iif oif missing counter drop",
        )
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr6[0])
    t.spread(a, b, pairs)
    before = a.counters()
    xfer.exchange(pairs, 4 << 20, 4 << 20)
    t.reaches(min(t.shares(a, before)), 0.05, "share of the lesser path")
    dropped = [line for host in (a, b) for line in host.run("nft", "list", "table", "inet", "f").stdout.splitlines()]
    t.check(all("packets 0" in line for line in dropped if "counter" in line), f"nothing was dropped: {dropped}")
