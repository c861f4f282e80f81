# SPDX-License-Identifier: GPL-2.0
"""What an attacker on the cable can send: the stream stays exact, state stays, a counter rises.

Packets come from B's side of a cable as if B had sent them, past B's own stack.
"""

import socket
import struct

from lib import active, case
from lib.net import command
from lib.packet import (
    ACK,
    CM_TYPES,
    ICMP,
    ICMP6,
    RST,
    TCP,
    Capture,
    Injector,
    build_cm,
    checksum,
    ip_header,
    pseudo,
    refresh,
    tcp_segment,
    udp_datagram,
)
from tools import rawcheck, udpcount, xfer


def lasting(session):
    """The lanes that are there from the beginning: the original one's path gets another one for it once
    something was lost, for whatever reason."""
    (own,) = [lane["path"] for lane in session["lane"] if lane["original"]]
    return [lane for lane in session["lane"] if lane["original"] or lane["path"] != own]


class Scene:
    """Two hosts, a spread TCP session, and what is known of its tuples."""

    def __init__(self, t, family=4, load=True):
        self.t = t
        self.a, self.b = t.two_hosts(2)
        if load:
            t.load(self.a, self.b)
        self.x, self.y = [h.addr if family == 4 else h.addr6 for h in (self.a, self.b)]
        self.pairs = xfer.connect(self.a, self.b, self.y[0], 7000)
        self.port = self.pairs[0][0].getsockname()[1]
        self.session = t.spread(self.a, self.b, self.pairs)[self.port]
        self.inject = [Injector(self.b, self.b.dev[i], self.a.mac(self.a.dev[i])) for i in (0, 1)]
        self.original = (self.y[0], 7000, self.x[0], self.port)
        (self.lane,) = [lane for lane in lasting(self.session) if not lane["original"]]
        local, remote = self.lane["local"], self.lane["remote"]
        self.added = (remote["addr"], remote["port"], local["addr"], local["port"])
        self.node = int(t.module.show(self.b, "status")["id"], 16)
        self.seed = 5000
        self.state = self.view()

    def view(self):
        """Sessions with their lanes' tuples and states, at both ends."""
        return [
            [
                (
                    s["id"],
                    [(x["path"], x["local"]["addr"], x["remote"]["addr"], x["state"]) for x in lasting(s)],
                )
                for s in self.t.module.sessions(h)
            ]
            for h in (self.a, self.b)
        ]

    def exchange(self, size=200_000):
        """Both ways, compared."""
        self.seed += 2
        xfer.exchange(self.pairs, size, size, self.seed, timeout=60)

    def watch(self, size=300_000, times=1):
        """Exchange, and return what arrived at A on each link."""
        captures = [Capture(self.a, dev, "tcp") for dev in self.a.dev]
        for _ in range(times):
            self.exchange(size)
        return [[p for p in c.stop() if p.src in self.y] for c in captures]

    def last(self, tup):
        """The latest segment on a tuple towards A."""
        for packets in self.watch():
            found = [p for p in packets if p.tuple == tup]
            if found:
                return found[-1]
        raise LookupError(f"nothing on {tup}")

    def unchanged(self):
        """State is as at the beginning, and both lanes carry."""
        before = self.a.counters()
        self.exchange(2 << 20)
        self.t.equal(self.view(), self.state, "sessions and lanes")
        self.t.reaches(min(self.t.shares(self.a, before)), 0.05, "share of the lesser path")

    def finish(self):
        """The stream ends as it should, with nothing behind it."""
        xfer.Traffic(self.pairs, 5000, 5000, seed=1).wait()
        xfer.close(self.pairs)


