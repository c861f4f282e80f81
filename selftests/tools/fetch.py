# SPDX-License-Identifier: GPL-2.0
"""A server that sends as much as it is asked for, and clients that take the time.

A request is two numbers: how many bytes the client is going to send, and how many
it wants. The server sends its own, takes the client's, and when it has all of them
ends with one byte more. ECHO instead of a number: whatever comes is sent back.
"""

import contextlib
import os
import signal
import socket
import struct
import threading
import time

PORT, PORT_MPTCP = 5301, 5302
REQUEST = struct.Struct("!QQ")
ECHO = (1 << 64) - 1
ZEROS = bytes(1 << 17)


class Server:
    """The server's process."""

    def __init__(self, pid):
        self.pid = pid

    def kill(self):
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        """Collect it."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def serve(host):
    """Start a server for TCP and MPTCP in a host's namespace."""
    listeners = []
    for port, proto in ((PORT, 0), (PORT_MPTCP, socket.IPPROTO_MPTCP)):
        sock = host.socket(socket.AF_INET, socket.SOCK_STREAM, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", port))
        sock.listen(64)
        listeners.append(sock)
    pid = os.fork()
    if pid:
        for sock in listeners:
            sock.close()
        return Server(pid)
    try:
        threads = [threading.Thread(target=accept, args=(sock,)) for sock in listeners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os._exit(0)


def accept(listener):
    """A thread for each connection."""
    while True:
        sock = listener.accept()[0]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=handle, args=(sock,), daemon=True).start()


def handle(sock):
    """One connection."""
    with sock, contextlib.suppress(OSError, struct.error):
        coming, wanted = REQUEST.unpack(sock.recv(REQUEST.size, socket.MSG_WAITALL))
        if coming == ECHO:
            while data := sock.recv(4096):
                sock.sendall(data)
            return
        both(sock, wanted, coming)
        sock.sendall(b"!")


def send(sock, count):
    """Send so many bytes."""
    while count:
        count -= sock.send(ZEROS[:count])


def receive(sock, count):
    """Receive so many bytes."""
    buffer = bytearray(1 << 18)
    while count:
        n = sock.recv_into(buffer, min(count, len(buffer)))
        if not n:
            raise ConnectionError(f"the connection ended, {count} bytes are missing")
        count -= n


def both(sock, outgoing, incoming):
    """Send and receive at the same time."""
    if not outgoing or not incoming:
        send(sock, outgoing)
        receive(sock, incoming)
        return
    sender = threading.Thread(target=send, args=(sock, outgoing), daemon=True)
    sender.start()
    receive(sock, incoming)
    sender.join()


def fetch(connect, down, up=0):
    """Seconds from connecting until all bytes have come, and all of ours are known to have arrived."""
    start = time.monotonic()
    with connect() as sock:
        sock.sendall(REQUEST.pack(up, down))
        both(sock, up, down)
        took = time.monotonic() - start
        receive(sock, 1)
        return time.monotonic() - start if up else took


def echo(sock):
    """Have the server send back what comes on this connection."""
    sock.sendall(REQUEST.pack(ECHO, 0))


def ping(sock, count, size=1):
    """Seconds that each of `count` questions of so many bytes took to come back."""
    data, took = b"?" * size, []
    for _ in range(count):
        start = time.perf_counter()
        sock.sendall(data)
        receive(sock, size)
        took.append(time.perf_counter() - start)
    return took
