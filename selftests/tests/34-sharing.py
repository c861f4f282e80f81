# SPDX-License-Identifier: GPL-2.0
"""Sessions that share two paths: who cannot wait has the quick one, and the others make way.

Rules are A's: they are for what A sends. `make experiments` measures the same for longer.
"""

import time

from experiments.lab import Lab, shares, span, usual
from lib import Link, case
from tools import media

SPEECH, VIDEO, DOWNLOAD = 5002, 5004, 7000


def lab(t, *links):
    """Two hosts with the module."""
    one = Lab(*t.switched(links))
    t.load(one.a, one.b)
    t.defer(one.end_flows)
    return one


def parts(one, flows, seconds):
    """What part of its bytes each of the flows, as (port, protocol), sends on each link in this time."""
    before = one.sent(*flows)
    time.sleep(seconds)
    return [shares(*both) for both in zip(before, one.sent(*flows))]


def delays(stream, seconds, *quantiles):
    """Quantiles of the one-way delays of what is sent in this time, seconds."""
    start, end = span(seconds)
    time.sleep(0.3)
    found = stream.delays(start, end)
    return [round(usual(found, start, end, part), 4) for part in quantiles]


@case("speech with priority latency is as quick as the quick path, beside it the video keeps its rate", timeout=120)
def call(t):
    one = lab(t, Link(rate="10mbit", delay="50ms"), Link(rate="10mbit", delay="80ms"))
    t.module.set(one.a, scheduler="weighted", weight_step=1)  # all paths means both, evenly
    speech = one.media((5001, SPEECH), **media.SPEECH)
    video = one.media((5003, VIDEO), **media.PICTURES)
    for port in (SPEECH, VIDEO):
        one.both(port, 17)
    time.sleep(0.5)
    before = delays(speech, 2, 0.75, 0.95)
    one.rules(f"port {SPEECH} proto udp priority latency")
    time.sleep(0.5)
    start = time.monotonic()
    after = delays(speech, 2, 0.5, 0.95)
    rates = [rate for _, rate in video.rates(start, start + 2, 0.5)]
    t.note(f"quantiles without the rule {before}, with it {after} s; video {rates} Mbit/s")
    # Half of the speech went each way.
    t.reaches(before[0] - after[0], 0.025, "what the rule gains, s")
    t.within(after[1], 0.060, "95 % of the speech, s")
    t.reaches(sum(rates) / 4, 0.97 * 1.5, "Mbit/s of the video")
    speech.stop()
    video.stop()


@case("a video with priority latency has the near path, a download the other one; who stays takes both", timeout=120)
def shared(t):
    one = lab(t, Link(rate="4mbit", delay="5ms"), Link(rate="4mbit", delay="25ms"))
    flows = ((VIDEO, 17), (DOWNLOAD, 6))
    video = one.media((5003, VIDEO), rate=330, size=1200)  # 3.3 Mbit/s with its headers
    download = one.tcp(DOWNLOAD)
    for flow in flows:
        one.both(*flow)
    time.sleep(1)
    before = delays(video, 1, 0.5)
    one.rules(f"port {VIDEO} proto udp priority latency", f"port {DOWNLOAD} proto tcp priority throughput")
    time.sleep(1)
    used = parts(one, flows, 1.5)
    after = delays(video, 1, 0.5)
    t.note(f"video's median without rules {before}, with them {after} s; shares {used}")
    t.reaches(used[0][0], 0.9, "share of the near path, video")
    t.reaches(used[1][1], 0.75, "share of the other path, download")
    t.within(after[0], before[0], "median one-way delay of the video, s")
    video.stop()
    t.soon(lambda: parts(one, flows[1:], 0.7)[0][0] > 0.3, 5, "the download to take both")
    t.note(f"{download.stop() >> 10} KiB, exact")
