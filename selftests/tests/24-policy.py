# SPDX-License-Identifier: GPL-2.0
"""Rules say which packets take which paths, and a change of them acts on live sessions.

All rules are A's: they are for what A sends.
"""

import itertools
import os
import socket
import tempfile
import time

from lib import Link, active, case
from lib.process import command
from lib.packet import TCP, Capture, asks, parse_cm
from tools import flow, udpcount, xfer

NEAR, FAR = Link(rate="20mbit", delay="5ms"), Link(rate="20mbit", delay="40ms")
NOISE = 2.5
UDP_SEGMENT = 103
MOVE = 0.300  # seconds in which a session has to move when its path falls silent


def rule(t, host, words):
    """Add a rule."""
    t.module.ctl(host, "rule", "add", *words.split())


def rules(t, host):
    """All rules of a host."""
    return t.module.show(host, "rule")


def session_of(t, host, port, protocol):
    """The one session that uses a port."""
    found = t.module.sessions(host, port, protocol)
    return found[0] if found else {"lane": [], "rule": []}


def lanes_on(t, host, link, port, protocol):
    """A session's lanes on the host's link with this number: the original one may have got another beside it."""
    lanes = session_of(t, host, port, protocol)["lane"]
    return [lane for lane in lanes if lane["local"]["addr"] == host.addr[link]]


def sent_by(t, host, port, protocol):
    """Bytes that a session has sent on each link."""
    links = [lanes_on(t, host, n, port, protocol) for n in range(len(host.addr))]
    return [sum(lane["tx_bytes"] for lane in lanes) for lanes in links]


def during(t, host, port, protocol, seconds):
    """What part of the bytes of this time a session sends on each link."""
    before = sent_by(t, host, port, protocol)
    time.sleep(seconds)
    grown = [now - then for now, then in zip(sent_by(t, host, port, protocol), before)]
    t.check(sum(grown) > 0, "nothing was sent")
    return [part / sum(grown) for part in grown]


def both_ends(t, a, b, port, protocol, lanes=2):
    """Wait until a session has so many lanes that may carry data at both ends."""

    def ready():
        views = [session_of(t, host, port, protocol)["lane"] for host in (a, b)]
        return all(sum(lane["state"] in ("active", "standby") for lane in view) >= lanes for view in views)

    t.soon(ready, 20, f"a session with {lanes} lanes")
    for path in range(lanes):
        t.soon(lambda n=path: t.module.paths(a)[n].get("srtt_us"), 10, "its paths to be measured")


def udp(t, a, b, rate, size, ports=(5001, 5002)):
    """A flow of datagrams from A to B over both links."""
    stream = flow.Udp(udpcount.pair(a, b, a.addr[0], b.addr[0], *ports), rate, size)
    t.defer(stream.close)
    both_ends(t, a, b, ports[1], 17)
    return stream


def tcp(t, a, b, rate=500_000, port=7000):
    """A stream from A to B over both links."""
    pairs = xfer.connect(a, b, b.addr[0], port)
    stream = flow.Tcp(pairs[0], rate)
    t.defer(stream.close)
    both_ends(t, a, b, port, 6)
    return stream


def shared_evenly(t, host):
    """Equal links get equal parts, whatever a busy machine makes of their queues."""
    t.module.set(host, scheduler="weighted", weight_step=1)


def reason(t, host, link, port, protocol):
    """Why none of the lanes on a link is used; None if one is."""
    reasons = [lane.get("unused") for lane in lanes_on(t, host, link, port, protocol) if lane["state"] != "gone"]
    if not all(reasons):
        return None
    return next((why for why in reasons if why != "replaced"), None)


@case("priority latency keeps to the near path while another session uses both")
def latency(t):
    a, b, _ = t.switched([FAR, NEAR])
    t.load(a, b)
    rule(t, a, "port 5002 proto udp priority latency")
    audio = udp(t, a, b, 100, 200)
    t.equal(session_of(t, a, 5002, 17)["rule"], [1], "rules of the session")
    time.sleep(0.5)
    shares = during(t, a, 5002, 17, 1.5)
    t.note(f"audio: shares of the far and the near path {shares}")
    t.within(shares[0], 0.02, "share of the far path")
    video = udp(t, a, b, 3000, 1000, (5003, 5004))  # 24 Mbit/s: more than one link carries
    shares = during(t, a, 5004, 17, 1.5)
    t.note(f"video: {shares}")
    # What the near path does not carry.
    t.reaches(min(shares), 0.08, "share of the lesser path, without a rule")
    t.equal(session_of(t, a, 5004, 17)["rule"], [], "rules of the session without one")
    for stream in (audio, video):
        stream.stop()