def forgeries(scene):
    """A CM of every type with the right ids and a wrong tag."""
    node, session, path = scene.node, scene.session["id"], scene.lane["path"]
    header = struct.pack("!QII", node, session, 0x7FFFFFFF)
    data = struct.pack("!IBBHIiI", session, path, path, 0, 1, -(1 << 31), 0x7FFFFFFF)
    block = struct.pack("!HBBBBH4s", 9, 0xFF, 1, 4, 0, 0, b"\xff\xff\xff\xff")
    lane = header + struct.pack("!BBHQQI16s", path, 0, 0, 1, 2, 4, bytes(16))
    bodies = {
        "DATA": data,
        "REPORT": data + struct.pack("!5I", 0, 0, 0, 0, 0xFFFFFFFF),
        "HELLO": header + bytes(48),
        "HELLO_REPLY": header + bytes(48),
        "CONFIRM": header + bytes(48) + block,
        "OPEN": header + block,
        "OPEN_ACK": header + block,
        "LANE": lane,
        "LANE_ACK": lane,
        "LANE_CONFIRM": lane,
        "ADDR": header + bytes([255] * 8) + block,
        "CLOSE": header,
        "GOODBYE": header,
        "GOODBYE_ACK": header,
        "ADDR_ACK": header + bytes(4),
        "MISSING": header + struct.pack("!BBHII", 0, 1, 0, 0, 0xFFFF),
    }
    assert set(bodies) == set(CM_TYPES)
    return [build_cm(kind, body) for kind, body in bodies.items()]


def bad_tags(t, family):
    s = Scene(t, family)
    before = t.module.stats(s.a)
    marks = {s.original: s.last(s.original), s.added: s.last(s.added)}
    sent = 0
    for n, tup in enumerate((s.original, s.added)):
        p = marks[tup]
        for cm in forgeries(s):
            # Wholly below what A has acknowledged: as our own carriers are.
            s.inject[n].send(tcp_segment(tup, p.seq - len(cm), p.ack, payload=cm))
            sent += 1
    s.unchanged()
    after = t.module.stats(s.a)
    t.note(
        f"{sent} forged, {after['cm_bad_tag'] - before['cm_bad_tag']} with a bad tag, "
        f"{after['hello_dropped'] - before['hello_dropped']} hellos dropped"
    )
    t.at_least(after["cm_bad_tag"] - before["cm_bad_tag"], 8, "bad tags counted")
    s.finish()


@case("forged CMs of every type, right ids, wrong tag, on both tuples, IPv4", timeout=90)
def bad_tags4(t):
    bad_tags(t, 4)


@case("forged CMs of every type, right ids, wrong tag, on both tuples, IPv6", timeout=90)
def bad_tags6(t):
    bad_tags(t, 6)


@case("captured CMs played again: same tuple, other link, after unload and load", timeout=120)
def replayed(t):
    s = Scene(t)
    for host in (s.a, s.b):
        t.module.set(host, cm="every")
    # Small segments: full ones of a connection that is older than cm=every have no room.
    packets = [[p for p in link if p.cm()] for link in s.watch(1000, times=100)]
    t.note(f"captured with CM: {[len(x) for x in packets]}")
    t.at_least(sum(map(len, packets)), 20, "captured CMs")
    for host in (s.a, s.b):
        t.module.set(host, cm="adaptive")
    before = t.module.stats(s.a)
    for n, link in enumerate(packets):
        for p in link[-200:]:
            s.inject[n].send(p.frame[p.l3 :])
            s.inject[1 - n].send(p.frame[p.l3 :])
    s.unchanged()
    after = t.module.stats(s.a)
    t.note(f"replays counted: {after['cm_replayed'] - before['cm_replayed']}")
    t.at_least(after["cm_replayed"] - before["cm_replayed"], 10, "replays counted")
    t.unload()
    t.load(s.a, s.b)
    s.t.spread(s.a, s.b, s.pairs)
    s.state = s.view()
    before = t.module.stats(s.a)
    for n, link in enumerate(packets):
        for p in link[-200:]:
            s.inject[n].send(p.frame[p.l3 :])
    s.unchanged()
    s.finish()


