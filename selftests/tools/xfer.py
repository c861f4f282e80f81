#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Move seeded pseudo-random bytes over TCP and compare the SHA-256 of what went in and came out.

As a module: `transfer` and `Traffic` run both ends of many connections in this
process (sockets keep the namespace they were made in). As a program:

  xfer.py serve PORT [-6]                      echo nothing, print count and hash of what comes,
                                               send as much back with another seed
  xfer.py send HOST PORT MIB [-n CONNECTIONS]  the other end
"""

import argparse
import hashlib
import json
import os
import random
import selectors
import socket
import struct
import sys
import threading
import time
import zlib

BLOCK = 1 << 16
CHUNK = 4 * BLOCK
# On a kernel that watches itself everything may take so many times as long.
SLOW = int(os.environ.get("MPIP_SLOW", "1"))
TURN = 8  # calls of send or receive before it is another stream's turn
_base = b""


def base():
    """4 MiB of seeded noise; every stream is made of pieces of it."""
    global _base
    if not _base:
        _base = random.Random(2018).randbytes(4 << 20)
    return _base


class Source:
    """An endless reproducible byte stream, different for each seed.

    Each block is a window of `base` at an offset that depends on seed and
    position, so a piece that is lost, repeated or misplaced changes the hash.
    """

    def __init__(self, seed):
        self.seed = seed
        self.noise = memoryview(base())
        self.position = 0

    def window(self):
        """What comes next, up to the end of the block."""
        block, inside = divmod(self.position, BLOCK)
        at = zlib.crc32(struct.pack("!QQ", self.seed, block)) % (len(self.noise) - BLOCK)
        return self.noise[at + inside : at + BLOCK]

    def read(self, count):
        """Take `count` bytes."""
        parts = []
        while count:
            part = self.window()[:count]
            parts.append(part)
            self.position += len(part)
            count -= len(part)
        return b"".join(parts)


class Stream:
    """One end of a connection: what it still has to send, what it has got.

    limit   bytes to send; None: until `stop` of the pump is set
    expect  bytes to receive; None: until the other end has finished
    """

    def __init__(self, sock, seed, limit, expect=None, close=True):
        sock.setblocking(False)
        self.sock = sock
        self.source = Source(seed)
        self.limit = limit
        self.expect = expect
        self.close = close
        self.sent = self.got = 0
        self.sent_hash = hashlib.sha256()
        self.got_hash = hashlib.sha256()
        self.sending = True
        self.receiving = close or expect != 0
        self.error = None

    def step_send(self, stop):
        """Send what the socket takes now, within bounds: others want their turn."""
        if self.limit is None and stop.is_set():
            self.limit = self.sent
        for _ in range(TURN):
            if self.limit is not None and self.sent >= self.limit:
                break
            piece = self.source.window()
            if self.limit is not None:
                piece = piece[: self.limit - self.sent]
            try:
                n = self.sock.send(piece)
            except BlockingIOError:
                return
            self.sent_hash.update(piece[:n])
            self.source.position += n
            self.sent += n
        if self.limit is None or self.sent < self.limit:
            return
        self.sending = False
        if self.close:
            self.sock.shutdown(socket.SHUT_WR)

    def step_receive(self, buffer):
        """Take what has arrived, within bounds."""
        for _ in range(TURN):
            room = len(buffer)
            if self.expect is not None and not self.close:
                room = min(room, self.expect - self.got)
            try:
                n = self.sock.recv_into(buffer, room)
            except BlockingIOError:
                return
            if not n:
                self.receiving = False
                return
            self.got += n
            self.got_hash.update(buffer[:n])
            if not self.close and self.got == self.expect:
                self.receiving = False
                return
            if n < room:
                return


class Pump(threading.Thread):
    """Drives many streams, in a thread of its own."""

    def __init__(self, streams, timeout, stop=None):
        super().__init__(daemon=True)
        self.streams = streams
        self.timeout = timeout
        self.stop = stop or threading.Event()
        self.progress = time.monotonic()
        self.gap = 0.0

    def run(self):
        poll = selectors.EpollSelector()
        buffer = memoryview(bytearray(CHUNK))
        for stream in self.streams:
            poll.register(stream.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, stream)
        left = len(self.streams)
        end = time.monotonic() + self.timeout
        self.progress = time.monotonic()
        while left:
            events = poll.select(0.1)
            now = time.monotonic()
            if now > end:
                for stream in self.streams:
                    if stream.sending or stream.receiving:
                        stream.error = (
                            stream.error or f"timed out with {stream.sent} sent, {stream.got} received"
                        )
                return
            for key, mask in events:
                stream = key.data
                got = stream.got
                try:
                    if mask & selectors.EVENT_READ and stream.receiving:
                        stream.step_receive(buffer)
                    if mask & selectors.EVENT_WRITE and stream.sending:
                        stream.step_send(self.stop)
                except OSError as error:
                    stream.error = f"{error} with {stream.sent} sent, {stream.got} received"
                    stream.sending = stream.receiving = False
                if stream.got != got:
                    self.gap = max(self.gap, now - self.progress)
                    self.progress = now
                want = 0
                if stream.receiving:
                    want |= selectors.EVENT_READ
                if stream.sending:
                    want |= selectors.EVENT_WRITE
                if not want:
                    poll.unregister(stream.sock)
                    left -= 1
                elif want != key.events:
                    poll.modify(stream.sock, want, stream)


class Mismatch(Exception):
    """What came out is not what went in."""


def compare(one, other, name):
    """Raise Mismatch unless each end got exactly what the other sent."""
    for stream in (one, other):
        if stream.error:
            raise Mismatch(f"{name}: {stream.error}")
    for sender, receiver, way in ((one, other, "there"), (other, one, "back")):
        if sender.sent != receiver.got:
            raise Mismatch(f"{name}: {way}: {sender.sent} bytes sent, {receiver.got} received")
        if sender.sent_hash.digest() != receiver.got_hash.digest():
            raise Mismatch(f"{name}: {way}: SHA-256 differs after {sender.sent} bytes")


class Traffic:
    """Both ends of connections, moving data until `finish` or until the given amount is through."""

    def __init__(self, pairs, there=None, back=None, seed=1, close=True, timeout=600):
        self.stop = threading.Event()
        self.ends = [], []
        for n, (a, b) in enumerate(pairs):
            self.ends[0].append(Stream(a, seed + 2 * n, there, back, close))
            self.ends[1].append(Stream(b, seed + 2 * n + 1, back, there, close))
        self.pumps = [Pump(streams, timeout, self.stop) for streams in self.ends]
        self.start = time.monotonic()
        for pump in self.pumps:
            pump.start()

    def moved(self):
        """Bytes received so far: (at B, at A)."""
        return sum(s.got for s in self.ends[1]), sum(s.got for s in self.ends[0])

    def silence(self):
        """The longest time in which nothing arrived at an end, seconds."""
        return max(pump.gap for pump in self.pumps)

    def finish(self):
        """Stop sending, wait until all is through, compare. Returns the seconds it took."""
        self.stop.set()
        return self.wait()

    def wait(self):
        """Wait until all is through and compare; returns the seconds it took."""
        for pump in self.pumps:
            pump.join()
        self.seconds = time.monotonic() - self.start
        for n, (one, other) in enumerate(zip(*self.ends)):
            compare(one, other, f"connection {n}")
        return self.seconds


def connect(host_a, host_b, address, port=0, count=1, timeout=30, bufsize=0):
    """Open `count` connections from A to an address of B: a list of (socket at A, socket at B)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    pairs = []
    with host_b.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bufsize:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bufsize)
        listener.bind((address, port))
        listener.listen(256)
        listener.settimeout(timeout)
        for _ in range(count):
            a = host_a.socket(family)
            a.settimeout(timeout)
            if bufsize:
                a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bufsize)
            a.connect(listener.getsockname())
            pairs.append((a, listener.accept()[0]))
    return pairs