@case("Table 6 of the paper: small packets by the near path, large ones as ever")
def table_6(t):
    a, b, _ = t.switched([FAR, NEAR])
    t.load(a, b)
    rule(t, a, "dst * port 22 proto TCP size 0-200 priority latency")
    rule(t, a, f"dst {b.addr[0]} port 5222 proto UDP size 200-* priority throughput")
    rule(t, a, f"dst {b.addr[0]} port 5221 proto UDP size 0-500 priority latency")
    got = [r["priority"] for r in rules(t, a)]
    t.equal(got, ["latency", "throughput", "latency"], "priorities")
    sizes = [(r.get("size_min"), r.get("size_max")) for r in rules(t, a)]
    t.equal(sizes, [(0, 200), (200, 65535), (0, 500)], "sizes")
    small = udp(t, a, b, 100, 400, (5001, 5221))
    time.sleep(0.5)
    shares = during(t, a, 5221, 17, 1)
    small.stop()
    small.close()
    t.within(shares[0], 0.02, "share of the far path, small packets")
    t.equal(session_of(t, a, 5221, 17)["rule"], [3], "rules of the session")
    large = udp(t, a, b, 3000, 1000, (5003, 5221))
    shares = during(t, a, 5003, 17, 1.5)
    large.stop()
    t.reaches(min(shares), 0.08, "share of the lesser path, large packets")


@case("mode single: the nearest path alone; it moves when that falls silent, and back; exact", timeout=90)
def single(t):
    a, b, wires = t.switched([FAR, NEAR])
    t.load(a, b)
    rule(t, a, "port 7000 mode single")
    stream = tcp(t, a, b)
    t.soon(lambda: reason(t, a, 0, 7000, 6) == "not-chosen", 10, "the far path to be kept back")
    states = {lane["state"] for lane in lanes_on(t, a, 0, 7000, 6)}
    t.check("standby" in states, f"states of the lanes that are kept back: {states}")
    shares = during(t, a, 7000, 6, 1)
    t.within(shares[0], 0.02, "share of the far path")
    calm = stream.gap(time.monotonic() - 0.5, time.monotonic())[0]
    gone = wires[1].silence()
    time.sleep(1.5)
    back = wires[1].heal()
    gap, _ = stream.gap(gone - 0.05, back)
    t.note(f"longest gap {gap * 1e3:.0f} ms, undisturbed {calm * 1e3:.0f} ms")
    t.soon(lambda: reason(t, a, 0, 7000, 6) == "not-chosen", 10, "the session to move back")
    wires[1].pull()
    t.soon(lambda: not reason(t, a, 0, 7000, 6), 5, "the far path to take over")
    got = stream.got()
    t.wait(lambda: stream.got() - got > 200_000, 10, "data over the far path")
    wires[1].plug()
    t.note(f"{stream.stop() >> 10} KiB, exact")
    t.within(round(gap, 3), round(MOVE * NOISE + calm, 3), "longest gap, s")


@case("mode selected leaves out a path 200 ms worse and takes it back when it recovers", timeout=90)
def selected(t):
    a, b, wires = t.switched([NEAR, NEAR])
    t.load(a, b)
    shared_evenly(t, a)
    rule(t, a, "port 5002 mode selected delay 100ms")
    stream = udp(t, a, b, 400, 500)
    shares = during(t, a, 5002, 17, 1)
    t.note(f"shares while both are good {shares}")
    t.reaches(min(shares), 0.2, "share of the lesser path")
    wires[1].link = Link(rate="20mbit", delay="205ms", back=NEAR)
    start = wires[1].dress()
    t.soon(lambda: reason(t, a, 1, 5002, 17) == "limits", 10, "the path to be left out")
    t.note(f"left out after {time.monotonic() - start:.1f} s")
    time.sleep(0.3)
    shares = during(t, a, 5002, 17, 1)
    t.within(shares[1], 0.02, "share of the path that is too slow")
    wires[1].link = NEAR
    start = wires[1].dress()
    t.soon(lambda: not reason(t, a, 1, 5002, 17), 20, "the path to be taken back")
    t.note(f"taken back after {time.monotonic() - start:.1f} s")
    time.sleep(0.3)
    shares = during(t, a, 5002, 17, 1)
    t.reaches(min(shares), 0.2, "share of the lesser path")
    stream.stop()


