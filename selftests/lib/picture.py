# SPDX-License-Identifier: GPL-2.0
"""The screen of a terminal as a small SVG."""

import re
from html import escape

CELL, LINE, SIZE, MARGIN = 8.4, 18, 14, 12
INK, PAPER = "#d8dee9", "#1d2129"
COLOURS = ("#4c566a", "#e0606a", "#8fbf6a", "#e5c07b", "#6a9fd8", "#b48ead", "#66b8c8", "#d8dee9")
BARS = "▁▂▃▄▅▆▇█"


def colour(number):
    """One of the eight colours, bright or not."""
    return INK if number is None else COLOURS[number % 8]


def number(value):
    """A number without what says nothing."""
    return f"{value:.1f}".removesuffix(".0")


def runs(row):
    """Cells of one style that stand together: (column, text, style)."""
    start = 0
    for x in range(1, len(row) + 1):
        if x == len(row) or row[x][1] != row[start][1]:
            yield start, "".join(char for char, _ in row[start:x]), row[start][1]
            start = x


def picture(screen, title, lines=None):
    """SVG text of a Screen, of its first lines only if a number is given."""
    lines = lines or screen.lines
    width, height = screen.columns * CELL + 2 * MARGIN, lines * LINE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {height}" '
        f'width="{number(width)}" height="{height}" font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" '
        f'font-size="{SIZE}" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>',
    ]
    bars = {}
    for y, row in enumerate(screen.cells[:lines]):
        top = MARGIN + y * LINE
        for column, text, style in runs(row):
            ink, paper = colour(style.fg), None if style.bg is None else colour(style.bg)
            if style.reverse:
                ink, paper = paper or PAPER, ink
            left = MARGIN + column * CELL
            if paper:
                box = f'x="{number(left)}" y="{top}" width="{number(len(text) * CELL)}" height="{LINE}"'
                faint = ' opacity=".7"' if style.dim else ""
                out.append(f'<rect {box} fill="{paper}"{faint}/>')
            # Bars are drawn, because fonts leave gaps between the lines.
            for at, char in enumerate(text):
                if char in BARS:
                    high = LINE * (BARS.index(char) + 1) / 8
                    x, base = MARGIN + (column + at) * CELL, top + LINE
                    bars.setdefault(ink, []).append(f"M{number(x)} {base}h{CELL}v-{number(high)}h-{CELL}z")
            weight = ' font-weight="bold"' if style.bold else ""
            fill = f' fill="{ink}"' if ink != INK else ""
            for word in re.finditer(rf"[^ {BARS}]+(?: [^ {BARS}]+)*", text):
                x = number(left + word.start() * CELL)
                length = number(len(word[0]) * CELL)
                out.append(
                    f'<text x="{x}" y="{top + 14}" textLength="{length}"{weight}{fill}>{escape(word[0])}</text>'
                )
    out += [f'<path fill="{ink}" d="{"".join(some)}"/>' for ink, some in bars.items()]
    out.append("</svg>")
    return "\n".join(out) + "\n"
