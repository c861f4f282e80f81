# SPDX-License-Identifier: GPL-2.0
"""A peer without the module: gets every byte and datagram exactly once and notices nothing.

hA has the module on, in hB it was never enabled. What arrives is judged by a
capture at B and by B's own sockets.
"""

import random

from lib import Failure, Link, case
from lib.packet import SYN, TCP, UDP, Capture
from tools import rawcheck, udpcount, xfer

# Slow enough for a capture without gaps.
LINKS = [Link(rate="50mbit", limit=500)] * 2


def family_of(hosts, family):
    return [(h.addr if family == 4 else h.addr6)[0] for h in hosts]


def threshold(t, host):
    """How many unanswered questions are allowed."""
    return t.module.params(host)["query_threshold"]["value"]


def unavailable(t, host, address):
    """Whether the availability table says that an address does not speak MPIP."""
    rows = [row for row in t.module.show(host, "avail") if row["addr"] == address]
    return bool(rows) and all(row["availability"] == "unavailable" for row in rows)


def becomes_unavailable(t, host, address, speak):
    """The table learns it while the hosts go on speaking: a question needs a packet."""

    def learnt():
        speak()
        return unavailable(t, host, address)

    t.wait(learnt, 20, f"{address} to count as unable: {t.module.show(host, 'avail')}")


def tcp(t, family):
    a, b = t.two_hosts(LINKS)
    x, y = family_of((a, b), family)
    capture = Capture(b, "b1", "tcp")
    xfer.transfer(a, b, y, 1000, 1000, port=6999)
    plain = next(p for p in capture.stop() if p.flags & SYN and p.src == x)

    t.load(a)
    limit = threshold(t, a)
    capture, other = Capture(b, "b1"), Capture(b, "b2")
    ends = []
    rest = 3
    # The waits between questions double: until all are asked, and some more.
    while rest:
        n = len(ends)
        t.at_most(n, 40, "connections until all questions are asked")
        pairs = xfer.connect(a, b, y, 7000)
        ends.append(pairs[0][0].getsockname()[1])
        size = 2 << 20 if n == 0 else 20000
        xfer.exchange(pairs, size, size, seed=2 * n)
        xfer.exchange(pairs, 5000, 5000, seed=500 + 2 * n)
        # This one ends with a FIN: bytes behind the last one would be noticed.
        xfer.Traffic(pairs, 3000, 3000, seed=900 + 2 * n).wait()
        xfer.close(pairs)
        stats = t.module.stats(a)
        rest -= stats["query_tx_syn"] + stats["query_tx_hello"] >= limit
    packets, elsewhere = capture.stop(), other.stop()

    asked = []
    for n, port in enumerate(ends):
        size = 2 << 20 if n == 0 else 20000
        seeds = 2 * n, 500 + 2 * n, 900 + 2 * n
        for tup, extra in (((x, port, y, 7000), 0), ((y, 7000, x, port), 1)):
            stream = b"".join(xfer.Source(s + extra).read(c) for s, c in zip(seeds, (size, 5000, 3000)))
            account = rawcheck.check_tcp(packets, tup, stream)
            t.equal(account.wrong[:3], [], f"foreign bytes on {tup}")
            t.equal(account.covered, len(stream), f"bytes of the stream on {tup}")
            if extra:
                t.equal((account.asked, account.carriers), (0, 0), "what B itself sends of MPIP")
            else:
                asked.append((account.asked, account.carriers))
    questions = sum(map(sum, asked))
    t.note(f"{questions} questions (by SYN and by carrier: {asked}), {len(packets)} packets")
    t.at_least(questions, 1, "questions asked")
    t.at_most(questions, limit, "questions asked")
    t.equal([p.tuple for p in elsewhere if p.protocol in (TCP, UDP)], [], "packets on the other link")

    syns = [p for p in packets if p.flags & SYN and p.src == x]
    for syn in syns:
        kinds = set(syn.options) - {253}
        t.equal(kinds, set(plain.options), "options of a SYN besides the question")
        for kind in kinds - {8}:
            t.equal(syn.options[kind], plain.options[kind], f"option {kind} of a SYN")
    t.check(253 not in syns[-1].options, "the last SYN asks no more")
    becomes_unavailable(t, a, y, lambda: xfer.transfer(a, b, y, 1000, 1000, port=7000))
    t.equal([s for s in t.module.sessions(a, 7000) if s["state"] == "open"], [], "sessions")


