# SPDX-License-Identifier: GPL-2.0
"""Figure 5(c) of the MPIP paper: speech by the quick path, pictures by all."""

import time

from lib import svg
from lib.net import Link
from tools import media

from .lab import Result, distribution, lab, ms, percent, shares, span, usual

DELAYS = ("50ms", "80ms")
SAME = (None, None)
# What the paper has; so much that no datagram waits for another one for long; and more by the far path, with
# the weights that are learnt and with those of the rates.
SPEEDS = (
    ("1 Mbit/s", ("1mbit", "1mbit"), (("earliest", SAME), ("weighted", SAME))),
    ("10 Mbit/s", ("10mbit", "10mbit"), (("earliest", SAME), ("weighted", SAME))),
    (
        "5 and 20 Mbit/s",
        ("5mbit", "20mbit"),
        (("earliest", SAME), ("weighted", SAME), ("weighted", (200, 800))),
    ),
)
RULE = "port 5002 proto udp priority latency"
GAIN, SPREAD, KEPT, IDLE = 0.025, 0.005, 0.99, 0.95
HEAD = ["", "median, ms", "p95, ms", "p99, ms", "lost", "of it by 50 ms", "video, Mbit/s", "of it by 50 ms"]


def delays_of(speech, start, end):
    """What there is to say of the speech in this time."""
    delays = speech.delays(start, end)
    parts = (("median", 0.5), ("p95", 0.95), ("p99", 0.99))
    found = {name: usual(delays, start, end, part) for name, part in parts}
    return found | {"lost": speech.lost(start, end), "delays": delays}


def measure(one, speech, pictures, seconds):
    """What becomes of both in this time."""
    flows = ((5002, 17), (5004, 17))
    before = one.sent(*flows)
    start, end = span(seconds)
    used = [shares(*both) for both in zip(before, one.sent(*flows))]
    time.sleep(0.5)  # until what was sent last has come
    rates = [rate for _, rate in pictures.rates(start, end, 0.5)]
    video = {"video": sum(rates) / len(rates), "video_quick": used[1][0]}
    return delays_of(speech, start, end) | {"quick": used[0][0]} | video


def alone(one, seconds):
    """Speech, and nothing else, on the quick path, without MPIP."""
    speech = one.media((6001, 6002), **media.SPEECH)
    time.sleep(1)
    start, end = span(seconds)
    time.sleep(0.5)
    found = delays_of(speech, start, end)
    one.end_flows()
    return found | {"quick": 1.0, "video": None, "video_quick": None}


def weigh(one, weights):
    """Give the paths these weights."""
    for local, weight in zip(one.a.addr, weights):
        path = next(path for path in one.module.paths(one.a) if path["local"] == local)
        one.module.ctl(one.a, "path", "set", path["id"], "weight", weight)


def call(one, scheduler, weights, seconds):
    """A call with all packets on all paths, and then with the rule."""
    with one.mpip(scheduler=scheduler):
        speech = one.media((5001, 5002), **media.SPEECH)
        pictures = one.media((5003, 5004), **media.PICTURES)
        for port in (5002, 5004):
            one.both(port, 17)
        if weights != SAME:
            weigh(one, weights)
        time.sleep(3)  # until rates and weights are what they will be
        every = measure(one, speech, pictures, seconds)
        one.rules(RULE)
        time.sleep(2)
        ruled = measure(one, speech, pictures, seconds)
        speech.stop()
        pictures.stop()
        one.rules()
    return every, ruled


def row(name, found):
    """A line of the table."""
    video = "-" if found["video"] is None else f"{found['video']:.2f}"
    cells = [ms(found[name]) for name in ("median", "p95", "p99")]
    cells += [percent(found["lost"], 1), percent(found["quick"])]
    return [name, *cells, video, percent(found["video_quick"])]


def judge(result, where, plain, every, ruled):
    """The goals of one speed and scheduler."""
    for name, words in (("median", "median of audio"), ("p95", "what a player waits for (p95)")):
        gain = every[name] - ruled[name]
        what = f"{where}: {words} {GAIN * 1e3:.0f} ms below that of all-paths mode"
        if every["quick"] >= IDLE:
            text = f"all-paths mode uses the quick path alone ({ms(every[name])} ms)"
            result.goal(what, text, ruled[name] - plain[name] <= SPREAD)
        else:
            text = f"{ms(gain)} ms ({ms(every[name])} to {ms(ruled[name])})"
            result.goal(what, text, gain >= GAIN)
    more = ruled["p99"] - plain["p99"]
    what = f"{where}: p99 of audio within {SPREAD * 1e3:.0f} ms of the quick path alone"
    result.goal(what, f"{more * 1e3:+.1f} ms", more <= SPREAD)
    kept = ruled["video"] / every["video"]
    result.goal(f"{where}: video rate unchanged", percent(kept, 1), kept >= KEPT)


def run(say, args):
    """The experiment."""
    seconds = args.seconds or (6 if args.quick else 15)
    result = Result(
        "Audio by the quick path, video by all (Figure 5(c))",
        "Two paths of 50 and 80 ms. Audio: 50 datagrams a second of 172 bytes; video: 1.5 Mbit/s, 30 pictures "
        "a second of six datagrams each. First all packets in all-paths mode, then, in the same call, audio with "
        f"`mpipctl rule add {RULE}`. One-way delays, from the call of `send` until the kernel has the datagram. "
        "Alone: nothing but the audio, on the quick path, without MPIP. Each quantile is that of a fifth of the time, "
        "the median of five. `weighted 200 : 800`: with these weights of the paths.",
    )
    for speed, rates, ways in SPEEDS:
        say(f"paths of {speed}: audio alone")
        rows = []
        with lab([Link(rate=rate, delay=delay) for rate, delay in zip(rates, DELAYS)]) as one:
            plain = alone(one, seconds)
            rows.append(row("alone", plain))
            curves = [("alone", plain)]
            for scheduler, weights in ways:
                name = scheduler if weights == SAME else f"{scheduler} {' : '.join(str(w) for w in weights)}"
                say(f"paths of {speed}: audio and video, {name}")
                every, ruled = call(one, scheduler, weights, seconds)
                rows += [row(f"{name}, all paths", every), row(f"{name}, rule", ruled)]
                curves += [(f"{name}, all", every), (f"{name}, rule", ruled)]
                judge(result, f"{speed}, {name}", plain, every, ruled)
                say(f"  median {ms(every['median'])} ms, with the rule {ms(ruled['median'])} ms")
        result.tables.append((f"Paths of {speed}", HEAD, rows))
        lines = [(name, distribution([d for _, d in found["delays"]])) for name, found in curves]
        title = f"Audio beside video, two paths of {speed}, 50 and 80 ms"
        result.plot(
            f"audio-{'-'.join(dict.fromkeys(rates))}.svg",
            f"audio over paths of {speed}: how much has come after so long",
            svg.chart(title, "one-way delay (ms)", "% of the datagrams", lines, x_min=40),
        )
        result.data[speed] = {name: {k: v for k, v in found.items() if k != "delays"} for name, found in curves}
    return result
