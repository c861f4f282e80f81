# SPDX-License-Identifier: GPL-2.0
"""The scheduler table of the paper on mobile MPTCP: megabits per joule of four ways to use two radios.

Its energy model is the one that its figures imply: throughput divided by efficiency is the same 1.07 W
for 3G and for Wi-Fi alone, and twice that for both, so a radio costs that much while it receives, however
much. 3G stays awake for some seconds after the last packet. Its walk (Figure 2) is drawn, not told: the one
below has its character and the mean rates that its single-path figures imply.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lib import svg
from lib.net import Link
from lib.sampler import Sampler

from .lab import Result, lab

RADIOS = ("3G", "Wi-Fi")
DELAYS = ("45ms", "15ms")


@dataclass
class Radio:
    """watts  while it is awake; tail: seconds that it stays awake after the last packet."""

    watts: float
    tail: float


# In seconds of the paper, of which there are SCALE in one of ours.
MODEL = (Radio(1.24 / 1.16, 9.0), Radio(1.55 / 1.44, 0.0))
SCALE = 4
PROBE, HOLD = 10, 100
STEP = 10
# Mbit/s at each of these times until the next one.
WALK = {
    "3G": ((0, 1.6), (60, 1.2), (130, 1.7), (200, 0.9), (280, 1.5), (350, 1.3), (430, 1.6), (520, 1.0), (600, 1.1)),
    "Wi-Fi": ((0, 3.0), (110, 3.5), (220, 0.1), (400, 3.1), (510, 0.1)),
}
LENGTH = 660
# Bytes a second, over a tenth of one, below which a radio sleeps: heartbeats of idle paths (212 bytes, once a
# second) are not worth waking it.
ASLEEP = 6_000
PAPER = {"3G": (1.16, 1.24), "Wi-Fi": (1.44, 1.55), "both": (1.30, 2.79), "scheduler": (1.55, 2.37)}


@dataclass
class Strategy:
    """One way to use the radios.

    rules  the rules that make it; None: `steer` does
    steer  called from time to time with the lab, the sampler, and the time since the start
    """

    name: str
    rules: tuple = ()
    steer: Callable | None = None


def only(link):
    """The rule for one of the radios."""
    return f"port 7000 dev a{link + 1}"


def steer(one, *rules):
    """These rules at both ends: acknowledgements take the radio of what they are for."""
    theirs = [words.replace("port", "sport").replace("dev a", "dev b") for words in rules]
    far = {"host": one.b}
    ends = [
        threading.Thread(target=one.rules, args=rules),
        threading.Thread(target=one.rules, args=theirs, kwargs=far),
    ]
    for end in ends:
        end.start()
    for end in ends:
        end.join()


class Scheduler:
    """Section 3.3 of the paper: both for a while, then the one that gave more bits for a joule, and again."""

    def __init__(self):
        self.until, self.probing, self.began = 0.0, False, 0.0
        self.choices = []

    def __call__(self, one, sampler, now):
        if now < self.until:
            return
        clock = time.monotonic()
        if self.probing:
            # What TCP needs to find the rate of a path that was not used is no fault of the path's.
            rates = sampler.rates(self.began + (clock - self.began) / 3, clock)
            worth = [rate / radio.watts for rate, radio in zip(rates, MODEL)]
            best = worth.index(max(worth))
            self.choices.append((now, RADIOS[best]))
            self.until = now + HOLD / SCALE
            steer(one, only(best))
        else:
            steer(one)
            self.until, self.began = now + PROBE / SCALE, clock
        self.probing = not self.probing


# A mode of the module's own belongs here: Strategy("energy", ("port 7000 mode energy",)).
STRATEGIES = (
    Strategy("3G", (only(0),)),
    Strategy("Wi-Fi", (only(1),)),
    Strategy("both"),
    Strategy("scheduler", steer=Scheduler),
)


def at(walk, when):
    """The rate at a time of the paper's."""
    return [rate for since, rate in walk if since <= when][-1]


class Walk(threading.Thread):
    """Changes the links as somebody who walks finds them."""

    def __init__(self, one, begin):
        super().__init__(daemon=True)
        self.one, self.begin = one, begin
        self.stopping = threading.Event()
        self.change(0)
        self.start()

    def change(self, when):
        """Links as they are at this time."""
        for wire, radio, delay in zip(self.one.wires, RADIOS, DELAYS):
            link = Link(rate=f"{at(WALK[radio], when):g}mbit", delay=delay)
            if wire.link != link:
                wire.link = link
                wire.dress()

    def run(self):
        for when in sorted({since for some in WALK.values() for since, _ in some if since}):
            if self.stopping.wait(max(0.0, self.begin + when / SCALE - time.monotonic())):
                return
            self.change(when)

    def stop(self):
        """End it."""
        self.stopping.set()
        self.join()