@case("TCP, IPv4: streams untouched, questions within the threshold", timeout=120)
def tcp4(t):
    tcp(t, 4)


@case("TCP, IPv6: streams untouched, questions within the threshold", timeout=120)
def tcp6(t):
    tcp(t, 6)


def tcp_open_before(t, family):
    a, b = t.two_hosts(LINKS)
    x, y = family_of((a, b), family)
    capture = Capture(b, "b1", "tcp")
    pairs = xfer.connect(a, b, y, 7000)
    port = pairs[0][0].getsockname()[1]
    xfer.exchange(pairs, 50000, 50000, seed=10)
    t.load(a)
    xfer.exchange(pairs, 2 << 20, 2 << 20, seed=20)
    said = [(10, 50000), (20, 2 << 20)]

    def speak():
        said.append((said[-1][0] + 10, 700))
        xfer.exchange(pairs, 700, 700, seed=said[-1][0])

    becomes_unavailable(t, a, y, speak)
    for _ in range(10):
        speak()
    said.append((5, 30000))
    xfer.Traffic(pairs, 30000, 30000, seed=5).wait()
    packets = capture.stop()
    for tup, extra in (((x, port, y, 7000), 0), ((y, 7000, x, port), 1)):
        stream = b"".join(xfer.Source(s + extra).read(c) for s, c in said)
        account = rawcheck.check_tcp(packets, tup, stream)
        t.equal(account.wrong[:3], [], f"foreign bytes on {tup}")
        t.equal(account.covered, len(stream), f"bytes of the stream on {tup}")
        if not extra:
            t.note(f"{account.carriers} questions")
            t.at_least(account.carriers, 1, "questions asked")
            t.at_most(account.carriers, threshold(t, a), "questions asked")


@case("TCP session open before insmod, IPv4: stream untouched", timeout=120)
def before4(t):
    tcp_open_before(t, 4)


@case("TCP session open before insmod, IPv6: stream untouched", timeout=120)
def before6(t):
    tcp_open_before(t, 6)


def udp(t, family, load_first):
    a, b = t.two_hosts(LINKS)
    x, y = family_of((a, b), family)
    # B's conntrack must find every checksum right, with the surplus and without.
    b.run(
        "nft",
        "add table inet t; add chain inet t c { type filter hook input priority 0; }; "
        "add rule inet t c ct state invalid counter drop",
    )
    capture = Capture(b, "b1", "udp")
    sa, sb = udpcount.pair(a, b, x, y)
    total = 1200
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    if load_first:
        t.load(a)
        first = 0
    else:
        first = udpcount.send(sa, None, 1, 200, (10, 1400), 400)
        udpcount.send(sb, None, 2, 200, (10, 1400), 400)
        t.load(a)
    limit = threshold(t, a)
    there = udpcount.Sender(sa, None, 1, total - first, (10, 1400), 400, first)
    back = udpcount.Sender(sb, None, 2, total - first, (10, 1400), 400, first)
    there.wait()
    back.wait()
    for receiver, who in ((at_b, "B"), (at_a, "A")):
        receiver.settle(total, 10)
        t.check(receiver.exact(total), f"exactly once at {who}: {receiver.result(total)}")
    packets = capture.stop()
    expected = set()
    for number in (first, 0):
        dice = random.Random(1)
        count = total - first if number else first or total
        expected |= {udpcount.payload(1, number + n, dice.randint(10, 1400)) for n in range(count)}
    account = rawcheck.check_udp(packets, (x, 5001, y, 5002), expected)
    t.equal(account.wrong[:3], [], "foreign datagrams")
    t.equal(account.segments, total, "datagrams on the cable")
    t.note(f"{account.surplus} questions")
    t.at_least(account.surplus, 1, "questions asked")
    t.at_most(account.surplus, limit, "questions asked")
    t.equal(
        [p.tuple for p in packets if p.protocol == UDP and p.sport not in (5001, 5002)],
        [],
        "datagrams of others",
    )
    dropped = b.run("nft", "list", "ruleset").stdout
    t.check("packets 0 bytes 0" in dropped, f"conntrack finds nothing invalid: {dropped}")
    becomes_unavailable(t, a, y, lambda: sa.send(b"more"))


@case("UDP, IPv4: each datagram once, as it was, questions neutral and few")
def udp4(t):
    udp(t, 4, True)


