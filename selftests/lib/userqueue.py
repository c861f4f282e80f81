# SPDX-License-Identifier: GPL-2.0
"""A program that a host's firewall asks about each packet (NFQUEUE), and that lets all of them pass."""

import contextlib
import os
import select
import socket
import struct
import threading

from .process import NetemError
from .rtnl import ACK, NLMSG_ERROR, REQUEST, attribute

NETFILTER, QUEUE = 12, 3
PACKET, VERDICT, CONFIG = (QUEUE << 8 | kind for kind in (0, 1, 2))
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN = 1, 2, 3
BIND, COPY_META = 1, 1
PACKET_HDR, VERDICT_HDR = 1, 2
NF_ACCEPT = 1
SO_RCVBUFFORCE = 33


class UserQueue:
    """Queue `number` of a host. seen: packets that were let pass."""

    def __init__(self, host, number=0):
        self.number = number
        self.seen = 0
        self.sock = host.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.ask(attribute(CFG_CMD, struct.pack("!BxH", BIND, 0)))
        self.ask(attribute(CFG_PARAMS, struct.pack("!IB", 0, COPY_META)))
        self.ask(attribute(CFG_QUEUE_MAXLEN, struct.pack("!I", 4096)))
        self.end, self.other = os.pipe()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def message(self, kind, flags, body):
        """A request about the queue."""
        body = struct.pack("!BBH", 0, 0, self.number) + body
        return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 0, 0) + body

    def ask(self, body):
        """Configure the queue."""
        self.sock.send(self.message(CONFIG, ACK, body))
        while True:
            answer = self.sock.recv(65536)
            if struct.unpack_from("=IH", answer)[1] == NLMSG_ERROR:
                error = -struct.unpack_from("=i", answer, 16)[0]
                if error:
                    raise NetemError(f"queue {self.number}: {os.strerror(error)}")
                return

    def run(self):
        """Let pass what comes."""
        while self.end not in select.select([self.sock, self.end], [], [])[0]:
            # What the socket has no room for the kernel drops, as it would any packet.
            with contextlib.suppress(OSError):
                self.take(self.sock.recv(1 << 16))

    def take(self, data):
        """The messages of one datagram."""
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == PACKET:
                # The first attribute, behind the header of netfilter.
                (identity,) = struct.unpack_from("!I", data, 24)
                self.sock.send(self.message(VERDICT, 0, attribute(VERDICT_HDR, struct.pack("!II", NF_ACCEPT, identity))))
                self.seen += 1
            data = data[(length + 3) & ~3 :]

    def close(self):
        """End it; the queue goes with its socket."""
        os.write(self.other, b"x")
        self.thread.join()
        self.sock.close()
        os.close(self.end)
        os.close(self.other)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
