# SPDX-License-Identifier: GPL-2.0
"""Section 2 of the MPIP paper: its four modes, over two unequal paths that get worse."""

import time

from lib import svg
from lib.net import Link, wait_for

from .lab import Result, lab, late, ms, percent, shares, span, usual

LINKS = [Link(rate="8mbit", delay="20ms"), Link(rate="6mbit", delay="35ms")]
STREAM = {"rate": 250, "size": 1000}  # 2 Mbit/s
PORT, TCP_PORT = 5002, 7000
FLOW = (PORT, 17)
MODES = {
    "all": "mode all",
    "selected": "mode selected delay 100ms",
    "single": "mode single",
    "protected": "mode protected",
}
WORSE = 200  # ms
LOSS, LOST, MOVE = 0.05, 0.004, 0.3
HEAD = [
    "mode",
    "shares",
    "median delay, ms",
    "p99, ms",
    "out of order",
    "lost of 5 % on each path",
    "gap, ms",
    "undisturbed, ms",
    "lost in it",
    "TCP, Mbit/s",
]


def steady(one, stream, seconds):
    """Shares, delays and order while nothing happens."""
    before = one.sent(FLOW)[0]
    start, end = span(seconds)
    used = shares(before, one.sent(FLOW)[0])
    time.sleep(0.3)
    delays = stream.delays(start, end)
    came = list(zip(stream.came.times(), late(stream.came.whats())))
    inside = [is_late for when, is_late in came if start <= when < end]
    return {
        "shares": used,
        "median": usual(delays, start, end, 0.5),
        "p99": usual(delays, start, end, 0.99),
        "late": sum(inside) / max(1, len(inside)),
    }


def lossy(one, stream, seconds):
    """What is lost for the application while each path loses some."""
    for wire in one.wires:
        wire.dress(LOSS)
    start, end = span(seconds)
    for wire in one.wires:
        wire.heal()
    time.sleep(0.5)
    return stream.lost(start, end)


def silence(one, stream, link):
    """The longest gap when the path that is used falls silent, one when nothing happens, and what is lost."""
    start, end = span(1.0)
    calm = stream.gap(start, end)[0]
    gone = one.wires[link].silence()
    time.sleep(1.5)
    back = one.wires[link].heal()
    gap = stream.gap(gone - 0.05, back)[0]
    time.sleep(0.5)
    lost = sum(gone - 0.1 <= when < back for _, when in stream.missing())
    return gap, calm, lost


def worse(one, stream, link, mode):
    """A path becomes 200 ms longer and recovers: the delays meanwhile, and when the mode left it and came back."""
    wire, port = one.wires[link], PORT
    usual, left, returned = wire.link, None, None
    begin = time.monotonic()
    time.sleep(1)
    wire.link = Link(rate=usual.rate, delay=f"{float(usual.delay[:-2]) + WORSE:g}ms", back=usual)
    start = wire.dress()
    if mode == "selected":
        wait_for(lambda: one.unused(link, port, 17) == "limits", 20, "a path to be left out", 0.1)
        left = time.monotonic() - start
    time.sleep(max(0.0, 4 - (time.monotonic() - start)))
    before = one.sent(FLOW)[0]
    time.sleep(1)
    used = shares(before, one.sent(FLOW)[0])[link]
    wire.link = usual
    back = wire.dress()
    if mode == "selected":
        wait_for(lambda: not one.unused(link, port, 17), 30, "the path to be taken back", 0.1)
        returned = time.monotonic() - back
    time.sleep(max(0.0, 4 - (time.monotonic() - back)))
    end = time.monotonic()
    time.sleep(0.5)
    curve = [(when - begin, d * 1e3) for when, d in stream.delays(begin, end)]
    marks = (start - begin, back - begin)
    return {"curve": curve, "left": left, "returned": returned, "share": used, "marks": marks}


def download(one, mode, seconds):
    """TCP: how much it gets, and what becomes of it when the path of single mode falls silent."""
    stream = one.tcp(TCP_PORT)
    one.both(TCP_PORT, 6)
    time.sleep(2)
    start, end = span(seconds)
    rate = stream.rates(start, end, end - start)[0][1]
    gap = None
    if mode == "single":
        calm = stream.gap(start, end)[0]
        link = 0 if one.unused(0, TCP_PORT, 6) is None else 1
        gone = one.wires[link].silence()
        time.sleep(1.5)
        back = one.wires[link].heal()
        gap = (stream.gap(gone - 0.05, back)[0], calm)
    stream.stop(30)  # every byte was compared
    return rate, gap


