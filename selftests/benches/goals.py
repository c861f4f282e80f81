# SPDX-License-Identifier: GPL-2.0
"""What MPIP has to reach, checked against what was measured with its default scheduler."""

from lib.figures import median, number

SINGLE = ("TCP, path 1", "TCP, path 2")


def check(parts):
    """Rows of a table: goal, measured, verdict. `parts` maps names to figures.Part."""
    found = []
    for test in (shared, lossy, fair, simult, fct, processor, strangers, crowd):
        found += test(parts)
    return [[goal, measured, "reached" if reached else "**missed**"] for goal, measured, reached in found]


def mpip(part):
    """The contender with two paths and the scheduler that is the module's default."""
    return f"MPIP {part.data.get('scheduler', 'weighted')}"


def ratio(part, row, name, others, figure="goodput"):
    """The median of the ratios to the others; None if it was not measured."""
    return median(part.ratio(row, name, others, figure))


def share(value):
    """A ratio as text."""
    return f"{100 * value:.1f} %"


def share_goal(links):
    """What part of the sum two such links have to give: by how much their delays differ."""
    apart = abs(links[0][1] - links[1][1])
    return 0.99 if apart <= 2 else 0.98 if apart <= 10 else 0.955


def shared(parts):
    """Two links together."""
    part, found = parts["goodput"], []
    for row in part.rows:
        goal = share_goal(part.about(row)["links"])
        for what, name, single in (
            ("TCP", mpip(part), SINGLE),
            ("UDP", f"UDP, {mpip(part)}", [name.replace("TCP", "UDP") for name in SINGLE]),
        ):
            value = ratio(part, row, name, single)
            if value is not None:
                found.append((f"{what}, {row}: {100 * goal:g} % of the sum", share(value), value >= goal))
        value = ratio(part, row, mpip(part), ["MPTCP"])
        if value is not None:
            found.append((f"TCP, {row}: not below MPTCP (1 % for noise)", share(value), value >= 0.99))
    return found


def lossy(parts):
    """One percent of loss on one of two links."""
    part, found = parts["loss"], []
    for row in part.rows:
        alone, rival = ratio(part, row, mpip(part), SINGLE[:1]), ratio(part, row, mpip(part), ["MPTCP"])
        if alone is not None:
            found.append(
                (f"{row}: not below the better path alone (1 % for noise)", share(alone), alone >= 0.99)
            )
        if rival is not None:
            found.append((f"{row}: above MPTCP", share(rival), rival > 1))
    return found


def fair(parts):
    """What a plain TCP connection has beside two links together, of what one of two has on average."""
    part, found = parts["fair"], []
    for row in part.rows:
        value = ratio(part, row, mpip(part), SINGLE[1:], "share")
        if value is not None:
            found.append(
                (f"{row}: TCP beside it, of half of two TCP: at least 80 %", share(value), value >= 0.8)
            )
    return found


def simult(parts):
    """Within the limits, every time."""
    part, found = parts["simult"], []
    runs = [run.get("within", False) for row in part.rows for run in part.runs(row, mpip(part))]
    if runs:
        found.append(("simult_flows: all within their limits", f"{sum(runs)} of {len(runs)}", all(runs)))
    return found


def fct(parts):
    """Small transfers no later than TCP, large ones no later than MPTCP."""
    part, found = parts["fct"], []
    for row in part.rows:
        for size in ("10 KB", "100 KB", "1 MB", "10 MB"):
            rival = "MPTCP" if size == "10 MB" else SINGLE[0]
            value = ratio(part, row, mpip(part), [rival], size)
            if value is not None:
                goal = f"{size}, {row}: time, of that of {rival}: at most 100 % (2 % for noise)"
                found.append((goal, share(value), value <= 1.02))
    return found


def processor(parts):
    """Links without a rate."""
    found = []
    for machine, place, row, goals in (
        ("cpu", "UML", "offloads on", (0.95, 0.90)),
        ("counted", "VM", "offloads off", (0.85, 0.85)),
        ("offload", "VM, several CPUs", "offloads off", (0.85, 0.85)),
    ):
        part = parts[machine]
        for goal, name, paths in zip(goals, ("MPIP, 1 path", mpip(part)), ("1 path", "2 paths")):
            for what, other, least in (
                (f"{100 * goal:g} % of TCP", SINGLE[0], goal),
                ("above MPTCP", "MPTCP", 1),
            ):
                value = ratio(part, row, name, [other])
                if value is not None:
                    found.append((f"{place}, {row}, {paths}: {what}", share(value), value >= least))
    return found


def strangers(parts):
    """A host that talks to peers without MPIP."""
    part, found = parts["instructions"], []
    for row in part.rows:
        for figure in ("UDP, sent", "UDP, received", "TCP, per MiB"):
            for more, words in (("", ""), (", conntrack", ", connections tracked")):
                value = ratio(part, row, f"on, peer without MPIP{more}", [f"without the module{more}"], figure)
                if value is not None:
                    goal = f"instructions to a peer without MPIP{words}, {figure}: at most 1 % more"
                    found.append((goal, f"{100 * value - 100:+.2f} %", value <= 1.01))
    return found


def crowd(parts):
    """Many sessions."""
    part, found = parts["scale"], []
    for what, timed in (("instructions", parts["crowd"]), ("time", part)):
        for row in timed.rows:
            many = timed.contenders()[-1]
            value = ratio(timed, row, many, ["1 session"], "nanoseconds")
            if value is not None:
                found.append((f"{what} per packet, {many} / one: at most 1.1", f"{value:.2f}", value <= 1.1))
    for row in part.rows:
        many = part.contenders()[-1]
        took = median(part.values(row, many, "dump_seconds"))
        if took is not None:
            runs = part.runs(row, many)
            whole = all(run.get("dumped", 0) >= run.get("sessions", 0) for run in runs)
            goal = f"`mpipctl session`, {many}: all of them within 2 s"
            found.append((goal, f"{number(took, 3)} s{'' if whole else ', not all'}", whole and took <= 2))
        size = median(part.values(row, many, "bytes_per_session"))
        if size is not None:
            found.append(
                (f"memory per session, {many}: at most 1 KiB", f"{number(size, 4)} bytes", size <= 1024)
            )
    return found
