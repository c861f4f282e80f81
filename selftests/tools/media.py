# SPDX-License-Identifier: GPL-2.0
"""Speech and pictures as datagrams: how long each was on its way.

Sender and receiver are on one machine and share its clock, so one-way delays are exact. When a datagram
came is what the kernel says of the moment it took it from the interface, so that a receiver that had to
wait for its turn at the processor is not taken for a slow path. What the receiving kernel does with it
afterwards, such as putting it in order, does not count; `Media(…, kernel=False)` is the application's view.
"""

import socket
import struct
import time

from . import flow

SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("@ll")

# 20 ms of Opus at 64 kbit/s with an RTP header.
SPEECH = {"rate": 50, "size": 172}
# 1.5 Mbit/s, 30 pictures a second of six datagrams each.
PICTURES = {"rate": 180, "size": 1042, "together": 6}
# What belongs together leaves within this part of the time until the next, as WebRTC's pacer has it.
HASTE = 0.4


class Beat:
    """A group of datagrams at regular times, each group within a part of its time."""

    def __init__(self, rate, together):
        self.period, self.together = together / rate, together
        self.start = time.monotonic()
        self.number = 0

    def wait(self, amount):
        """To be called after each datagram."""
        self.number += amount
        group, inside = divmod(self.number, self.together)
        due = self.start + self.period * (group + HASTE * inside / self.together)
        ahead = due - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        elif ahead < -1:  # time that was lost is not caught up
            self.start -= ahead


class Media(flow.Udp):
    """Numbered datagrams, `rate` a second, in groups of `together`."""

    def __init__(self, pair, rate, size, together=1, kernel=True):
        self.together, self.kernel = together, kernel
        if kernel:
            pair[1].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # The kernel's stamps are those of the other clock.
        self.offset = time.time() - time.monotonic()
        super().__init__(pair, rate, size)

    def pace(self):
        return Beat(self.rate, self.together)

    def take(self, sock):
        if not self.kernel:
            return super().take(sock)
        data, notes, _, _ = sock.recvmsg(65536, 64)
        now = time.monotonic()
        for level, kind, value in notes:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nano = TIMESPEC.unpack(value)
                now = min(now, seconds + nano * 1e-9 - self.offset)
        return data, now

    def delays(self, start, end):
        """[(when it was sent, seconds on its way)] of all that were sent in this time and have come."""
        came = list(zip(self.came.whats(), self.came.times()))
        went = self.went.times()  # of all that have come
        return sorted((went[n], when - went[n]) for n, when in came if start <= went[n] < end)

    def lost(self, start, end):
        """What part of what was sent in this time has not come."""
        sent = sum(start <= when < end for when in self.went.times())
        return sum(start <= when < end for _, when in self.missing()) / max(1, sent)