@case("a set of interfaces is kept to while one of them works")
def interfaces(t):
    a, b, wires = t.switched(2)
    t.load(a, b)
    shared_evenly(t, a)
    rule(t, a, f"port 7000 dev {a.dev[1]}")
    t.equal(rules(t, a)[0]["dev"], [a.dev[1]], "interfaces of the rule")
    stream = tcp(t, a, b)
    shares = during(t, a, 7000, 6, 1)
    t.equal(shares, [0, 1], "shares")
    t.equal(reason(t, a, 0, 7000, 6), "interface", "why the other lane is not used")
    wires[1].pull()
    got = stream.got()
    t.wait(lambda: stream.got() - got > 200_000, 10, "data over the other interface when it is the only one")
    wires[1].plug()
    t.soon(lambda: during(t, a, 7000, 6, 0.5) == [0, 1], 10, "the interface of the rule to be used again")
    stream.stop()


@case("mode protected: with 5 % loss on both paths TCP hardly repeats; a failure makes no gap; exact", timeout=90)
def protected(t):
    a, b, wires = t.switched([NEAR, Link(rate="20mbit", delay="10ms")])
    t.load(a, b)
    rule(t, a, "port 7000 proto tcp mode protected")
    stream = tcp(t, a, b, 300_000)
    before, start = t.module.stats(a), stream.sent()
    time.sleep(1)
    for wire in wires:
        wire.dress(0.05)
    repeated = a.snmp("RetransSegs")
    first = time.monotonic()
    time.sleep(4)
    repeated = a.snmp("RetransSegs") - repeated
    sent = (stream.sent() - start) / 1448
    gap, _ = stream.gap(first, time.monotonic())
    copies = t.module.stats(a)["tx_copy"] - before["tx_copy"]
    t.note(f"about {sent:.0f} segments, {copies} packets copied, {repeated} repeated by TCP, longest gap {gap * 1e3:.0f} ms")
    t.at_least(copies, sent / 20, "copies; bursts are copied whole")
    t.within(repeated, 0.02 * sent, "segments that TCP had to repeat, of which a twentieth was lost on each path")
    for wire in wires:
        wire.heal()
    time.sleep(0.5)
    calm = stream.gap(time.monotonic() - 0.5, time.monotonic())[0]
    gone = wires[0].silence()
    time.sleep(1)
    back = wires[0].heal()
    gap, _ = stream.gap(gone, back)
    t.note(f"longest gap when a path falls silent {gap * 1e3:.0f} ms, undisturbed {calm * 1e3:.0f} ms")
    t.within(round(gap, 3), round(0.1 + calm, 3), "longest gap, s")
    t.note(f"{stream.stop() >> 10} KiB, exact")


