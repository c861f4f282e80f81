#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Send numbered datagrams with known contents and account for every one of them.

As a module: `Receiver` and `send`. As a program:

  udpcount.py receive PORT [-6] [--idle SECONDS]          count until silence, print JSON
  udpcount.py send HOST PORT COUNT [--size N] [--rate N]  datagrams a second
"""

import argparse
import contextlib
import json
import random
import select
import socket
import struct
import sys
import threading
import time

SILENCE = 2  # seconds; no queue of the tests is longer
HEADER = struct.Struct("!IIH")  # stream, number, whole size
_base = b""


def noise():
    """256 KiB of seeded noise that payloads are cut from."""
    global _base
    if not _base:
        _base = random.Random(768).randbytes(1 << 18)
    return _base


def payload(stream, number, size):
    """The datagram of this number: header and a piece of the noise."""
    at = (number * 7919 + stream * 104729) % (len(noise()) - 65536)
    return HEADER.pack(stream, number, size) + _base[at : at + size - HEADER.size]


class Receiver(threading.Thread):
    """Takes datagrams from a socket and keeps the account."""

    def __init__(self, sock, stream, on_packet=None):
        super().__init__(daemon=True)
        # Never let the socket be the one that loses datagrams.
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 32 << 20)
        sock.setblocking(False)
        self.sock = sock
        self.stream = stream
        self.seen = bytearray(1 << 16)
        self.count = self.duplicate = self.corrupt = self.reordered = 0
        self.odd = []  # what came and is none of ours: length and first bytes of some
        self.highest = -1
        self.last = time.monotonic()
        self.stopping = threading.Event()
        self.on_packet = on_packet
        self.senders = set()
        self.start()

    def run(self):
        while not self.stopping.is_set():
            if not select.select([self.sock], [], [], 0.05)[0]:
                continue
            try:
                while True:
                    data, sender = self.sock.recvfrom(65536)
                    self.take(data, sender)
            except BlockingIOError:
                pass
            except OSError:  # an ICMP error of the past
                pass

    def take(self, data, sender):
        """Account for one datagram."""
        self.last = time.monotonic()
        self.senders.add(sender[:2])
        if self.on_packet:
            self.on_packet(data, sender)
        if not self.is_ours(data):
            self.corrupt += 1
            if len(self.odd) < 4:
                self.odd.append((len(data), data[:32].hex()))
            return
        _, number, _ = HEADER.unpack_from(data)
        while number >= len(self.seen):
            self.seen += bytes(len(self.seen))
        if self.seen[number]:
            self.duplicate += 1
            return
        self.seen[number] = 1
        self.count += 1
        if number < self.highest:
            self.reordered += 1
        self.highest = max(self.highest, number)

    def settle(self, want, timeout, quiet=0.3):
        """Wait until `want` datagrams are there, and a moment longer for what should not come.

        Who has got nothing for SILENCE will not get what is missing.
        """
        start = time.monotonic()
        while self.count < want and time.monotonic() < min(start + timeout, max(start, self.last) + SILENCE):
            time.sleep(0.02)
        time.sleep(quiet)
        self.stopping.set()
        self.join()
        return self

    def result(self, sent):
        """The account as a dictionary."""
        return {
            "sent": sent,
            "received": self.count,
            "missing": sent - self.count,
            "duplicate": self.duplicate,
            "corrupt": self.corrupt,
            "reordered": self.reordered,
        } | ({"odd": self.odd} if self.odd else {})

    def is_ours(self, data):
        """Whether a datagram is one of the stream, byte for byte."""
        if len(data) < HEADER.size:
            return False
        stream, number, size = HEADER.unpack_from(data)
        return stream == self.stream and size == len(data) and data == payload(stream, number, size)

    def exact(self, sent):
        """Whether every datagram came exactly once, byte for byte."""
        return self.count == sent and not self.duplicate and not self.corrupt


def put(sock, data, target):
    """Send a datagram; wait for room if the socket is one that does not."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return sock.send(data) if target is None else sock.sendto(data, target)
        select.select([], [sock], [], 1)


CATCH_UP = 0.02
"""A sender that was kept from sending makes up for so many seconds of it."""


def send(sock, target, stream, count, size=1000, rate=1000, first=0, stop=None):
    """Send `count` datagrams (None: until `stop`); returns how many. `size` may be a (min, max) pair."""
    dice = random.Random(stream)
    start = time.monotonic()
    number = first
    while (count is None or number - first < count) and not (stop and stop.is_set()):
        n = dice.randint(*size) if isinstance(size, tuple) else size
        put(sock, payload(stream, number, n), target)
        number += 1
        ahead = (number - first) / rate - (time.monotonic() - start)
        if ahead > 0.002:
            time.sleep(ahead)
        elif ahead < -CATCH_UP:
            # What a busy machine has kept back must not overflow a queue in one burst.
            start -= ahead + CATCH_UP
    return number - first


class Sender(threading.Thread):
    """`send` in a thread of its own."""

    def __init__(self, sock, target, stream, count, size=1000, rate=1000, first=0):
        super().__init__(daemon=True)
        self.args = (sock, target, stream, count, size, rate, first)
        self.sent = 0
        self.error = None
        self.stopping = threading.Event()
        self.start()

    def run(self):
        try:
            self.sent = send(*self.args, stop=self.stopping)
        except OSError as error:
            self.error = error

    def finish(self):
        """Stop, and say how many went out."""
        self.stopping.set()
        return self.wait()

    def wait(self):
        """Wait for the end, and say how many went out."""
        self.join()
        if self.error:
            raise self.error
        return self.sent


def pair(host_a, host_b, address_a, address_b, port_a=5001, port_b=5002):
    """Two UDP sockets connected to each other."""
    family = socket.AF_INET6 if ":" in address_a else socket.AF_INET
    a, b = host_a.socket(family, socket.SOCK_DGRAM), host_b.socket(family, socket.SOCK_DGRAM)
    a.bind((address_a, port_a))
    b.bind((address_b, port_b))
    a.connect((address_b, port_b))
    b.connect((address_a, port_a))
    return a, b


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sub = parser.add_subparsers(dest="verb", required=True)
    receive = sub.add_parser("receive")
    receive.add_argument("port", type=int)
    receive.add_argument("-6", dest="six", action="store_true")
    receive.add_argument("--idle", type=float, default=3)
    sender = sub.add_parser("send")
    sender.add_argument("host")
    sender.add_argument("port", type=int)
    sender.add_argument("count", type=int)
    sender.add_argument("--size", type=int, default=1000)
    sender.add_argument("--rate", type=float, default=1000)
    args = parser.parse_args()
    if args.verb == "send":
        family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sent = send(sock, (args.host, args.port), 0, args.count, args.size, args.rate)
        print(json.dumps({"sent": sent}))
        return 0
    with socket.socket(socket.AF_INET6 if args.six else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", args.port))
        account = Receiver(sock, 0)
        while not account.count or time.monotonic() - account.last < args.idle:
            time.sleep(0.1)
        account.stopping.set()
        account.join()
        result = account.result(account.highest + 1)
        print(json.dumps(result))
        return 0 if account.exact(account.highest + 1) else 1


if __name__ == "__main__":
    sys.exit(main())
