# SPDX-License-Identifier: GPL-2.0
"""Packets that nobody would send, put on the cable while transfers run.

They are made of packets that were really there: bytes changed, cut short, made longer, with right and
wrong checksums; and of messages that anybody can make, with nonsense in them. The transfers stay exact,
and a kernel that watches itself has nothing to say. MPIP_FUZZ_SEED chooses other dice.
"""

import os
import random
import struct

from lib import case
from lib.packet import (
    ACK,
    CM_MAGIC,
    CM_TYPES,
    SYN,
    TCP,
    UDP,
    Capture,
    Injector,
    refresh,
    tcp_segment,
    udp_datagram,
)
from tools import udpcount, xfer

ROUNDS = 2500  # packets of each kind in each direction
FEW = 300  # datagrams each way that packets are made of
KEY = b"mpip public key1"
MASK = (1 << 64) - 1


def siphash(key, data):
    """SipHash-2-4, for messages that anybody can make (docs/protocol.md)."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def left(x, n):
        return (x << n | x >> (64 - n)) & MASK

    def turn(times):
        a, b, c, d = v
        for _ in range(times):
            a, c = (a + b) & MASK, (c + d) & MASK
            b, d = left(b, 13) ^ a, left(d, 16) ^ c
            a = left(a, 32)
            c, a = (c + b) & MASK, (a + d) & MASK
            b, d = left(b, 17) ^ c, left(d, 21) ^ a
            c = left(c, 32)
        v[:] = a, b, c, d

    whole = len(data) // 8 * 8
    last = data[whole:] + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", data[:whole] + last):
        v[3] ^= word
        turn(2)
        v[0] ^= word
    v[2] ^= 255
    turn(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def public_cm(kind, node, protocol, body):
    """A message whose tag anybody can make."""
    footer = struct.pack("!HBB", CM_MAGIC, 1 << 4 | CM_TYPES.index(kind), (len(body) + 12) // 4)
    tag = siphash(KEY, struct.pack("!QB", node, protocol) + body + footer)
    return body + struct.pack("!Q", tag) + footer


class Dice:
    """Changes packets."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def flipped(self, data, where):
        """Some of these bytes changed."""
        data = bytearray(data)
        for _ in range(self.random.choice((1, 1, 2, 5, 20))):
            at = self.random.choice(where)
            if at < len(data):
                data[at] = self.random.choice((0, 255, data[at] ^ 1 << self.random.randrange(8)))
        return bytes(data)

    def spoiled(self, ip):
        """Anything at all may have happened to it; its checksum is wrong then."""
        how = self.random.randrange(4)
        if how == 0:
            return ip[: self.random.randrange(20, len(ip))]
        if how == 1:
            return ip + self.random.randbytes(self.random.randrange(1, 60))
        return self.flipped(ip, range(1, min(len(ip), 120) if how == 2 else len(ip)))

    def sane(self, ip, l4, message):
        """With right checksums. An old segment stays old, or it would be up to any TCP what becomes of it:
        not changed are numbers, nor data that is no message, where the segment inside could be meant."""
        protocol = ip[9] if ip[0] >> 4 == 4 else ip[6]
        header = (ip[l4 + 12] >> 4) * 4 if protocol == TCP else 8
        payload = range(l4 + header, len(ip))
        how = self.random.randrange(4)
        if how == 0 and payload and message:
            # The end of the data, where messages are.
            ip = self.flipped(ip, payload[-40:])
        elif how == 1 and payload:
            ip = ip[: self.random.choice(payload)]
        elif how == 2:
            noise = self.random.randbytes(self.random.randrange(1, 80))
            footer = struct.pack(
                "!HBB", CM_MAGIC, 0x10 | self.random.randrange(16), self.random.randrange(256)
            )
            ip = ip + noise + self.random.choice((b"", footer))
        elif protocol == TCP:
            # Flags, window, urgent pointer.
            ip = self.flipped(ip, (l4 + 13, l4 + 14, l4 + 15, l4 + 18, l4 + 19))
        if protocol == UDP:
            # Its length: that of all of it, or of less, with something behind it.
            most = len(ip) - l4
            size = self.random.choice((most, 8, max(8, most - self.random.randrange(90))))
            ip = ip[: l4 + 4] + struct.pack("!H", size) + ip[l4 + 6 :]
        return refresh(ip)

    def message(self, tup, protocol):
        """A message that anybody can make, from an invented sender, perhaps a broken one."""
        node = self.random.getrandbits(64)
        kind = self.random.choice(("HELLO", "HELLO", "HELLO_REPLY", self.random.choice(CM_TYPES)))
        body = struct.pack("!QII", node, self.random.choice((0, 1, 1 << 31)), self.random.getrandbits(32))
        body += self.random.randbytes(48 if kind.startswith("HELLO") else 4 * self.random.randrange(60))
        cm = public_cm(kind, node, protocol, body)
        if self.random.randrange(4) == 0:
            cm = self.flipped(cm, range(len(cm)))
        source, _, target, port = tup
        port = self.random.choice((port, 9, self.random.randrange(1, 65536)))
        tup = (source, self.random.randrange(1, 65536), target, port)
        if protocol == UDP:
            pad = b"\0" * self.random.randrange(2) + b"\0\0\0\0"
            return udp_datagram(tup, b"q" * self.random.randrange(3), pad + cm)
        if self.random.randrange(3) == 0:
            option = struct.pack("!BBH", 253, 12, CM_MAGIC + self.random.randrange(3))
            option = self.flipped(option + self.random.randbytes(8), range(12))
            return tcp_segment(tup, 1, 0, SYN | self.random.choice((0, ACK)), options=option)
        return tcp_segment(tup, self.random.getrandbits(32), self.random.getrandbits(32), payload=cm)


