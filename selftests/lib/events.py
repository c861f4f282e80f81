# SPDX-License-Identifier: GPL-2.0
"""Who listens to a host's events, and what it has heard."""

import json
import os
import subprocess
import tempfile

from .process import written

MONITOR = ("mpipctl", "-j", "monitor")


def groups_of(host, process):
    """How many multicast groups a process has joined."""
    with host.inside(), open("/proc/thread-self/net/netlink", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return max([int(r[3], 16).bit_count() for r in rows if int(r[2]) == process.pid], default=0)


class Listener:
    """A program that listens and writes one JSON object a line; ready when it is made."""

    def __init__(self, t, host, argv=MONITOR, groups=2):
        self.t, self.host, self.events, self.rest = t, host, [], b""
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close
        self.process = host.spawn(*argv, stdout=subprocess.PIPE, stderr=self.errors)
        self.out = self.process.stdout.fileno()
        os.set_blocking(self.out, False)
        t.defer(self.close)
        joined = lambda: groups_of(host, self.process) == groups  # noqa: E731
        t.wait(lambda: joined() or self.process.poll() is not None, 20, f"{argv} to listen")
        t.equal(self.process.poll(), None, f"{argv} ended: {self.said()}")

    def said(self):
        """What it has written to standard error."""
        return written(self.errors).decode()

    def read(self):
        """All events so far."""
        while True:
            try:
                piece = os.read(self.out, 65536)
            except BlockingIOError:
                break
            if not piece:
                break
            *lines, self.rest = (self.rest + piece).split(b"\n")
            self.events += [json.loads(line) for line in lines]
        return self.events

    def having(self, **wanted):
        """Events with these members."""
        return [e for e in self.read() if all(e.get(k) == v for k, v in wanted.items())]

    def hears(self, timeout=20, **wanted):
        """Wait for an event with these members; return it."""
        what = f"{self.host} to be told {wanted}"
        try:
            return self.t.wait(lambda: self.having(**wanted), timeout, what)[-1]
        finally:
            self.t.note(f"{self.host} was told {[e.get('kind', e.get('name')) for e in self.events]}")

    def ends(self, status, timeout=20):
        """Wait for its end and compare its status."""
        self.t.wait(lambda: self.process.poll() is not None, timeout, f"the listener in {self.host} to end")
        self.t.equal(self.process.returncode, status, f"exit status: {self.said()}")

    def close(self):
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()
