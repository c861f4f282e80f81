# SPDX-License-Identifier: GPL-2.0
"""Streams and datagrams both ways between two hosts, and which links they take.

For cases that say which paths are to be used. A is the end that something is set at.
"""

import time

from lib.world import RX_BYTES, TX_BYTES

from . import flow, udpcount, xfer

QUIET = 12_000  # bytes of questions, neighbours and the like on a link in the time that is looked at


class Traffic:
    """Streams and datagrams both ways between A and B, on sessions with two lanes."""

    def __init__(self, t, a, b, rate=250_000):
        self.t, self.a, self.b = t, a, b
        there = xfer.connect(a, b, b.addr[0], 7000)[0]
        back = xfer.connect(a, b, b.addr[0], 7001)[0][::-1]
        near, far = udpcount.pair(a, b, a.addr[0], b.addr[0], 5001, 5002)
        close, distant = udpcount.pair(a, b, a.addr[0], b.addr[0], 5003, 5004)
        self.streams = [flow.Tcp(there, rate), flow.Tcp(back, rate)]
        self.streams += [flow.Udp((near, far), 150, 1000), flow.Udp((distant, close), 150, 1000)]
        for stream in self.streams:
            t.defer(stream.close)

    def lanes(self, host, link):
        """The lanes on A's link with this number, of all sessions."""
        end = "local" if host is self.a else "remote"
        sessions = self.t.module.sessions(host)
        addr = self.a.addr[link]
        return [lane for s in sessions for lane in s["lane"] if lane[end]["addr"] == addr]

    def spread(self):
        """Wait until four sessions have two lanes that may carry data, at both ends."""

        def ready():
            for host in (self.a, self.b):
                sessions = self.t.module.sessions(host)
                usable = [[lane for lane in s["lane"] if lane["state"] in ("active", "standby")] for s in sessions]
                if len(sessions) < 4 or min(map(len, usable)) < 2:
                    return False
            return all(path.get("srtt_us") for path in self.t.module.paths(self.a))

        self.t.soon(ready, 20, "four sessions with two lanes")

    def used(self, seconds=1.0, fields=(RX_BYTES, TX_BYTES)):
        """Bytes on each link of A in this time, both ways unless said otherwise."""
        before = self.a.counters()
        time.sleep(seconds)
        now = self.a.counters()
        return [sum(now[d][f] - before[d][f] for f in fields) for d in self.a.dev]

    def sent(self):
        """Bytes that A sends on each of its links in a while."""
        return self.used(0.4, (TX_BYTES,))

    def another(self):
        """A new session, old enough for B to have looked for lanes; its port at A."""
        fresh = xfer.connect(self.a, self.b, self.b.addr[0])
        port = fresh[0][0].getsockname()[1]

        def opened():
            xfer.exchange(fresh, 3000, 3000, 7)
            found = self.t.module.sessions(self.b, port)
            return found and found[0]["state"] == "open" and found[0]["age_ms"] > 1000

        self.t.wait(opened, 20, "another session")
        return port

    def keeps_off(self, link, what):
        """Wait until everything goes by the other link of two."""

        def off():
            return self.used(0.3)[link] <= QUIET

        self.t.soon(off, 15, what)
        used = self.used()
        self.t.note(f"{what}: bytes on the links {used}")
        self.t.within(used[link], QUIET, f"bytes on link {link}, {what}")
        self.t.reaches(used[1 - link], 10 * QUIET, f"bytes on the other, {what}")

    def takes_both(self, what):
        """Wait until both links carry data."""
        self.t.soon(lambda: min(self.used(0.3)) > 2 * QUIET, 15, what)

    def goes_on(self, what):
        """Wait until each stream has brought something more."""
        got = [stream.got() for stream in self.streams]
        more = lambda: all(s.got() > was for s, was in zip(self.streams, got))  # noqa: E731
        self.t.soon(more, 10, what)

    def unused(self, host, link, reason):
        """Wait until no lane on a link of A is used, and why is said; some may not have come up."""

        def said():
            lanes = [lane for lane in self.lanes(host, link) if lane.get("unused") != "replaced"]
            reasons = {lane.get("unused", lane["state"]) for lane in lanes}
            return reason in reasons and not reasons & {"active", "suspect"}

        self.t.soon(said, 10, f"{host} to say {reason!r} of link {link}")

    def stop(self):
        """All that was sent by TCP has come, in order."""
        for stream in self.streams:
            stream.stop()
