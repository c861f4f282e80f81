# SPDX-License-Identifier: GPL-2.0
"""Two hosts, the module and what receives, for the parts that send their datagrams themselves."""

from lib.mpip import Mpip
from lib.net import two_hosts


class Stage:
    """All of it. sinks: sockets that receive."""

    def __init__(self, cables):
        self.hosts = self.a, self.b = two_hosts(cables)
        self.module = Mpip()
        self.sinks = []

    def close(self):
        """Remove all of it."""
        for sock in self.sinks:
            sock.close()
        if self.module.loaded():
            self.module.unload()
        for host in self.hosts:
            host.delete()