def one_mode(one, mode, seconds, say):
    """All that is to be known of a mode."""
    rules = [f"port {port} {MODES[mode]}" for port in (PORT, TCP_PORT)]
    with one.mpip(scheduler="weighted"):
        one.rules(*rules)
        stream = one.media((5001, PORT), kernel=False, **STREAM)
        one.both(PORT, 17)
        time.sleep(2)
        found = steady(one, stream, seconds)
        found["episode"] = worse(one, stream, 0, mode)
        # Until it is back where it was.
        if mode == "single":
            wait_for(lambda: one.unused(1, PORT, 17) == "not-chosen", 30, "the nearer path again", 0.1)
        before = one.sent(FLOW)[0]
        time.sleep(0.5)
        used = shares(before, one.sent(FLOW)[0])
        found["gap"], found["calm"], found["gone"] = silence(one, stream, 0 if used[0] >= used[1] else 1)
        time.sleep(2)
        found["lossy"] = lossy(one, stream, max(4, seconds))
        stream.stop()  # nothing came twice or altered
        one.end_flows()
        say("  TCP")
        found["tcp"], found["tcp_gap"] = download(one, mode, seconds)
        one.rules()
    return found


def row(mode, found):
    """A line of the table."""
    used = f"{percent(found['shares'][0])} : {percent(found['shares'][1])}"
    delays = [ms(found["median"]), ms(found["p99"])]
    gaps = [f"{found['gap'] * 1e3:.0f}", f"{found['calm'] * 1e3:.0f}", str(found["gone"])]
    return [mode, used, *delays, percent(found["late"], 1), percent(found["lossy"], 2), *gaps, f"{found['tcp']:.1f}"]


def judge(result, found):
    """The goals."""
    if one := found.get("selected"):
        episode = one["episode"]
        result.goal(
            f"selected: a path {WORSE} ms worse is left out",
            f"after {episode['left']:.1f} s, then {percent(episode['share'], 1)} of the bytes",
            episode["share"] <= 0.02,
        )
        back = episode["returned"]
        result.goal("selected: and taken back when it recovers", f"after {back:.1f} s", back is not None)
    if one := found.get("single"):
        gap, calm = one["tcp_gap"]
        text = f"gap of {gap * 1e3:.0f} ms, undisturbed {calm * 1e3:.0f} ms; exact"
        result.goal(f"single: moves within {MOVE * 1e3:.0f} ms without losing a byte", text, gap <= MOVE + calm)
    if one := found.get("protected"):
        lost = one["lossy"]
        goal = f"protected: of {percent(LOSS)} on each path at most {percent(LOST, 1)} are lost, none comes twice"
        result.goal(goal, percent(lost, 2), lost <= LOST)
        gap, calm = one["gap"], one["calm"]
        text = f"{gap * 1e3:.0f} ms, undisturbed {calm * 1e3:.0f} ms; {one['gone']} lost"
        result.goal("protected: no gap on path failure", text, gap <= 0.1 + calm and not one["gone"])


def run(say, args):
    """The experiment."""
    seconds = args.seconds or (3 if args.quick else 6)
    result = Result(
        "The modes of section 2 over two unequal paths",
        "8 Mbit/s and 20 ms, 6 Mbit/s and 35 ms. A stream of 250 datagrams a second of 1000 bytes, with a rule for "
        "each of the modes, and the paper's scheduler (`weighted`), by which all-paths mode means all paths whatever "
        "they are like. The gap is the longest time without a datagram when the path that carries most falls "
        "silent, undisturbed such a time when nothing happens. TCP: a download over the same paths, every byte compared.",
    )
    found, curves, marks = {}, [], []
    for mode in MODES:
        say(mode)
        with lab(LINKS) as one:
            found[mode] = one_mode(one, mode, seconds, say)
        episode = found[mode]["episode"]
        curves.append((mode, episode["curve"]))
        marks = [(f"{WORSE} ms worse", episode["marks"][0]), ("recovered", episode["marks"][1])]
        gap, lost, tcp = (found[mode][name] for name in ("gap", "lossy", "tcp"))
        say(f"  gap {gap * 1e3:.0f} ms, lost {percent(lost, 2)}, TCP {tcp:.1f} Mbit/s")
    result.tables.append(("Four modes", HEAD, [row(mode, one) for mode, one in found.items()]))
    judge(result, found)
    title = f"One-way delay while the nearer path is {WORSE} ms worse"
    result.plot("modes.svg", title, svg.chart(title, "time (s)", "ms", curves, (), marks))
    result.data = found
    return result
