#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A flow whose receiver writes down when how much came: gaps and throughput as the application sees them.

Sender and receiver are processes of their own, so neither waits for the other's
turn at the interpreter. What they write down is in shared memory and can be read
while they run. All times are time.monotonic().

  Tcp(pair)         a connection's one direction, every byte compared with what was sent
  Udp(pair, rate)   numbered datagrams; which came, when each was sent
"""

import bisect
import contextlib
import errno
import mmap
import os
import signal
import socket
import time

from . import udpcount, xfer

PIECE = 1 << 14
TCP_NOTSENT_LOWAT = 25
# Fields of Ledger.head
STOP, COUNT, TOTAL, STATE, WHERE, DUPLICATE, CORRUPT = range(7)
RUNNING, DONE, WRONG, ERROR = range(4)


class Ledger:
    """What a process writes down for another: times, and a number with each."""

    ROOM = 1 << 20

    def __init__(self):
        self.memory = memoryview(mmap.mmap(-1, 128 + 16 * self.ROOM))
        self.head = self.memory[:128].cast("q")
        self.time = self.memory[128 : 128 + 8 * self.ROOM].cast("d")
        self.what = self.memory[128 + 8 * self.ROOM :].cast("q")

    def add(self, when, what):
        """One more line."""
        n = self.head[COUNT]
        self.time[n], self.what[n] = when, what
        self.head[COUNT] = n + 1

    def times(self):
        """All times so far."""
        return self.time[: self.head[COUNT]].tolist()

    def whats(self):
        """The number with each of them."""
        return self.what[: self.head[COUNT]].tolist()


class Process:
    """A function in a process of its own; what it needs to tell goes into a Ledger."""

    def __init__(self, function, ledger, nice=0):
        self.ledger = ledger
        self.over = False
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.nice(nice)
            function()
            if ledger.head[STATE] == RUNNING:
                ledger.head[STATE] = DONE
        except OSError as error:
            ledger.head[WHERE] = error.errno or 0
            ledger.head[STATE] = ERROR
        finally:
            os._exit(0)

    def wait(self, timeout):
        """Whether it ended in time."""
        end = time.monotonic() + timeout
        while not self.over:
            self.over = os.waitpid(self.pid, os.WNOHANG)[0] != 0
            if self.over or time.monotonic() >= end:
                break
            time.sleep(0.02)
        return self.over

    def kill(self):
        """End it."""
        if not self.over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.over = True


class Pace:
    """So many bytes, or datagrams, a second; time that was lost is not caught up."""

    def __init__(self, rate):
        self.rate = rate
        self.due = time.monotonic()

    def wait(self, amount):
        """To be called after each piece."""
        now = time.monotonic()
        self.due = max(self.due + amount / self.rate, now - 0.05)
        if self.due - now > 0.002:
            time.sleep(self.due - now)


class Flow:
    """What TCP and UDP have in common. `went` is what the sender wrote down, `came` the receiver."""

    def __init__(self, pair):
        self.pair = pair
        self.went, self.came = Ledger(), Ledger()
        self.receiver = Process(self.receive, self.came, -15)
        self.sender = Process(self.send, self.went, -5)

    def got(self):
        """Bytes, or datagrams, received so far."""
        return self.came.head[TOTAL]

    def sent(self):
        """Bytes, or datagrams, sent so far."""
        return self.went.head[TOTAL]

    def gap(self, start, end):
        """The longest time without data at the receiver that touches this span: (seconds, when it began)."""
        return longest_gap(self.came.times(), start, end)

    def next_after(self, when):
        """When the first data after this time came; None if none did yet."""
        times = self.came.times()
        at = bisect.bisect(times, when)
        return times[at] if at < len(times) else None

    def rates(self, start, end, step=0.1):
        """Mbit/s in each step: [(middle of the step, rate)]."""
        count = max(1, round((end - start) / step))
        sums = [0] * count
        for when, size in zip(self.came.times(), self.sizes()):
            if start <= when < end:
                sums[min(count - 1, int((when - start) / step))] += size
        return [(start + (n + 0.5) * step, total * 8e-6 / step) for n, total in enumerate(sums)]

    def trouble(self):
        """What went wrong so far, or None."""
        for ledger, who in ((self.went, "sender"), (self.came, "receiver")):
            state, where = ledger.head[STATE], ledger.head[WHERE]
            if state == WRONG:
                return f"the receiver got something else than was sent at byte {where}"
            if state == ERROR:
                return f"{who}: {os.strerror(where)} after {ledger.head[TOTAL]}"
        return None

    def close(self):
        """End both processes and close the sockets."""
        self.sender.kill()
        self.receiver.kill()
        for sock in self.pair:
            sock.close()


class Tcp(Flow):
    """One direction of a connection, from the first socket of the pair to the second.

    rate  bytes a second; None: as fast as it goes
    """

    def __init__(self, pair, rate=None, seed=1):
        self.rate = rate
        self.seed = seed
        xfer.base()
        for sock in pair:
            sock.setblocking(True)
        super().__init__(pair)

    def send(self):
        """The sender's process."""
        sock, head = self.pair[0], self.went.head
        # What has not been sent yet waits here rather than in the socket.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1 << 17)
        source = xfer.Source(self.seed)
        pace = Pace(self.rate) if self.rate else None
        most = min(PIECE, max(1000, int(self.rate / 100))) if pace else PIECE
        while not head[STOP]:
            n = sock.send(source.window()[:most])
            source.position += n
            head[TOTAL] = source.position
            if pace:
                pace.wait(n)
        sock.shutdown(socket.SHUT_WR)

    def receive(self):
        """The receiver's process."""
        sock, ledger = self.pair[1], self.came
        source = xfer.Source(self.seed)
        buffer = memoryview(bytearray(1 << 18))
        while n := sock.recv_into(buffer):
            now = time.monotonic()
            if bytes(buffer[:n]) != source.read(n):
                ledger.head[WHERE] = source.position - n
                ledger.head[STATE] = WRONG
                return
            ledger.add(now, n)
            ledger.head[TOTAL] = source.position

    def sizes(self):
        """Bytes of each read."""
        return self.came.whats()

    def stop(self, patience=20):
        """Stop sending, wait until all has come; Mismatch unless it is what was sent."""
        self.went.head[STOP] = 1
        done = self.sender.wait(patience) and self.receiver.wait(patience)
        reason = self.trouble()
        if not done and not reason:
            reason = "stuck"
        if not reason and self.sent() != self.got():
            reason = "bytes are missing"
        if reason:
            raise xfer.Mismatch(f"{reason}; {self.sent()} bytes sent, {self.got()} received")
        return self.got()