def joules(sampler, begin, end):
    """What each radio has used, from what it has received, in the paper's time; and when it was awake."""
    step = 0.1
    used, awake = [0.0] * len(MODEL), [0.0] * len(MODEL)
    last = [-1e9] * len(MODEL)
    when = begin
    while when + step <= end:
        for n, (rate, radio) in enumerate(zip(sampler.rates(when, when + step), MODEL)):
            if rate * 1e6 / 8 > ASLEEP:
                last[n] = when
            if when - last[n] <= radio.tail / SCALE:
                awake[n] += step
                used[n] += step * radio.watts
        when += step
    return [value * SCALE for value in used], [value / max(step, end - begin) for value in awake]


def download(one, strategy, length):
    """A download by a strategy while somebody walks."""
    with one.mpip():
        stream = one.tcp(7000)
        one.both(7000, 6)
        begin = time.monotonic()
        walk, sampler = Walk(one, begin), Sampler(one.b)
        scheduler = strategy.steer() if strategy.steer else None
        try:
            if not scheduler:
                steer(one, *strategy.rules)
            while (now := time.monotonic() - begin) < length / SCALE:
                if scheduler:
                    scheduler(one, sampler, now)
                time.sleep(0.05)
        finally:
            end = time.monotonic()
            walk.stop()
            sampler.stop()
        rates = stream.rates(begin, end, end - begin)
        used, awake = joules(sampler, begin, end)
        curve = []
        for n in range(0, int((end - begin) * SCALE) - STEP, STEP):
            since = begin + n / SCALE
            curve.append((n + STEP / 2, sum(sampler.rates(since, since + STEP / SCALE))))
        steer(one)
        stream.stop(60)
    rate = rates[0][1]
    return {
        "throughput": rate,
        "joules": used,
        "awake": awake,
        # Megabits in the paper's time.
        "efficiency": rate * (end - begin) * SCALE / sum(used),
        "curve": curve,
        "choices": getattr(scheduler, "choices", []),
    }


def judge(result, found):
    """The table's order and what the paper says of it."""
    eff = {name: one["efficiency"] for name, one in found.items()}
    rate = {name: one["throughput"] for name, one in found.items()}
    order = ["3G", "both", "Wi-Fi", "scheduler"]
    if set(order) <= set(eff):
        text = ", ".join(f"{name} {eff[name]:.2f}" for name in sorted(order, key=eff.get))
        rising = sorted(order, key=eff.get) == order
        result.goal("megabits per joule rise from 3G to both, Wi-Fi, the scheduler", text, rising)
        more = eff["scheduler"] / eff["Wi-Fi"] - 1
        result.goal("the scheduler has 7 % more of them than Wi-Fi alone", f"{100 * more:+.0f} %", more >= 0.07)
        more = rate["scheduler"] / rate["Wi-Fi"] - 1
        result.goal("and more throughput", f"{100 * more:+.0f} % (the paper: 50 %)", more > 0)
        result.goal("both have most throughput", f"{rate['both']:.2f} Mbit/s", rate["both"] == max(rate.values()))


def run(say, args):
    """The experiment."""
    length = LENGTH if not args.quick else LENGTH // 2
    result = Result(
        "Megabits per joule (the scheduler table of the paper on mobile MPTCP)",
        f"A download by somebody who walks, in {SCALE}-fold time: 3G of 0.9 to 1.6 Mbit/s, Wi-Fi of 3 Mbit/s that "
        "fades now and then. A radio takes 1.07 W while it is awake, and 3G stays awake for 9 s after a packet. 3G and "
        "Wi-Fi: a rule that names the interface. Both: no rule. Scheduler: both for 10 s, then the one with more bits "
        f"for a joule for {HOLD} s, and again, by changing the rule. The walk of the paper is not known, only its means; "
        "so figures need not be its figures, but their order should.",
    )
    found = {}
    for strategy in STRATEGIES:
        say(strategy.name)
        with lab([Link(rate="1mbit", delay=delay) for delay in DELAYS]) as one:
            found[strategy.name] = figures = download(one, strategy, length)
        say(f"  {figures['efficiency']:.2f} Mbit/J, {figures['throughput']:.2f} Mbit/s, {figures['choices'] or ''}")
    rows = []
    for name, one in found.items():
        paper = [f"{value:.2f}" for value in PAPER.get(name, ())] or ["-", "-"]
        awake = " : ".join(f"{100 * part:.0f} %" for part in one["awake"])
        rows.append([name, f"{one['efficiency']:.2f}", paper[0], f"{one['throughput']:.2f}", paper[1], awake])
    head = ["", "Mbit/J", "the paper's", "Mbit/s", "the paper's", "3G and Wi-Fi awake"]
    result.tables.append(("Efficiency and throughput", head, rows))
    judge(result, found)
    lines = [(name, one["curve"]) for name, one in found.items()]
    result.plot(
        "energy.svg",
        "throughput of the download, in the time of the walk",
        svg.chart("A download on a walk, by how the radios are used", "time (s)", "Mbit/s", lines),
    )
    result.data = {"walk": WALK, "strategies": found}
    return result