def fuzz(t, **params):
    """All of it, in one way of sending packets."""
    seed = int(os.environ.get("MPIP_FUZZ_SEED", "7"))
    t.note(f"MPIP_FUZZ_SEED={seed}")
    dice = Dice(seed)
    a, b = t.two_hosts(2)
    t.load()
    for host in (a, b):
        t.module.set(host, cm="every", **params)
    captures = {dev: Capture(host, dev, "tcp or udp") for host in (a, b) for dev in host.dev}
    for host in (a, b):
        t.module.enable(host)
    pairs = [pair for address in (b.addr[0], b.addr6[1]) for pair in xfer.connect(a, b, address)]
    t.spread(a, b, pairs)
    sa, sb = udpcount.pair(a, b, a.addr[0], b.addr[0])
    at_b, at_a = udpcount.Receiver(sb, 1), udpcount.Receiver(sa, 2)
    few = [udpcount.Sender(sa, None, 1, FEW, 700, 200), udpcount.Sender(sb, None, 2, FEW, 700, 200)]
    xfer.exchange(pairs, 200_000, 200_000)
    for sender in few:
        sender.wait()
    heard = {dev: [p for p in c.stop() if p.protocol in (TCP, UDP)] for dev, c in captures.items()}
    total = {host: t.module.stats(host) for host in (a, b)}
    senders = [udpcount.Sender(sock, None, n, None, 700, 200, FEW) for n, sock in ((1, sa), (2, sb))]
    traffic = xfer.Traffic(pairs)
    # What was heard is old now.
    t.flows(traffic, 1 << 20, 60, "bytes before")
    sent = 0
    for here, there in ((a, b), (b, a)):
        for n, dev in enumerate(here.dev):
            # What came to `here` by this cable, sent once more by the other end of it.
            inject = Injector(there, there.dev[n], here.mac(dev))
            mine = set(here.addr + here.addr6)
            packets = [p for p in heard[dev] if p.dst in mine]
            messages = [p for p in packets if p.cm()]
            t.at_least(len(packets), 50, f"packets heard at {dev}")
            t.at_least(len(messages), 5, f"messages heard at {dev}")
            for _ in range(ROUNDS):
                p = dice.random.choice(messages if dice.random.randrange(2) else packets)
                ip = p.frame[p.l3 :]
                # Not longer than the cable takes.
                l4 = p.l4 - p.l3
                crafted = [
                    dice.spoiled(ip),
                    dice.sane(ip, l4, p.cm()),
                    dice.message(p.tuple, p.protocol),
                ]
                for ip in crafted:
                    inject.send(ip[:1500])
                    sent += 1
    t.flows(traffic, 1 << 20, 60, "bytes after all that")
    took = traffic.finish()
    t.note(f"{sent} packets injected; {traffic.moved()} bytes exact in {took:.1f} s")
    for receiver, sender in ((at_b, senders[0]), (at_a, senders[1])):
        count = FEW + sender.finish()
        result = receiver.settle(count, 5).result(count)
        t.note(f"UDP {result}")
        # What was made of datagrams, with right checksums, is theirs to judge who get it.
        t.equal(result["missing"], 0, "missing datagrams")
    grown = {}
    for host in (a, b):
        after = t.module.stats(host)
        for name in after:
            grown[name] = grown.get(name, 0) + after[name] - total[host][name]
    t.note(f"counters: { ({k: v for k, v in grown.items() if v}) }")
    for name in ("cm_bad_tag", "cm_malformed", "rx_bad_checksum"):
        t.at_least(grown.get(name, 0), 1, f"{name} of {sent} packets")
    # The hosts are as able as before.
    fresh = xfer.connect(a, b, b.addr[0])
    xfer.exchange(fresh, 1 << 20, 1 << 20)
    xfer.close(fresh)
    xfer.close(pairs)


@case("nonsense on the cable: packets as they are", timeout=300)
def raw(t):
    fuzz(t, encap="none")


@case("nonsense on the cable: packets inside UDP", timeout=300)
def in_udp(t):
    fuzz(t, encap="udp")


@case("nonsense on the cable: packets inside TCP", timeout=300)
def in_tcp(t):
    fuzz(t, encap="tcp")
