# SPDX-License-Identifier: GPL-2.0
"""Figure 8 of the MPIP paper: a video and a download share two paths, first anyhow, then coordinated."""

import time

from lib import svg
from lib.net import Link

from .lab import Result, lab, percent, shares

# 2 Mbit/s each, and 20 ms more on one of them.
LINKS = [Link(rate="2mbit", delay="5ms"), Link(rate="2mbit", delay="25ms")]
VIDEO, DOWNLOAD = 7001, 7002
# What the video's server sends at most, and what a second of it has, Mbit/s.
MOST, ENCODED = 2.5, 1.7
# The player begins, and begins anew after it has run dry, with so many seconds of the video.
BEGIN = 2.0
PAPER = ("1.50", "2.51", "1.90", "1.89")  # Mbit/s: video and download, anyhow and coordinated
MINE, BOTH = 0.9, 0.15

# Name, rules, who ends in the third phase.
RUNS = (
    (
        "single paths, download ends",
        (f"port {VIDEO} proto tcp mode single", f"port {DOWNLOAD} proto tcp mode single dev a2"),
        "download",
    ),
    (
        "priorities, download ends",
        (f"port {VIDEO} proto tcp priority latency", f"port {DOWNLOAD} proto tcp priority throughput"),
        "download",
    ),
    (
        "priorities, video ends",
        (f"port {VIDEO} proto tcp priority latency", f"port {DOWNLOAD} proto tcp priority throughput"),
        "video",
    ),
)
PHASES = ("all paths", "rules", "one has ended")


def playing(stream, start, end, step=0.25):
    """What a player has in store, in seconds of the video, over time, and for how long it stood still."""
    store, dry, curve, waiting = 0.0, 0.0, [], True
    for when, rate in stream.rates(start, end, step):
        store += rate * step / ENCODED
        if waiting and store >= BEGIN:
            waiting = False
        if not waiting:
            store -= step
            if store < 0:
                store, waiting = 0.0, True
        elif curve and max(y for _, y in curve) >= BEGIN / 2:
            dry += step
        curve.append((when - start, store))
    return curve, dry


def one_run(one, rules, ends, seconds):
    """Three phases; figures of each, and what happened over time."""
    with one.mpip():
        flows = {
            "video": one.tcp(VIDEO, MOST * 1e6 / 8, 1),
            "download": one.tcp(DOWNLOAD, None, 2),
        }
        ports = {"video": VIDEO, "download": DOWNLOAD}
        for port in ports.values():
            one.both(port, 6)
        begin, phases, marks = time.monotonic(), [], []
        for number in range(3):
            if number == 1:
                one.rules(*rules)
            if number == 2:
                flows[ends].stop(60)
            marks.append((PHASES[number], time.monotonic() - begin))
            time.sleep(seconds / 3)  # until it is what it will be
            sessions = [(port, 6) for port in ports.values()]
            start, before = time.monotonic(), one.sent(*sessions)
            time.sleep(seconds * 2 / 3)
            end, after = time.monotonic(), one.sent(*sessions)
            found = {}
            for name, then, now in zip(ports, before, after):
                if number == 2 and name == ends:
                    continue
                rates = flows[name].rates(start, end, end - start)
                amount = [y - x for x, y in zip(then, now)]
                found[name] = {"rate": rates[0][1], "shares": shares(then, now), "bytes": amount}
            phases.append(found)
        end = time.monotonic()
        curves = {name: [(t - begin, r) for t, r in flows[name].rates(begin, end, 1.0)] for name in flows}
        store, dry = playing(flows["video"], begin, end if ends != "video" else begin + marks[2][1])
        for name, some in flows.items():
            if name != ends:
                some.stop(60)
        one.rules()
    return {"phases": phases, "marks": marks, "curves": curves, "store": store, "dry": dry}


def owner(figures, who, link):
    """What part of what a link carries is this one's."""
    amount = {name: one["bytes"][link] for name, one in figures.items()}
    return amount[who] / max(1, sum(amount.values()))


def cells(found):
    """Rate and shares as text."""
    return "-" if not found else f"{found['rate']:.2f} ({percent(found['shares'][0])} : {percent(found['shares'][1])})"


def judge(result, name, ends, found):
    """The goals of a run."""
    first, second, third = found["phases"]
    # What the short path cannot carry of the video may take the other one.
    part = owner(second, "video", 0)
    result.goal(f"{name}: with the rules the short path is the video's", percent(part), part >= MINE)
    part = second["download"]["shares"][1]
    result.goal(f"{name}: with the rules the download is on the other path", percent(part), part >= MINE)
    more = second["video"]["rate"] - first["video"]["rate"]
    result.goal(f"{name}: the rules cost the video nothing", f"{more:+.2f} Mbit/s", more >= -0.05)
    if not name.startswith("priorities"):
        return
    stays = "video" if ends == "download" else "download"
    rate, parts = third[stays]["rate"], third[stays]["shares"]
    # What the short path cannot carry of the video needs the other one.
    reached = min(parts) >= BOTH and rate > second[stays]["rate"] * 1.05
    text = f"{percent(parts[0])} : {percent(parts[1])}, {second[stays]['rate']:.2f} to {rate:.2f} Mbit/s"
    result.goal(f"{name}: the {stays} takes both then", text, reached)


def run(say, args):
    """The experiment."""
    seconds = args.seconds or (8 if args.quick else 20)
    result = Result(
        "A video and a download share two paths (Figure 8)",
        f"Two paths of 2 Mbit/s, 5 and 25 ms. The video is a TCP connection whose server sends {MOST} Mbit/s at "
        f"most, of which {ENCODED} are played each second; the download is one that takes what it gets. Three "
        f"phases of {seconds} s: no rules; the rules; one of the two has ended. `single paths`: `mode single` for "
        "both, the download on the other interface, as the paper has it. `priorities`: `priority latency` for the "
        "video, `priority throughput` for the download, as in its Table 6. Figures are of the last two thirds of "
        "each phase: Mbit/s, and the shares of the short and the other path.",
    )
    rows = []
    for name, rules, ends in RUNS:
        say(name)
        with lab(LINKS) as one:
            found = one_run(one, rules, ends, seconds)
        for phase, figures in zip(PHASES, found["phases"]):
            rows.append([name, phase, cells(figures.get("video")), cells(figures.get("download"))])
            say(f"  {phase}: video {rows[-1][2]}, download {rows[-1][3]}")
        rows[-1][0] += f" (stood still for {found['dry']:.0f} s)" if found["dry"] else ""
        judge(result, name, ends, found)
        file = f"shared-{name.split()[0]}-{ends}.svg".replace(",", "")
        lines = [*found["curves"].items(), ("video stored, s", found["store"])]
        title = f"Two paths of 2 Mbit/s: {name}"
        result.plot(
            file,
            f"{name}: throughput, and seconds of the video in store",
            svg.chart(title, "time (s)", "Mbit/s; s", lines, (), found["marks"][1:]),
        )
        result.data[name] = found
    rows.append(["the paper, single paths", PHASES[0], PAPER[0], PAPER[1]])
    rows.append(["the paper, single paths", PHASES[1], PAPER[2], PAPER[3]])
    result.tables.append(("Throughput and shares", ["run", "phase", "video", "download"], rows))
    return result