@case("a captured CM moved to another tuple, another session, another number", timeout=90)
def moved(t):
    s = Scene(t)
    for host in (s.a, s.b):
        t.module.set(host, cm="every")
    links = s.watch(1000, times=50)
    cms = [p.cm()["raw"] for p in links[1] if p.cm()]
    t.at_least(len(cms), 5, "captured CMs")
    original, added = s.last(s.original), s.last(s.added)
    before = t.module.stats(s.a)
    chosen = cms[-30:]
    for cm in chosen:
        # The lane's CM on the original tuple, and with its number or its session changed on its own.
        s.inject[0].send(tcp_segment(s.original, original.seq - len(cm), original.ack, payload=cm))
        for at in (0, 16, 19):
            altered = bytearray(cm)
            altered[at] ^= 1
            s.inject[1].send(tcp_segment(s.added, added.seq - len(cm), added.ack, payload=bytes(altered)))
    s.unchanged()
    after = t.module.stats(s.a)
    grown = sum(after[c] - before[c] for c in ("cm_bad_tag", "cm_replayed", "cm_malformed"))
    t.at_least(grown, 3 * len(cms[-30:]), "refusals counted")
    s.finish()


@case("truncated, oversize and lying CMs", timeout=90)
def truncated(t):
    s = Scene(t)
    marks = s.last(s.original), s.last(s.added)
    for cm in forgeries(s):
        shapes = [cm[n:] for n in range(0, len(cm), 5)]
        shapes += [cm[:-1] + bytes([n]) for n in (0, 1, 2, 3, 254, 255)]
        shapes += [
            bytes(1000) + cm,
            cm + b"\0",
            cm[:-4] + struct.pack("!HBB", 0x4D50, 0x1F, len(cm) // 4),
            cm[:-4] + struct.pack("!HBB", 0x4D50, 0x2F, len(cm) // 4),
        ]
        for shape in shapes:
            for n, (tup, p) in enumerate(((s.original, marks[0]), (s.added, marks[1]))):
                if len(shape) < 1400:
                    s.inject[n].send(tcp_segment(tup, p.seq - len(shape), p.ack, payload=shape))
    s.unchanged()
    s.finish()


@case("fragments, odd options, no payload, strange flags on the added tuple", timeout=90)
def odd(t):
    s = Scene(t)
    p = s.last(s.added)
    for flags in range(64):
        # SYN and RST are a matter of their own.
        if not flags & 6:
            s.inject[1].send(tcp_segment(s.added, p.seq - 100, p.ack, flags, b"x" * (flags % 5)))
    for size in (1, 3, 8, 20, 21, 39, 60):
        whole = tcp_segment(s.added, p.seq - 100, p.ack, ACK, b"y" * 40)
        s.inject[1].send(
            whole[:2] + struct.pack("!H", max(size, 20)) + whole[4:20][: max(0, size - 4)] + whole[20:size]
        )
    first = bytearray(tcp_segment(s.added, p.seq - 100, p.ack, ACK, b"z" * 100))
    first[6:8] = b"\x20\x00"  # more fragments, which never come
    first[10:12] = b"\0\0"
    first[10:12] = struct.pack("!H", checksum(bytes(first[:20])))
    s.inject[1].send(bytes(first))
    s.unchanged()
    s.finish()


def lookalikes(s, size=32):
    """Payloads ending in what looks like a CM of the very session."""
    return [b"u" * n + cm for n in (0, 1, 100) for cm in forgeries(s)]


@case("TCP payload that looks like a CM is delivered untouched", timeout=90)
def tcp_lookalike(t):
    s = Scene(t)
    near, far = s.pairs[0]
    for sock in (near, far):
        sock.setblocking(True)
        sock.settimeout(20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for source, target in ((near, far), (far, near)):
        sent = got = b""
        for data in lookalikes(s) * 3:
            source.sendall(data)
            sent += data
            # One segment each, so that the look-alike is a segment's very end.
            while len(got) < len(sent):
                piece = target.recv(len(sent) - len(got))
                t.check(piece, "not at its end")
                got += piece
        t.check(sent == got, "stream of look-alikes")
    for sock in (near, far):
        sock.setblocking(False)
    s.unchanged()
    s.finish()


@case("UDP payload that looks like a CM is delivered untouched, to MPIP and to a stranger", timeout=90)
def udp_lookalike(t):
    s = Scene(t)
    for family in (4, 6):
        x, y = [h.addr[0] if family == 4 else h.addr6[0] for h in (s.a, s.b)]
        sa, sb = udpcount.pair(s.a, s.b, x, y)
        for sock in (sa, sb):
            sock.settimeout(10)
        payloads = lookalikes(s)

        def there_and_back(payloads=payloads, pairs=((sa, sb), (sb, sa))):
            for source, target in pairs:
                got = []
                for data in payloads:
                    source.send(data)
                for _ in payloads:
                    got.append(target.recv(3000))
                t.equal(sorted(map(len, got)), sorted(map(len, payloads)), "sizes")
                t.check(sorted(got) == sorted(payloads), "datagrams")

        # Enough in both directions for the session to open and spread.
        for _ in range(5):
            there_and_back()
        t.soon(
            lambda: any(len(active(view)) >= 2 for view in t.module.sessions(s.a, 5001, 17)),
            10,
            "the UDP session on two paths",
        )
        there_and_back()
        sa.close()
        sb.close()
    t.module.disable(s.b)
    sa, sb = udpcount.pair(s.a, s.b, s.x[0], s.y[0], 5101, 5102)
    sb.settimeout(10)
    for data in payloads:
        sa.send(data)
        t.check(sb.recv(3000) == data, "datagram to a stranger")
    s.exchange()
    s.finish()


@case("an RST on the added tuple ends that lane at most", timeout=90)
def reset(t):
    s = Scene(t)
    packets = s.watch()
    p = [q for q in packets[1] if q.tuple == s.added][-1]
    before = t.module.stats(s.a)
    # As a host that knows no such connection answers: sequence number from our ACK.
    for seq in (p.ack, p.seq + len(p.payload)):
        s.inject[1].send(tcp_segment(s.added, seq, 0, RST))
        s.inject[1].send(tcp_segment(s.added, seq, p.ack, RST | ACK))
    s.exchange(2 << 20)
    after = t.module.stats(s.a)
    sessions = t.module.sessions(s.a, 7000)
    t.equal(len(sessions), 1, "the session")
    lanes = {lane["original"]: lane["state"] for lane in sessions[0]["lane"]}
    t.note(f"lanes {lanes}, refused {after['lane_refused_rst'] - before['lane_refused_rst']}")
    t.equal(lanes.get(True), "active", "the original lane")
    t.at_least(after["lane_refused_rst"] - before["lane_refused_rst"], 1, "lanes given up")
    s.exchange(1 << 20)
    s.finish()


def icmp(s, inner, kind, code, extra, sender, target):
    """An ICMP error that quotes one of A's packets."""
    quote = inner[: 28 if ":" not in sender else 100]
    body = struct.pack("!BBHI", kind, code, 0, extra) + quote
    if ":" in sender:
        total = checksum(pseudo(sender, target, ICMP6, len(body)) + body)
        return ip_header(sender, target, ICMP6, len(body)) + body[:2] + struct.pack("!H", total) + body[4:]
    total = checksum(body)
    return ip_header(sender, target, ICMP, len(body)) + body[:2] + struct.pack("!H", total) + body[4:]


def sent_by_a(s):
    """A's latest segment on the added tuple, from the IP header on."""
    capture = Capture(s.b, s.b.dev[1], "tcp")
    s.exchange()
    back = (s.added[2], s.added[3], s.added[0], s.added[1])
    p = [q for q in capture.stop() if q.tuple == back and q.protocol == TCP][-1]
    return p.frame[p.l3 :]


def needs_fragmentation(t, family):
    s = Scene(t, family)
    inner = sent_by_a(s)
    kind, code = (3, 4) if family == 4 else (2, 0)
    before = t.module.stats(s.a)
    s.inject[1].send(icmp(s, inner, kind, code, 1300, s.added[0], s.added[2]))
    s.exchange(2 << 20)
    paths = {
        p["local"]: p.get("mtu") for p in t.module.paths(s.a) if p["local"] in s.x and p["remote"] in s.y
    }
    t.note(f"path MTUs {paths}")
    t.equal(paths[s.x[1]], 1300, "MTU of the added path")
    t.equal(paths[s.x[0]], 1500, "MTU of the original path")
    t.at_least(t.module.stats(s.a)["path_mtu_lowered"] - before["path_mtu_lowered"], 1, "counter")
    # Absurd values may not stall anything.
    for mtu in (0, 1, 67, 296, 0xFFFF):
        s.inject[1].send(icmp(s, inner, kind, code, mtu, s.added[0], s.added[2]))
    s.exchange(1 << 20)
    s.finish()


@case("ICMP fragmentation needed on the added tuple lowers that path's MTU only, IPv4", timeout=90)
def frag4(t):
    needs_fragmentation(t, 4)


@case("ICMPv6 packet too big on the added tuple lowers that path's MTU only", timeout=90)
def frag6(t):
    needs_fragmentation(t, 6)


@case("ICMP unreachable on the added tuple ends that lane at most", timeout=90)
def unreachable(t):
    s = Scene(t)
    inner = sent_by_a(s)
    for code in (0, 1, 2, 3, 10, 13):
        s.inject[1].send(icmp(s, inner, 3, code, 0, s.added[0], s.added[2]))
    s.exchange(2 << 20)
    (session,) = t.module.sessions(s.a, 7000)
    lanes = {lane["original"]: lane["state"] for lane in session["lane"]}
    t.note(f"lanes {lanes}")
    t.equal(lanes.get(True), "active", "the original lane")
    s.exchange(1 << 20)
    s.finish()


@case("a flood of questions from invented sources: no sessions, no peers, no louder answer", timeout=90)
def flood(t):
    s = Scene(t)
    before = t.module.show(s.a, "status"), s.a.counters()["a1"]
    hello = struct.pack("!QIIQ", 0x1234, 0, 0, 99) + bytes(40)
    for n in range(3000):
        source = f"10.0.1.{10 + n % 240}"
        cm = build_cm("HELLO", hello, struct.pack("!Q", n))
        s.inject[0].send(udp_datagram((source, 1024 + n, s.x[0], 9), b"q", b"\0\0\0\0" + cm))
        s.inject[0].send(
            tcp_segment(
                (source, 1024 + n, s.x[0], 7000), n, 0, 2, options=b"\xfd\x0c\x4d\x50" + struct.pack("!Q", n)
            )
        )
    s.exchange()
    after = t.module.show(s.a, "status"), s.a.counters()["a1"]
    t.equal(
        (after[0]["sessions"], after[0]["peers"]),
        (before[0]["sessions"], before[0]["peers"]),
        "sessions and peers",
    )
    s.unchanged()
    s.finish()


@case("checksums: a changed segment on the added tuple is not taken", timeout=60)
def bad_checksum(t):
    s = Scene(t)
    p = s.last(s.added)
    before = t.module.stats(s.a)
    for n in range(20):
        spoiled = bytearray(
            refresh(tcp_segment(s.added, p.seq + len(p.payload), p.ack, payload=b"evil" * 10))
        )
        spoiled[-1 - n] ^= 0x55
        s.inject[1].send(bytes(spoiled))
    s.unchanged()
    t.at_least(
        t.module.stats(s.a)["rx_bad_checksum"] - before["rx_bad_checksum"], 10, "wrong checksums counted"
    )
    s.finish()


@case("checksums: what a changed segment on the original tuple says is not believed", timeout=90)
def bad_stamp(t):
    s = Scene(t)
    before = s.a.snmp("PAWSEstab")
    behind = s.last(s.original)
    sent = [p for packets in s.watch() for p in packets if p.tuple in (s.original, s.added)]
    end = max((p.seq + len(p.payload) for p in sent), key=lambda x: rawcheck.distance(x, behind.seq))
    # One of them lies in the future, whatever the connection's clock says. TCP would take nothing older after that.
    for stamp in range(0, 1 << 32, 1 << 30):
        option = struct.pack("!BBBBII", 1, 1, 8, 10, stamp, 0)
        for at in (end, end + 2000):
            spoiled = bytearray(
                refresh(tcp_segment(s.original, at, behind.ack, payload=b"evil" * 10, options=option))
            )
            spoiled[-1] ^= 0x55
            s.inject[0].send(bytes(spoiled))
    for _ in range(3):
        s.exchange()
    t.equal(s.a.snmp("PAWSEstab") - before, 0, "segments that A took for strays of the past")
    s.unchanged()
    s.finish()


# --- pre-shared keys --------------------------------------------------------------------


def set_key(t, host, key):
    """Give a host a key, or none."""
    words = ("set", "-") if key else ("clear",)
    command("mpipctl", "-n", host.name, "psk", *words, stdin=key)


@case("a pre-shared key: who has another one or none is no peer; TCP as ever; changed in mid-session", timeout=150)
def shared_key(t):
    a, b = t.two_hosts(2)
    t.load(a, b)
    keys = [command("mpipctl", "psk", "generate").stdout for _ in range(2)]
    t.check(keys[0] != keys[1], "two keys that are the same")
    pairs = xfer.connect(a, b, b.addr[0], count=2)
    t.spread(a, b, pairs)
    old = {host.name: t.module.show(host, "status")["id"] for host in (a, b)}
    port = t.module.show(b, "status")["udp_port"]

    def wrong_tags():
        # Either of them may be the one who asks.
        return sum(t.module.stats(host)["cm_bad_tag"] for host in (a, b))

    # From now on they are strangers to each other, and TCP goes on.
    set_key(t, a, keys[0])
    for other in (None, keys[1]):
        set_key(t, b, other)
        t.equal(t.module.show(b, "psk"), {"set": bool(other)}, "what is told of it")
        # Who has not answered is not asked again for long; the key stays.
        t.module.disable(a)
        t.module.enable(a)
        before = wrong_tags()
        xfer.exchange(pairs, 200_000, 200_000)
        fresh = xfer.connect(a, b, b.addr[0])
        t.soon(
            lambda tried=before: xfer.exchange(fresh, 2000, 2000) and wrong_tags() > tried,  # noqa: B023
            20,
            "a tag that is wrong",
        )
        # What was there before goes a moment after the goodbye, and what B has asked for in vain after 25 s.
        t.soon(lambda: not t.module.sessions(b) and not t.module.show(b, "peer"), 40, "B to have no peer")
        opened = [s for s in t.module.sessions(a) if s["state"] == "open"]
        t.equal(opened, [], "open sessions at A")
        xfer.close(fresh)
    set_key(t, b, keys[0])
    fresh = xfer.connect(a, b, b.addr[0], count=2)
    t.spread(a, b, fresh)
    now = {host.name: t.module.show(host, "status")["id"] for host in (a, b)}
    t.check(all(now[name] != old[name] for name in now), "both have begun anew")
    t.equal(t.module.show(b, "status")["udp_port"], port, "B's own port")

    # The same again changes nothing, nor do mistakes.
    set_key(t, a, keys[0])
    for text in ("", "f" * 63, "0" * 64):
        words = ("-n", a.name, "psk", "set", "-")
        done = command("mpipctl", *words, stdin=text, check=False)
        t.equal(done.returncode, 1, f"exit status: {done.stderr}")
    t.equal(t.module.show(a, "status")["id"], now[a.name], "node id")
    xfer.Traffic(pairs + fresh, 200_000, 200_000, seed=5).wait()
