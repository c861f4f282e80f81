# SPDX-License-Identifier: GPL-2.0
"""When CMs travel: with every packet if told so, else seldom; never behind data on the original tuple."""

import time

from lib import Link, active, case
from lib.packet import ACK, TCP, UDP, Capture
from tools import rawcheck, udpcount, xfer

SLOW = dict(rate="50mbit", limit=500)


def every(t, family, offload):
    a, b = t.two_hosts([Link(offload=offload, **SLOW)] * 2)
    x, y = [(h.addr if family == 4 else h.addr6)[0] for h in (a, b)]
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, cm="every")
    captures = [Capture(b, dev, "tcp") for dev in b.dev]
    pairs = xfer.connect(a, b, y, 7000)
    port = pairs[0][0].getsockname()[1]
    session = next(iter(t.spread(a, b, pairs).values()))
    xfer.exchange(pairs, 4 << 20, 1 << 20, seed=40)
    own, added = [c.stop() for c in captures]

    # On the added tuple every packet with data ends in a CM of the session.
    lane = next(lane for lane in session["lane"] if not lane["original"])
    ends = [(lane[end]["addr"], lane[end]["port"]) for end in ("local", "remote")]
    data = [
        p
        for p in added
        if p.protocol == TCP and {(p.src, p.sport), (p.dst, p.dport)} == set(ends) and p.payload
    ]
    bare = [p for p in data if not p.cm()]
    t.note(
        f"{len(data)} packets with payload on the added tuple, {len(bare)} without a CM; "
        f"{len(own)} on the original link"
    )
    t.reaches(len(data), 100, "packets on the added tuple")
    t.equal(len(bare), 0, "packets without a CM on the added tuple")
    longest = max(len(p.payload) for p in own if p.protocol == TCP)
    if offload:
        t.at_least(longest, 3000, "longest payload: offloads are in use")
    else:
        t.at_most(max(longest, *(len(p.payload) for p in data)), 1460, "longest payload")

    # On the original tuple nothing but the user's bytes, and carriers below what is acknowledged.
    # Acknowledgements travel on either tuple; their numbers are the same.
    wrong = carriers = 0
    swap = dict(zip(ends, ((x, port), (y, 7000))))
    for sender, receiver in (((x, port), (y, 7000)), ((y, 7000), (x, port))):
        acked = None
        count = 0
        for p in sorted(own + added, key=lambda p: p.time):
            source = swap.get((p.src, p.sport), (p.src, p.sport))
            if p.protocol != TCP or not p.flags & ACK:
                continue
            if source == receiver:
                if acked is None or rawcheck.distance(p.ack, acked) > 0:
                    acked = p.ack
            elif (p.src, p.sport) == sender:
                count += 1
                if p.payload and p.cm():
                    carriers += 1
                    wrong += (
                        acked is None or rawcheck.distance(acked, (p.seq + len(p.payload)) % (1 << 32)) < 0
                    )
        t.reaches(count, 10, "packets on the original tuple")
    t.equal(wrong, 0, f"CMs behind user data on the original tuple, of {carriers}")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()
    stats = t.module.stats(b)
    t.equal(stats["cm_bad_tag"] + stats["cm_malformed"], 0, "CMs not understood")


@case("cm=every, TCP, IPv4, offloads on", timeout=90)
def tcp4_on(t):
    every(t, 4, True)


@case("cm=every, TCP, IPv4, offloads off", timeout=90)
def tcp4_off(t):
    every(t, 4, False)


@case("cm=every, TCP, IPv6, offloads off", timeout=90)
def tcp6_off(t):
    every(t, 6, False)


def every_udp(t, family):
    a, b = t.two_hosts(2)
    x, y = [(h.addr if family == 4 else h.addr6)[0] for h in (a, b)]
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, cm="every")
    capture = Capture(b, "b2", "udp")
    sa, sb = udpcount.pair(a, b, x, y)
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    senders = [udpcount.Sender(sa, None, 1, 3000, 600, 1000), udpcount.Sender(sb, None, 2, 3000, 600, 1000)]
    for sender in senders:
        sender.wait()
    for receiver in (at_b, at_a):
        receiver.settle(3000, 5)
        t.check(receiver.exact(3000), f"{receiver.result(3000)}")
    data = [p for p in capture.stop() if p.protocol == UDP and len(p.payload) >= 600]
    t.reaches(len(data), 300, "datagrams on the added path")
    t.equal([p.tuple for p in data if not p.cm()][:3], [], "datagrams without a CM")


@case("cm=every, UDP, IPv4")
def udp4(t):
    every_udp(t, 4)


@case("cm=every, UDP, IPv6")
def udp6(t):
    every_udp(t, 6)