class Udp(Flow):
    """Numbered datagrams from the first socket of the pair to the second.

    rate    datagrams a second
    target  where they are sent, if the first socket is not connected
    """

    QUIET = 0.4

    def __init__(self, pair, rate, size=1200, stream=1, target=None):
        self.rate, self.size, self.stream, self.target = rate, size, stream, target
        udpcount.noise()
        for sock in pair:
            sock.setblocking(True)
        pair[1].setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 32 << 20)
        super().__init__(pair)

    def pace(self):
        """When the next one is due; asked for by the sender's process."""
        return Pace(self.rate)

    def take(self, sock):
        """Wait for the next datagram: what it says, and when it came."""
        return sock.recv(65536), time.monotonic()

    def send(self):
        """The sender's process."""
        sock, ledger = self.pair[0], self.went
        send = sock.send if self.target is None else lambda data: sock.sendto(data, self.target)
        pace = self.pace()
        number = 0
        while not ledger.head[STOP]:
            data = udpcount.payload(self.stream, number, self.size)
            ledger.add(time.monotonic(), number)
            try:
                send(data)
            except OSError as error:
                # A datagram that could not leave counts as one that is lost; the ICMP error of an
                # earlier one costs this one nothing.
                if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH):
                    with contextlib.suppress(OSError):
                        send(data)
                elif error.errno not in (errno.ENETUNREACH, errno.ENOBUFS, errno.ENETDOWN, errno.EINVAL):
                    raise
                ledger.head[CORRUPT] += 1
            number += 1
            ledger.head[TOTAL] = number
            pace.wait(1)

    def receive(self):
        """The receiver's process."""
        sock, ledger = self.pair[1], self.came
        head = ledger.head
        seen = bytearray(Ledger.ROOM)
        while True:
            try:
                data, now = self.take(sock)
            except ConnectionRefusedError:  # an ICMP error of the past
                continue
            if len(data) < udpcount.HEADER.size:
                head[CORRUPT] += 1
                continue
            stream, number, size = udpcount.HEADER.unpack_from(data)
            if stream != self.stream or data != udpcount.payload(stream, number, size):
                head[CORRUPT] += 1
            elif seen[number]:
                head[DUPLICATE] += 1
            else:
                seen[number] = 1
                ledger.add(now, number)
                head[TOTAL] += 1

    def sizes(self):
        """Bytes of each datagram."""
        return [self.size] * self.came.head[COUNT]

    def refused(self):
        """How often the socket would not take a datagram at once."""
        return self.went.head[CORRUPT]

    def missing(self):
        """When each datagram that has not come was sent: [(number, time)]."""
        came = set(self.came.whats())
        return [(n, t) for n, t in enumerate(self.went.times()) if n not in came]

    def stop(self, patience=10):
        """Stop sending, wait for the last, say how many came; Mismatch if any was altered or came twice."""
        self.went.head[STOP] = 1
        if not self.sender.wait(patience):
            raise xfer.Mismatch("the sender is stuck")
        end = time.monotonic() + patience
        while time.monotonic() < end and self.got() < self.sent():
            quiet = self.got()
            time.sleep(self.QUIET)
            if self.got() == quiet:
                break
        self.receiver.kill()
        head = self.came.head
        reason = self.trouble()
        if head[DUPLICATE] or head[CORRUPT]:
            reason = f"{head[DUPLICATE]} datagrams came twice, {head[CORRUPT]} were altered"
        if reason:
            raise xfer.Mismatch(f"{reason}; {self.sent()} sent, {self.got()} received")
        return self.got()


def longest_gap(times, start, end):
    """The longest span between neighbours of `times` that touches [start, end]: (seconds, when it began).

    A span that has not ended yet counts up to `end`.
    """
    last = bisect.bisect_right(times, end)
    points = times[max(0, bisect.bisect_left(times, start) - 1) : last + 1] or [start]
    if last == len(times):
        points.append(end)
    return max((later - earlier, earlier) for earlier, later in zip(points, points[1:]))
