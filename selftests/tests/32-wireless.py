# SPDX-License-Identifier: GPL-2.0
"""Section 5.3 of the paper: a phone loads something down by Wi-Fi and a modem, with the paper's rates and delays.

Figure 9(a) has 4.5 and 4.3 Mbit/s alone and 7.5 together, with round trips of 76.2
and 155.9 ms. What one path carries alone is that of the link here, less the headers.
"""

import time

from lib import Link, case
from lib.netd import phone
from tools import flow

# Of the rate of a link, what TCP's data gets of 1500 bytes and their Ethernet header
DATA = 1448 / 1514
WIFI, ATT = (4.5, 76.2), (4.3, 155.9)
TOGETHER = 7.5
APP = 10123


def link(rate, delay):
    """A link of a phone: delay and queue are on the way down, and the queue is deep, as those of modems are."""
    return Link(rate=f"{rate * 1000:.0f}kbit", delay=f"{delay:.1f}ms", limit=200)


def loading(t, one, other):
    """A phone in the middle of a download that uses both paths; returns it and the flow."""
    p = phone(t, [link(*one), link(*other)])
    near, far = p.netd.connect(p.b, p.b.addr[0], APP, p.wifi)
    stream = flow.Tcp((far, near))
    t.defer(stream.close)

    begun = time.monotonic()

    def both():
        t.equal(stream.trouble(), None, "the flow")
        return rate(stream, 1) > 1.05 * max(one[0], other[0]) * DATA

    t.soon(both, 30, "more than the better path carries alone")
    t.note(f"after {time.monotonic() - begun:.0f} s both paths carry")
    return p, stream


def rate(stream, seconds):
    """Mbit/s that arrive for so long."""
    start, got = time.monotonic(), stream.got()
    time.sleep(seconds)
    return (stream.got() - got) * 8e-6 / (time.monotonic() - start)


@case("Figure 9(a): Wi-Fi and a modem together; then Wi-Fi goes, and the download goes on", timeout=90)
def wifi_and_modem(t):
    p, stream = loading(t, WIFI, ATT)
    both = rate(stream, 5)
    gone = p.up[0].wire.pull()
    p.netd.choose(p.cell)
    got = stream.got()
    t.soon(lambda: stream.got() - got > 100_000, 10, "data by the modem")
    gap = stream.gap(gone, time.monotonic())[0]
    alone = rate(stream, 3)
    t.note(f"{both:.2f} Mbit/s together (the paper: {TOGETHER}), {alone:.2f} by the modem alone")
    t.note(f"longest gap {gap * 1e3:.0f} ms")
    t.note(f"{stream.stop(20) >> 10} KiB, exact")
    t.reaches(both, TOGETHER, "Mbit/s together")
    t.reaches(alone, 0.7 * ATT[0] * DATA, "Mbit/s by the modem alone")
    t.within(round(gap, 3), 1.0, "longest gap when Wi-Fi goes, s")