def receive(sock, length, timeout):
    """So many bytes; an error if a wait takes longer, or the connection ends before."""
    sock.settimeout(timeout)
    came = bytearray()
    while len(came) < length:
        piece = sock.recv(length - len(came))
        if not piece:
            raise ConnectionError(f"it ended after {len(came)} of {length} bytes")
        came += piece
    return bytes(came)


def close(pairs):
    """Close the sockets of `connect`."""
    for pair in pairs:
        for sock in pair:
            sock.close()


def exchange(pairs, there, back, seed=1, timeout=120):
    """Move so many bytes both ways over open connections and leave them open; returns seconds."""
    return Traffic(pairs, there, back, seed, close=False, timeout=timeout * SLOW).wait()


def transfer(host_a, host_b, address, there, back, port=0, count=1, seed=1, timeout=180):
    """Connect, move bytes both ways at once, close, compare; returns seconds."""
    pairs = connect(host_a, host_b, address, port, count)
    try:
        return Traffic(pairs, there, back, seed, timeout=timeout * SLOW).wait()
    finally:
        close(pairs)


def serve(args):
    """Command line: accept connections, receive all, send as much as the client asks for."""
    family = socket.AF_INET6 if args.six else socket.AF_INET
    with socket.create_server(("", args.port), family=family) as listener:
        while True:
            sock, peer = listener.accept()
            with sock:
                count, seed = struct.unpack("!QQ", sock.recv(16, socket.MSG_WAITALL))
                stream = Stream(sock, seed + 1, count)
                pump = Pump([stream], args.timeout)
                pump.run()
                report(stream, peer)


def send(args):
    """Command line: the client."""
    streams = []
    for n in range(args.connections):
        sock = socket.create_connection((args.host, args.port))
        sock.sendall(struct.pack("!QQ", args.mib << 20, 2 * n))
        streams.append(Stream(sock, 2 * n, args.mib << 20))
    Pump(streams, args.timeout).run()
    failed = False
    for n, stream in enumerate(streams):
        report(stream, (args.host, args.port))
        want = hashlib.sha256(Source(2 * n + 1).read(args.mib << 20)).digest()
        failed |= bool(stream.error) or stream.got_hash.digest() != want
    return failed


def report(stream, peer):
    """Print one line of JSON about a finished stream."""
    print(
        json.dumps(
            {
                "peer": peer[0],
                "sent": stream.sent,
                "sent_sha256": stream.sent_hash.hexdigest(),
                "received": stream.got,
                "received_sha256": stream.got_hash.hexdigest(),
                "error": stream.error,
            }
        ),
        flush=True,
    )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, default=600)
    sub = parser.add_subparsers(required=True)
    server = sub.add_parser("serve")
    server.add_argument("port", type=int)
    server.add_argument("-6", dest="six", action="store_true")
    server.set_defaults(go=serve)
    client = sub.add_parser("send")
    client.add_argument("host")
    client.add_argument("port", type=int)
    client.add_argument("mib", type=int)
    client.add_argument("-n", dest="connections", type=int, default=1)
    client.set_defaults(go=send)
    args = parser.parse_args()
    return args.go(args)


if __name__ == "__main__":
    sys.exit(main())