@case("UDP, IPv6: each datagram once, as it was, questions neutral and few")
def udp6(t):
    udp(t, 6, True)


@case("UDP session open before insmod, IPv4: each datagram once, as it was")
def udp_before4(t):
    udp(t, 4, False)


@case("UDP session open before insmod, IPv6: each datagram once, as it was")
def udp_before6(t):
    udp(t, 6, False)


@case("UDP: no room behind any datagram: few questions of their own, which the plain host drops")
def udp_no_room(t):
    a, b = t.two_hosts(LINKS)
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    capture = Capture(b, "b1", "udp")
    t.load(a)
    limit = threshold(t, a)
    at_b = udpcount.Receiver(sb, 1)
    udpcount.Sender(sa, None, 1, 400, 1472, 200).wait()
    at_b.settle(400, 10)
    t.check(at_b.exact(400), f"exactly once: {at_b.result(400)}")
    asked = [p for p in capture.stop() if p.dport == 5002 and not p.payload]
    t.at_least(len(asked), 1, "questions asked")
    t.at_most(len(asked), limit, "questions asked")
    wrong = b.run("nstat", "-asz", "UdpInCsumErrors").stdout.split()
    t.equal(int(wrong[wrong.index("UdpInCsumErrors") + 1]), len(asked), "datagrams the plain host found wrong")


@case("a peer that drops SYNs with the option: the next one goes without, and it is remembered")
def drops_option(t):
    a, b = t.two_hosts(1)
    b.run(
        "nft",
        "add table inet t; add chain inet t c { type filter hook prerouting priority -350; }; "
        "add rule inet t c tcp option 253 exists counter drop",
    )
    t.load(a)
    took = xfer.transfer(a, b, b.addr[0], 100000, 100000)
    dropped = b.run("nft", "list", "ruleset").stdout
    t.check("packets 0 bytes 0" not in dropped, f"the first SYN asked: {dropped}")
    t.within(took, 8, "seconds")
    capture = Capture(b, "b1", "tcp")
    xfer.transfer(a, b, b.addr[0], 100000, 100000)
    syns = [p for p in capture.stop() if p.flags & SYN and p.dst == b.addr[0]]
    t.equal(len(syns), 1, "SYNs of the next connection")


@case("a stranger calls: its SYN is answered as ever, both ways exact")
def stranger_calls(t):
    a, b = t.two_hosts(LINKS)
    t.load(a)
    capture = Capture(b, "b1", "tcp")
    for _ in range(3):
        pairs = xfer.connect(b, a, a.addr[0], 7000)
        xfer.exchange(pairs, 100000, 100000)
        xfer.Traffic(pairs, 1000, 1000, seed=5).wait()
        xfer.close(pairs)
    packets = capture.stop()
    t.equal(
        [p.options for p in packets if p.flags & SYN and 253 in p.options],
        [],
        "SYN-ACKs with an option nobody asked for",
    )


@case("ask=nobody: not one question; ask=listed: only the listed")
def ask(t):
    a, b = t.two_hosts(2)
    t.load(a)
    t.module.set(a, ask="nobody")
    xfer.transfer(a, b, b.addr[0], 100000, 100000)
    t.module.set(a, ask="listed")
    t.module.ctl(a, "ask", "add", f"{b.addr[1]}/32")
    xfer.transfer(a, b, b.addr[0], 100000, 100000)
    stats = t.module.stats(a)
    t.equal(stats["query_tx_syn"] + stats["query_tx_hello"], 0, "questions to the unlisted")
    xfer.transfer(a, b, b.addr[1], 100000, 100000)
    stats = t.module.stats(a)
    t.at_least(stats["query_tx_syn"] + stats["query_tx_hello"], 1, "questions to the listed")


@case("a negative answer ages out: a peer that gets the module later is found")
def ages_out(t):
    a, b = t.two_hosts(2)
    t.load(a)
    t.module.set(a, negative_ttl="3s")
    becomes_unavailable(t, a, b.addr[0], lambda: xfer.transfer(a, b, b.addr[0], 3000, 3000, port=7000))
    t.module.enable(b)

    def joined():
        pairs = xfer.connect(a, b, b.addr[0], 7000)
        try:
            t.spread(a, b, pairs, timeout=2)
        except Failure:
            return False
        finally:
            xfer.close(pairs)
        return True

    t.soon(joined, 40, "a session with B")