@case("mode protected: one path's queue refuses everything, the other one carries it")
def protected_refused(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    rule(t, a, "port 7000 proto tcp mode protected")
    pairs = [(near, far)] = xfer.connect(a, b, b.addr[0], 7000)
    t.spread(a, b, pairs)
    for dev, cm in itertools.product(a.dev, ("adaptive", "every")):
        t.module.set(a, cm=cm)
        a.tc([f"qdisc replace dev {dev} root netem limit 0"])
        # TCP takes no acknowledgment of what it was told has not been sent.
        for number in range(3):
            data = xfer.Source(number).read(3000)
            near.sendall(data)
            t.check(xfer.receive(far, len(data), 5) == data, f"the data while {dev} refuses, cm {cm}")
        a.tc([f"qdisc del dev {dev} root"])
    xfer.exchange(pairs, 200_000, 200_000)


@case("mode protected: a rule for small packets has acknowledgements copied, and TCP takes none for a loss")
def protected_acks(t):
    a, b, _ = t.switched([NEAR, Link(rate="20mbit", delay="10ms")])
    t.load(a, b)
    rule(t, b, "sport 7000 proto tcp size 0-100 mode protected")
    stream = tcp(t, a, b, 500_000)
    copied, repeated = t.module.stats(b)["tx_copy"], a.snmp("RetransSegs")
    acks = rules(t, b)[0]["hits"]
    time.sleep(2)
    copied, repeated = t.module.stats(b)["tx_copy"] - copied, a.snmp("RetransSegs") - repeated
    acks = rules(t, b)[0]["hits"] - acks
    t.note(f"{acks} acknowledgements, {copied} copies, {repeated} segments repeated")
    t.at_least(acks, 20, "acknowledgements")
    t.at_least(copied, 0.9 * acks, "copies")
    t.within(repeated, 5, "segments repeated")
    t.note(f"{stream.stop() >> 10} KiB, exact")


@case("mode protected: of datagrams the first copy counts: hardly any is lost, none comes twice, a failure makes no gap", timeout=90)
def protected_datagrams(t):
    a, b, wires = t.switched([NEAR, Link(rate="20mbit", delay="10ms")])
    t.load(a, b)
    rule(t, a, "port 5002 mode protected")
    stream = udp(t, a, b, 1500, 500)
    before = t.module.stats(b)
    for wire in wires:
        wire.dress(0.05)
    first = time.monotonic()
    time.sleep(6)
    last = time.monotonic()
    for wire in wires:
        wire.heal()
    time.sleep(0.5)
    copies = t.module.stats(b)["rx_copy"] - before["rx_copy"]
    calm = stream.gap(time.monotonic() - 0.5, time.monotonic())[0]
    gone = wires[0].silence()
    time.sleep(1)
    back = wires[0].heal()
    gap, _ = stream.gap(gone, back)
    time.sleep(0.3)
    stream.stop()  # none came twice
    sent = sum(first <= when < last for when in stream.went.times())
    missing = stream.missing()
    lost = sum(first <= when < last for _, when in missing)
    t.note(f"{sent} datagrams, {lost} lost, {copies} copies not delivered; longest gap {gap * 1e3:.0f} ms, undisturbed {calm * 1e3:.0f} ms")
    t.at_least(copies, sent / 2, "copies that were not delivered")
    t.check(lost <= 0.02 * sent, f"{lost} of {sent} lost, of which a twentieth was lost on each path")
    t.within(round(lost / sent, 5), 0.004, "part that was lost")
    t.lost_only(missing, [(0, last + 0.2, last + 0.2)])
    t.within(round(gap, 3), round(0.1 * NOISE + 2 * calm, 3), "longest gap, s")


@case("mode protected: a copy that was damaged on the way does not cost the good one")
def protected_damage(t):
    # The damaged ones come first, on the session's own tuple, with their number intact more often than not.
    a, b = t.two_hosts([Link(delay="1ms", netem="corrupt 10%"), Link(delay="8ms")])
    # The link's address may be damaged to that of a group; real links have checksums against that.
    b.sysctl("net/ipv4/conf/all/drop_unicast_in_l2_multicast", 1)
    t.load(a, b)
    rule(t, a, "port 5002 mode protected")
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    early = udpcount.Sender(sockets[0], None, 9, None, 100, 200)
    t.defer(early.finish)
    both_ends(t, a, b, 5002, 17)
    early.finish()
    receiver = udpcount.Receiver(sockets[1], 1)
    udpcount.send(sockets[0], None, 1, 2000, 700, 1000)
    receiver.settle(2000, 10)
    result = receiver.result(2000)
    t.equal((result["missing"], result["duplicate"]), (0, 0), f"missing and twice: {result}")
    t.at_least(t.module.stats(b)["rx_bad_checksum"], 20, "damaged datagrams whose number was not taken in")


@case("mode protected: numbers in made-up TCP and for bursts; what leaves no room goes once")
def protected_bursts(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, encap="tcp")
    rule(t, a, "proto udp mode protected")
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    receiver = udpcount.Receiver(sockets[1], 1)
    sender = udpcount.Sender(sockets[0], None, 1, None, 500, 200)
    t.defer(sender.finish)
    both_ends(t, a, b, 5002, 17)
    t.soon(lambda: t.module.stats(b)["rx_copy"] > 20, 10, "copies")
    sent = sender.finish()
    before, size = [t.module.stats(host) for host in (a, b)], 400
    sockets[0].setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    for burst in range(20):
        pieces = [udpcount.payload(1, sent + n, size) for n in range(10)]
        # The last one is shorter.
        pieces.append(udpcount.payload(1, sent + 10, 100 + burst))
        sockets[0].send(b"".join(pieces))
        sent += len(pieces)
    sockets[0].setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    t.wait(lambda: t.module.stats(b)["rx_copy"] - before[1]["rx_copy"] == 220, 10, "all copies of the bursts")
    for _ in range(10):
        sockets[0].send(udpcount.payload(1, sent, 1472))
        sent += 1
    receiver.settle(sent, 10)
    after = t.module.stats(a)
    t.check(receiver.exact(sent), f"datagrams: {receiver.result(sent)}")
    t.equal(after["number_no_room"] - before[0]["number_no_room"], 10, "datagrams without room for a number")
    t.equal(after["tx_copy"] - before[0]["tx_copy"], 20, "copies of bursts sent")


def out_of_order(stream, start, end):
    """How many datagrams came between two times, and how many of these after one with a higher number."""
    numbers = [n for when, n in zip(stream.came.times(), stream.came.whats()) if start <= when < end]
    highest, late = -1, 0
    for number in numbers:
        late += number < highest
        highest = max(highest, number)
    return len(numbers), late


@case("ordered: over 8 and 2 Mbit/s, 10 and 100 ms, datagrams come in order and no fewer; losses hold up nothing", timeout=90)
def ordered(t):
    a, b, wires = t.switched([Link(rate="8mbit", delay="10ms"), Link(rate="2mbit", delay="100ms")])
    t.load(a, b)
    stream = udp(t, a, b, 820, 1400)  # 94 % of what both links carry

    def span(seconds):
        time.sleep(0.5)
        start = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        came, late = out_of_order(stream, start, end)
        return came / (end - start), late / came

    plain = span(2)
    rule(t, a, "port 5002 ordered on")
    before = t.module.stats(b)
    in_order = span(3)
    t.note(f"datagrams a second, part out of order: without {plain}, with the rule {in_order}")
    shares = during(t, a, 5002, 17, 0.5)
    for wire in wires:
        wire.dress(0.01)
    lossy = span(2)
    after = t.module.stats(b)
    grown = {name: after[name] - before[name] for name in after if name.startswith("reorder_")}
    t.note(f"with a loss of 1 % on both: {lossy}; shares {shares}; {grown}")
    t.at_least(plain[1], 0.02, "part out of order without the rule")
    t.reaches(min(shares), 0.1, "share of the lesser path")
    t.at_least(grown["reorder_lost"], 5, "losses that were told of")
    t.within(in_order[1], 0.001, "part out of order")
    t.reaches(in_order[0], 0.97 * plain[0], "datagrams a second")
    # What was believed lost and comes after all is delivered late.
    t.within(lossy[1], 0.003, "part out of order, with losses")
    for wire in wires:
        wire.heal()
    stream.stop()


@case("mode protected and ordered over IPv6, both directions: each datagram once and in order")
def both_over_ipv6(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        rule(t, host, "proto udp mode protected ordered on")
    sockets = udpcount.pair(a, b, a.addr6[0], b.addr6[0])
    receivers = [udpcount.Receiver(sockets[n], 2 - n) for n in (0, 1)]
    senders = [udpcount.Sender(sockets[n], None, n + 1, None, (30, 1400), 300) for n in (0, 1)]
    for sender in senders:
        t.defer(sender.finish)
    both_ends(t, a, b, 5002, 17)
    for host in (a, b):
        t.soon(lambda h=host: t.module.stats(h)["rx_copy"] > 200, 15, f"copies at {host}")
    sent = [sender.finish() for sender in senders]
    for receiver, want in zip(receivers, reversed(sent)):
        receiver.settle(want, 10)
        t.check(receiver.exact(want), f"datagrams: {receiver.result(want)}")
        t.within(receiver.reordered, 0.001 * want, "datagrams out of order")


def unlike_plain(packets, source):
    """What of a host's packets no plain host sends."""
    own = [p for p in packets if p.src == source]
    return [p for p in own if p.surplus or asks(p) or p.protocol == TCP and parse_cm(p.payload)]


@case("mode never: packets as without MPIP, no session, no question asked or answered", timeout=90)
def never(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    rule(t, a, "mode never")
    capture = Capture(b, b.dev[0], "tcp or udp")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    xfer.exchange(pairs, 200_000, 200_000)
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    receiver = udpcount.Receiver(sockets[1], 1)
    # B would ask after two seconds, or with its third datagram.
    sent = udpcount.Sender(sockets[0], None, 1, 300, 300, 100).wait()
    udpcount.Sender(sockets[1], None, 2, 10, 300, 100).wait()
    receiver.settle(sent, 10)
    t.check(receiver.exact(sent), f"datagrams: {receiver.result(sent)}")
    xfer.exchange(pairs, 200_000, 200_000, seed=3)
    packets = capture.stop()
    t.at_least(len(packets), 310, "packets seen")
    t.equal([str(p) for p in unlike_plain(packets, a.addr[0])], [], "packets that a plain host does not send")
    udp_sizes = {len(p.payload) for p in packets if p.src == a.addr[0] and p.protocol == 17}
    t.equal(udp_sizes, {300}, "lengths of datagrams")
    for host in (a, b):
        t.equal(t.module.sessions(host), [], f"sessions of {host}")
    stats = t.module.stats(a)
    t.equal(stats["query_tx_syn"] + stats["query_tx_hello"], 0, "questions")
    t.at_least(rules(t, a)[0]["hits"], 2, "hits")
    t.module.ctl(a, "rule", "flush")
    t.spread(a, b, pairs)


@case("a change of the rules acts on a live session at once", timeout=90)
def live(t):
    a, b, _ = t.switched([NEAR, NEAR])
    t.load(a, b)
    shared_evenly(t, a)
    stream = tcp(t, a, b)
    t.reaches(min(during(t, a, 7000, 6, 1)), 0.2, "share of the lesser path, without rules")
    for words in ("mode never", f"dev {a.dev[1]}", "mode single"):
        rule(t, a, f"number 1 port 7000 {words}")
        t.equal(session_of(t, a, 7000, 6)["rule"], [1], "rules of the session")
        # What was in TCP's hands when the rule changed has gone.
        time.sleep(0.1)
        if words == "mode single":
            t.soon(lambda: min(during(t, a, 7000, 6, 0.5)) < 0.02, 5, "one path to be kept back")
        else:
            t.equal(during(t, a, 7000, 6, 0.7), [0, 1] if "dev" in words else [1, 0], f"shares with {words}")
    # The rule at the front goes, and the one behind it counts.
    t.module.ctl(a, "rule", "delete", 1)
    time.sleep(0.1)
    t.equal(during(t, a, 7000, 6, 0.5), [0, 1], "shares when the first rule has gone")
    t.module.ctl(a, "rule", "flush")
    t.soon(lambda: min(during(t, a, 7000, 6, 0.5)) > 0.2, 5, "both paths to be used again")
    t.equal(session_of(t, a, 7000, 6)["rule"], [], "rules of the session")
    t.at_least(len(active(session_of(t, a, 7000, 6))), 2, "active lanes")
    t.note(f"{stream.stop() >> 10} KiB, exact")


@case("what makes no sense is refused with the reason, and nothing is changed")
def refused(t):
    a, _ = t.two_hosts(1)
    t.load(a)
    rule(t, a, "port 22 priority latency")
    before = rules(t, a)
    for words, status, why in (
        ("dst 203.0.113.999 mode single", 1, 'dst: not an IP address or prefix: "203.0.113.999"'),
        ("port 9-7 mode single", 1, 'port: the first is above the last: "9-7"'),
        ("dev nosuch0", 1, 'dev: no such interface: "nosuch0"'),
        ("port 80 mode selected", 2, "rule.mode: mode selected needs a limit of delay, loss, rate or cost"),
        ("port 80 mode all delay 9ms", 2, "rule.mode: only mode selected has limits of delay, loss, rate and cost"),
        ("mode single priority latency", 2, "rule.priority: priority latency leaves the mode no say"),
        ("mode never dev a1", 2, "rule.interfaces: mode never keeps to the interface that routing chooses"),
        ("dst 10.0.0.0/8 src fd00::/8 mode all", 2, "rule.src: one address is IPv4, the other one IPv6"),
        ("proto tcp ordered on", 2, "rule.ordered: TCP is put in order anyway: ordered is for UDP"),
        ("mode never ordered on", 2, "rule.ordered: with mode never datagrams stay as they are and have no numbers"),
        ("number 3 mode single", 2, "rule.number: there is no rule with this number"),
    ):
        done = t.module.ctl(a, "rule", "add", *words.split(), check=False)
        t.equal(done.returncode, status, f"exit status of {words}")
        t.check(why in done.stderr, f"{words}: {done.stderr.strip()!r}")
        t.equal(rules(t, a), before, f"rules after {words}")
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("port 23 mode single\nmode single priority latency\n")
        file.flush()
        for option in ((), ("--replace",)):
            done = t.module.ctl(a, "rule", "load", file.name, *option, check=False)
            t.equal(done.returncode, 2, "exit status of a file with a rule that makes no sense")
            t.check(f"{file.name}:2: refused; the rules are as they were" in done.stderr, done.stderr)
            t.equal(rules(t, a), before, "rules after a file with a rule that makes no sense")
        file.truncate(len("port 23 mode single\n"))
        t.module.ctl(a, "rule", "load", file.name, "--replace")
        t.equal([(r["number"], r["dst_port_min"]) for r in rules(t, a)], [(1, 23)], "rules that took the place of others")
        t.module.ctl(a, "rule", "load", file.name)
        t.equal([r["number"] for r in rules(t, a)], [1, 2], "rules that were added")
        t.module.ctl(a, "rule", "flush")
        rule(t, a, "port 22 priority latency")
    for number in (0, 2):
        done = t.module.ctl(a, "rule", "delete", number, check=False)
        t.check(done.returncode in (1, 2), f"deleting rule {number}: {done.returncode}")
    for words, status in (("2 port 23", 2), ("1 mode single", 2), ("1 port 9-7", 1)):
        done = t.module.ctl(a, "rule", "change", *words.split(), check=False)
        t.equal(done.returncode, status, f"exit status of a change: {words}: {done.stderr}")
        t.equal(rules(t, a), before, f"rules after {words}")
    t.module.ctl(a, "rule", "change", 1, "port", "23", "size", "0-200")
    (one,) = rules(t, a)
    found = tuple(one[key] for key in ("dst_port_min", "size_max", "priority"))
    t.equal(found, (23, 200, "latency"), "a rule that was changed")
    t.module.ctl(a, "rule", "change", 1, "port", "22", "size", "*")
    t.equal(rules(t, a), before, "rules in the end")


@case("hits: each packet is counted where it falls, with and without a choice of paths")
def hits(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    rule(t, a, "port 5002 size 0-300 dscp cs0 priority latency")
    rule(t, a, "port 5002 dscp ef mode single")
    rule(t, a, "port 5002 priority throughput")
    rule(t, a, "priority throughput")
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    stream = flow.Udp(sockets, 200, 100)
    t.defer(stream.close)
    both_ends(t, a, b, 5002, 17)
    t.equal(session_of(t, a, 5002, 17)["rule"], [1, 2, 3], "rules of the session")
    stream.went.head[flow.STOP] = 1
    stream.sender.wait(10)
    before = [r["hits"] for r in rules(t, a)]
    t.at_least(before[0], 1, "hits of the first rule")
    for count, size, tos in ((30, 272, 0), (20, 273, 0), (10, 100, 46 << 2), (5, 1000, 46 << 2)):
        sockets[0].setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        for _ in range(count):
            sockets[0].send(b"x" * size)
    grown = [r["hits"] - n for r, n in zip(rules(t, a), before)]
    t.equal(grown, [30, 15, 20, 0], "hits")


@case("users: a rule fits the sockets of its users only, from their first packet on")
def users(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    rule(t, a, "uid 1000-1999 mode never")
    rule(t, a, "uid 0 port 5002 priority latency")
    with a.inside():
        os.seteuid(1234)
        theirs = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        os.seteuid(0)
    listener = b.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((b.addr[0], 7000))
    listener.listen()
    theirs.connect((b.addr[0], 7000))
    pairs = [(theirs, listener.accept()[0])]
    xfer.exchange(pairs, 50_000, 50_000)
    stats = t.module.stats(a)
    t.equal(stats["query_tx_syn"] + stats["query_tx_hello"], 0, "questions for the user's connection")
    stream = udp(t, a, b, 100, 200)
    t.equal(session_of(t, a, 5002, 17)["rule"], [2], "rules of root's session")
    t.at_least(rules(t, a)[1]["hits"], 1, "hits")
    stream.stop()
    xfer.close(pairs)
    listener.close()


@case("control groups: a rule fits the sockets of a group and of those below it")
def groups(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    root = tempfile.mkdtemp()
    command("mount", "-t", "cgroup2", "none", root)
    t.defer(os.rmdir, root)
    t.defer(command, "umount", root)
    inner = os.path.join(root, "mpip-test", "inner")
    os.makedirs(inner)
    t.defer(os.removedirs, inner)

    def join(folder):
        with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write(str(os.getpid()))

    t.defer(join, root)
    rule(t, a, "cgroup /mpip-test mode never")
    t.equal(rules(t, a)[0]["cgroup"], os.stat(os.path.dirname(inner)).st_ino, "id of the group")
    t.check("cgroup /mpip-test mode never" in t.module.ctl(a, "rule").stdout, "the rule as shown")
    join(inner)
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    join(root)
    xfer.exchange(pairs, 50_000, 50_000)
    stats = t.module.stats(a)
    t.equal(stats["query_tx_syn"] + stats["query_tx_hello"], 0, "questions for the group's connection")
    t.at_least(rules(t, a)[0]["hits"], 1, "hits")
    others = xfer.connect(a, b, b.addr[0], 7001)
    t.spread(a, b, others)
    rule(t, a, "number 1 cgroup /mpip-test/inner mode single")
    join(inner)
    stream = udp(t, a, b, 100, 200)
    join(root)
    t.equal(session_of(t, a, 5002, 17)["rule"], [1], "rules of the group's session")
    t.equal(session_of(t, a, 7001, 6)["rule"], [], "rules of another one")
    stream.stop()


@case("10000 rules, and no more; they survive the instance; packets do not feel them", timeout=180)
def many(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("# for nobody here\n")
        for n in range(9999):
            file.write(f"dst 198.18.{n >> 8}.{n & 255} port {n + 1} proto tcp size 0-1000 priority latency\n")
        file.write("port 7000 mode single\n")
        file.flush()
        start = time.monotonic()
        t.module.ctl(a, "rule", "load", file.name)
        t.note(f"added in {time.monotonic() - start:.1f} s")
    start = time.monotonic()
    t.equal(len(rules(t, a)), 10000, "rules")
    t.note(f"shown in {time.monotonic() - start:.1f} s")
    done = t.module.ctl(a, "rule", "add", "mode", "single", check=False)
    t.equal(done.returncode, 2, "exit status of the 10001st")
    t.check("there are 10000 rules already" in done.stderr, done.stderr.strip())
    t.module.disable(a)
    t.module.enable(a)
    t.equal(len(rules(t, a)), 10000, "rules after disabling and enabling")
    pairs = xfer.connect(a, b, b.addr[0], 7000)
    both = xfer.connect(a, b, b.addr[0], 7001)
    for some in (pairs, both):
        t.soon(
            lambda s=some: xfer.exchange(s, 3000, 3000) and session_of(t, a, s[0][1].getsockname()[1], 6)["lane"],
            20,
            "a session",
        )
    t.equal(session_of(t, a, 7000, 6)["rule"], [10000], "rules of the session")
    t.equal(session_of(t, a, 7001, 6)["rule"], [], "rules of the other one")
    took = [xfer.exchange(pairs, 8 << 20, 0)]
    t.module.ctl(a, "rule", "delete", 1)
    t.equal(session_of(t, a, 7000, 6)["rule"], [9999], "rules of the session, one moved up")
    t.module.ctl(a, "rule", "flush")
    t.equal(rules(t, a), [], "rules after flush")
    rule(t, a, "port 7000 mode single")
    took.append(xfer.exchange(pairs, 8 << 20, 0))
    t.note(f"8 MiB with 10000 rules {took[0]:.2f} s, with one {took[1]:.2f} s")
    t.within(took[0], 2 * took[1] + 0.5, "seconds with all of them")

