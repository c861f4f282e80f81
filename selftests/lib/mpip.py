# SPDX-License-Identifier: GPL-2.0
"""The module and mpipctl, as test cases use them."""

import json
import os
from collections import Counter

from .net import NetemError, command


# A kernel that MPIP is built into was started with mpip.enabled=0.
BUILTIN = os.environ.get("MPIP_KO") == "builtin"


class Mpip:
    """Loads and unloads mpip.ko and asks mpipctl.

    Where MPIP is built in, loading and unloading is switching it on and off.
    """

    def __init__(self):
        self.builtin_used = False

    def path(self):
        """Path of mpip.ko, from the environment."""
        path = os.environ.get("MPIP_KO", "")
        if not os.path.exists(path):
            raise NetemError(f"MPIP_KO names no file: {path!r}")
        return path

    def loaded(self):
        """Whether the module is loaded."""
        return self.builtin_used if BUILTIN else os.path.exists("/sys/module/mpip")

    def load(self, **options):
        """insmod with module parameters."""
        if BUILTIN:
            if options.get("enabled", 1):
                self.enable(None)
            self.builtin_used = True
            return
        command("insmod", self.path(), *(f"{k}={v}" for k, v in options.items()))

    def unload(self):
        """rmmod, once: a reference that is still held is an error."""
        if BUILTIN:
            names = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
            for host in (None, *names):
                self.disable(host)
            self.builtin_used = False
            return
        command("rmmod", "mpip")

    def ctl(self, host, *words, check=True):
        """Run mpipctl for a host (None: the initial namespace)."""
        place = [] if host is None else ["-n", str(host)]
        return command("mpipctl", *place, *words, check=check)

    def show(self, host, what):
        """An object of mpipctl, from its JSON."""
        place = [] if host is None else ["-n", str(host)]
        return json.loads(command("mpipctl", "-j", *place, *what.split()).stdout)

    def batch(self, host, *lines):
        """Run mpipctl once for several commands; what it printed."""
        place = [] if host is None else ["-n", str(host)]
        return command("mpipctl", "-j", *place, "-b", "-", stdin="\n".join(lines)).stdout

    def enable(self, host):
        """Switch the instance of a namespace on."""
        self.ctl(host, "enable")

    def disable(self, host):
        """Switch the instance of a namespace off."""
        self.ctl(host, "disable")

    def set(self, host, **params):
        """Set parameters of a namespace."""
        self.batch(host, *(f"param set {name} {value}" for name, value in params.items()))

    def params(self, host):
        """Parameters of a namespace by name."""
        return {p["name"]: p for p in self.show(host, "param show")}

    def stats(self, host):
        """Counters of a namespace by name."""
        return Counter(self.show(host, "stats"))

    def sessions(self, host, port=None, protocol=None):
        """Sessions, optionally only those that use a port at either end."""
        return self.some(self.show(host, "session"), port, protocol)

    def is_spread(self, hosts, lanes=2, **which):
        """Whether the first such session has so many active lanes at each host."""
        views = [self.sessions(host, **which) for host in hosts]
        return all(view and len(active(view[0])) >= lanes for view in views)

    @staticmethod
    def some(found, port=None, protocol=None):
        """Those sessions that use a port at either end, and a protocol."""
        if port is not None:
            found = [s for s in found if port in (s["local"]["port"], s["remote"]["port"])]
        if protocol is not None:
            found = [s for s in found if s["protocol"] == {6: "tcp", 17: "udp"}[protocol]]
        return found

    def paths_and_sessions(self, host, **which):
        """Both, asked for at once."""
        text = self.batch(host, "path", "session")
        paths, end = json.JSONDecoder().raw_decode(text)
        return paths, self.some(json.loads(text[end:]), **which)

    def paths(self, host):
        """Paths of a namespace."""
        return self.show(host, "path")


def active(session):
    """Lanes of a session that carry data."""
    return [lane for lane in session.get("lane", []) if lane["state"] == "active"]
