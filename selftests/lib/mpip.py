# SPDX-License-Identifier: GPL-2.0
"""The module and mpipctl, as test cases use them."""

import json
import os
from collections import Counter

from .net import NetemError, command


class Mpip:
    """Loads and unloads mpip.ko and asks mpipctl."""

    def path(self):
        """Path of mpip.ko, from the environment."""
        path = os.environ.get("MPIP_KO", "")
        if not os.path.exists(path):
            raise NetemError(f"MPIP_KO names no file: {path!r}")
        return path

    def loaded(self):
        """Whether the module is loaded."""
        return os.path.exists("/sys/module/mpip")

    def load(self, **options):
        """insmod with module parameters."""
        command("insmod", self.path(), *(f"{k}={v}" for k, v in options.items()))

    def unload(self):
        """rmmod, once: a reference that is still held is an error."""
        command("rmmod", "mpip")

    def ctl(self, host, *words, check=True):
        """Run mpipctl for a host (None: the initial namespace)."""
        place = [] if host is None else ["-n", str(host)]
        return command("mpipctl", *place, *words, check=check)

    def show(self, host, what):
        """An object of mpipctl, from its JSON."""
        place = [] if host is None else ["-n", str(host)]
        return json.loads(command("mpipctl", "-j", *place, *what.split()).stdout)

    def enable(self, host):
        """Switch the instance of a namespace on."""
        self.ctl(host, "enable")

    def disable(self, host):
        """Switch the instance of a namespace off."""
        self.ctl(host, "disable")

    def set(self, host, **params):
        """Set parameters of a namespace."""
        for name, value in params.items():
            self.ctl(host, "param", "set", name, value)

    def params(self, host):
        """Parameters of a namespace by name."""
        return {p["name"]: p for p in self.show(host, "param show")}

    def stats(self, host):
        """Counters of a namespace by name."""
        return Counter(self.show(host, "stats"))

    def sessions(self, host, port=None, protocol=None):
        """Sessions, optionally only those that use a port at either end."""
        found = self.show(host, "session")
        if port is not None:
            found = [s for s in found if port in (s["local"]["port"], s["remote"]["port"])]
        if protocol is not None:
            found = [s for s in found if s["protocol"] == {6: "tcp", 17: "udp"}[protocol]]
        return found

    def paths(self, host):
        """Paths of a namespace."""
        return self.show(host, "path")


def active(session):
    """Lanes of a session that carry data."""
    return [lane for lane in session.get("lane", []) if lane["state"] == "active"]
