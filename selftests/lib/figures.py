# SPDX-License-Identifier: GPL-2.0
"""Where was measured, and results of `make bench`, read back: medians, spread, ratios within a repetition."""

import json
import os
import platform
import statistics


def machine():
    """Where this runs."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = [line.split(":")[1].strip() for line in file if line.lower().startswith("model name")]
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "cpu": model[0] if model else "?",
        "counted": bool(os.environ.get("MPIP_VM_ICOUNT")),
    }


class Part:
    """What one part measured; nothing is there if it did not run."""

    def __init__(self, folder, name):
        self.name = name
        path = os.path.join(folder, f"{name}.json")
        self.data = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.data = json.load(file)
        self.rows = self.data.get("rows", {})

    def __bool__(self):
        return bool(self.rows)

    def contenders(self):
        """All contenders, in the order they were measured in."""
        names = {}
        for row in self.rows.values():
            names |= dict.fromkeys(row["contenders"])
        return list(names)

    def about(self, row):
        """What the measurement noted of a row."""
        return self.rows[row]["about"]

    def values(self, row, contender, figure):
        """A figure in each repetition that has it; None where the measurement failed."""
        runs = self.runs(row, contender)
        return [run.get(figure) for run in runs if figure in run or "error" in run]

    def runs(self, row, contender):
        """All figures of each repetition."""
        return self.rows.get(row, {}).get("contenders", {}).get(contender, [])

    def ratio(self, row, contender, others, figure, best=False):
        """A figure over the sum (or the largest) of the others' in the same repetition."""
        columns = [self.values(row, other, figure) for other in others]
        found = []
        for mine, *theirs in zip(self.values(row, contender, figure), *columns):
            if mine is not None and None not in theirs and sum(theirs) > 0:
                found.append(mine / (max(theirs) if best else sum(theirs)))
        return found


def median(values):
    """The median of what is there, or None."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def spread(values):
    """Median, least, largest; or None."""
    values = [value for value in values if value is not None]
    return (statistics.median(values), min(values), max(values)) if values else None


def number(value, digits=3):
    """So many digits, but nothing cut off before the decimal point."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    whole = len(str(int(abs(value))))
    return f"{value:,.{max(0, digits - whole)}f}"


def cell(values, digits=3):
    """Median and spread for a table."""
    found = spread(values)
    if not found:
        return "-" if None not in values else "failed"
    middle, least, most = (number(value, digits) for value in found)
    failed = values.count(None)
    text = middle if least == most else f"{middle} ({least}-{most})"
    return text + (f", {failed} failed" if failed else "")


def percent(values):
    """A ratio for a table: the median, and the spread if there is one."""
    found = spread(values)
    if not found:
        return "-"
    middle, least, most = (f"{100 * value:.1f}" for value in found)
    return f"{middle} %" if least == most else f"{middle} % ({least}-{most})"


def table(head, rows):
    """A table in Markdown; the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