@case("adaptive: CMs are less than one per cent of the bytes and most packets have none", timeout=90)
def adaptive(t):
    a, b = t.two_hosts([Link(offload=False, **SLOW)] * 2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    before = t.module.stats(a)
    capture = Capture(b, "b2", "tcp and src host " + a.addr[1])
    xfer.exchange(pairs, 16 << 20, 0)
    packets = [p for p in capture.stop() if p.payload]
    after = t.module.stats(a)
    sent = after["cm_tx"] - before["cm_tx"]
    with_cm = sum(bool(p.cm()) for p in packets)
    t.note(f"{sent} CMs for 16 MiB; {with_cm} of {len(packets)} packets on the added path had one")
    t.at_least(sent, 3, "CMs sent")
    t.within(sent * 52, (16 << 20) // 100, "bytes of CMs")
    t.within(with_cm, len(packets) // 4, "packets with a CM")


@case("an idle session: heartbeats only, and they keep the path measured")
def idle(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, heartbeat="500ms")
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    before = t.module.stats(a)["cm_rx"], a.counters()
    t.wait(lambda: t.module.stats(a)["cm_rx"] >= before[0] + 4, 20, "four CMs")
    lost = sum(p["lost"] for p in t.module.paths(a))
    t.at_most(lost, 0, "packets lost")
    t.check(all(p["state"] == "active" for p in t.module.paths(a)[:2]), "the paths stay active")
    t.check(any(p["srtt_us"] for p in t.module.paths(a)), "round trips are measured")
    xfer.Traffic(pairs, 1000, 1000, seed=3).wait()


@case("idle sessions where no box has to be kept open are silent after a while", timeout=100)
def silent(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    pairs = xfer.connect(a, b, b.addr[0])
    t.spread(a, b, pairs)
    sockets = udpcount.pair(a, b, a.addr[0], b.addr[0])
    sent = 0

    def speak():
        nonlocal sent
        sent += udpcount.send(sockets[0], None, 1, 50, 500, 1000, sent)
        return t.module.is_spread((a, b), protocol=17)

    t.soon(speak, 20, "two active lanes at both ends")
    time.sleep(34)
    before = t.module.stats(a)["cm_rx"]
    captures = [Capture(b, dev, "tcp or udp") for dev in b.dev]
    time.sleep(20)
    came = sorted((p for c in captures for p in c.stop()), key=lambda p: p.time)
    t.equal([(p.time, p.src, p.dst) for p in came][:5], [], "packets in 20 s")
    # That they are there still is no chance: they are as good as before.
    xfer.Traffic(pairs, 300_000, 300_000, seed=3).wait()
    t.at_least(t.module.stats(a)["cm_rx"], before + 1, "CMs since")
    t.equal([len(active(s)) >= 2 for s in t.module.sessions(a)], [True] * 2, "the sessions have their lanes")


def on_the_wire(t, family, cm):
    """Every byte of both streams, as it travels on either tuple."""
    a, b = t.two_hosts([Link(**SLOW)] * 2)
    x, y = [(h.addr if family == 4 else h.addr6)[0] for h in (a, b)]
    t.load(a, b)
    for host in (a, b):
        t.module.set(host, cm=cm)
    captures = [Capture(b, dev, "tcp") for dev in b.dev]
    pairs = xfer.connect(a, b, y, 7000)
    port = pairs[0][0].getsockname()[1]
    # `spread` would exchange who knows how much: the streams have to be known here.
    said = []

    def speak(size):
        said.append((100 + 2 * len(said), size))
        xfer.exchange(pairs, size, size, seed=said[-1][0])
        views = [t.by_port(h, end).get(port) for h, end in ((a, "local"), (b, "remote"))]
        return views[0] if all(v and len(active(v)) >= 2 for v in views) else None

    session = t.soon(lambda: speak(2000), 30, "two active lanes at both ends")
    for _ in range(3):
        session = speak(700_000) or session
    xfer.Traffic(pairs, 1000, 1000, seed=50).wait()
    said.append((50, 1000))
    packets = sorted((p for c in captures for p in c.stop()), key=lambda p: p.time)
    # Two processors may swap packets, and an original lane that seems to lose some gets a substitute.
    lanes = [
        [(lane[end]["addr"], lane[end]["port"]) for end in ("local", "remote")]
        for lane in session["lane"]
        if not lane["original"]
    ]
    for way, own in enumerate((((x, port), (y, 7000)), ((y, 7000), (x, port)))):
        original = (*own[0], *own[1])
        added = [(*one, *other) for one, other in (ends[::-1] if way else ends for ends in lanes)]
        stream = b"".join(xfer.Source(seed + way).read(size) for seed, size in said)
        one = rawcheck.check_tcp(packets, original, stream, added=added)
        others = []
        for own_tuple in added:
            rest = [original, *(each for each in added if each != own_tuple)]
            found = rawcheck.check_tcp(packets, own_tuple, stream, isn=one.isn, added=rest, trailers=True)
            others.append(found)
        found = [one, *others]
        t.note(f"way {way}: " + ", ".join(f"{x.payload} bytes and {x.carriers} carriers" for x in found))
        t.equal([x.wrong[:3] for x in found], [[]] * len(found), "foreign bytes")
        ranges = [each for x in found for each in x.ranges]
        t.equal(rawcheck.covered(ranges), len(stream), "bytes of the stream on all")
        loads = sorted((x.payload for x in found), reverse=True)
        t.reaches(loads[1], len(stream) // 20, "bytes of the lesser tuple")


for cell in ((4, "adaptive"), (6, "adaptive"), (4, "every")):

    @case(f"on the wire: the user's bytes and nothing else, IPv{cell[0]}, cm={cell[1]}", timeout=90)
    def wire(t, cell=cell):
        on_the_wire(t, *cell)
