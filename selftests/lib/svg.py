# SPDX-License-Identifier: GPL-2.0
"""A line chart, or a bar chart, as SVG, without any library."""

import math
from html import escape

WIDTH, HEIGHT = 860, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 48, 52
COLOURS = ("#1f77b4", "#d95f02", "#333333", "#2ca02c", "#9467bd")


def nice_step(span, parts):
    """A step of 1, 2 or 5 times a power of ten that cuts `span` into about `parts`."""
    raw = span / parts
    power = 10.0 ** len(str(int(raw))) / 10 if raw >= 1 else 0.1
    for factor in (1, 2, 5, 10):
        if factor * power >= raw:
            return factor * power
    return 10 * power


def chart(title, x_label, y_label, series, levels=(), marks=(), x_min=0):
    """SVG text of a chart.

    series  list of (name, [(x, y), ...])
    levels  list of (name, y): dashed lines across
    marks   list of (name, x): dashed lines upwards
    x_min   where the axis begins
    """
    x_max = max(x for _, points in series for x, _ in points)
    y_top = max([y for _, points in series for _, y in points] + [y for _, y in levels])
    y_step = nice_step(y_top * 1.05, 8)
    y_max = (int(y_top * 1.05 / y_step) + 1) * y_step
    x_step = nice_step(x_max - x_min, 10)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def px(x):
        return LEFT + width * (x - x_min) / (x_max - x_min)

    def py(y):
        return TOP + height * (1 - y / y_max)

    def line(x1, y1, x2, y2, style):
        out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    def text(x, y, words, style=""):
        out.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>')

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    right, floor = LEFT + width, TOP + height
    text(LEFT + width / 2, 26, title, 'font-size="16" text-anchor="middle"')
    for n in range(round(y_max / y_step) + 1):
        y = py(n * y_step)
        line(LEFT, y, right, y, 'stroke="#e4e4e4"')
        text(LEFT - 8, y + 4, f"{n * y_step:g}", 'text-anchor="end"')
    for n in range(math.ceil(x_min / x_step - 1e-9), int(x_max / x_step + 1e-9) + 1):
        x = px(n * x_step)
        line(x, floor, x, floor + 5, 'stroke="#222"')
        text(x, floor + 20, f"{n * x_step:g}", 'text-anchor="middle"')
    line(LEFT, TOP, LEFT, floor, 'stroke="#222"')
    line(LEFT, floor, right, floor, 'stroke="#222"')
    text(LEFT + width / 2, HEIGHT - 12, x_label, 'text-anchor="middle"')
    middle = TOP + height / 2
    text(18, middle, y_label, f'text-anchor="middle" transform="rotate(-90 18 {middle:.1f})"')
    for name, level in levels:
        line(LEFT, py(level), right, py(level), 'stroke="#999" stroke-dasharray="5 4"')
        text(right + 6, py(level) + 4, name, 'fill="#777" font-size="12"')
    for name, mark in marks:
        line(px(mark), TOP, px(mark), floor, 'stroke="#999" stroke-dasharray="2 3"')
        text(px(mark) + 4, TOP + 12, name, 'fill="#777" font-size="12"')
    for n, (name, points) in enumerate(series):
        colour = COLOURS[n % len(COLOURS)]
        path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        # The legend, in the corner above the labels of the levels.
        at = TOP - 30 + 17 * n
        line(right + 8, at, right + 30, at, f'stroke="{colour}" stroke-width="2.5"')
        text(right + 36, at + 4, name)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def bars(title, y_label, groups, names, levels=()):
    """SVG text of a bar chart with the spread of each bar.

    groups  list of (name, [(middle, least, largest) or None for each of `names`])
    levels  list of (name, y): dashed lines across
    """
    values = [value for _, some in groups for value in some if value]
    y_top = max([value[2] for value in values] + [y for _, y in levels])
    y_step = nice_step(y_top * 1.05, 8)
    y_max = (int(y_top * 1.05 / y_step) + 1) * y_step
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    right, floor = LEFT + width, TOP + height

    def py(y):
        return TOP + height * (1 - y / y_max)

    def text(x, y, words, style=""):
        out.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>')

    def line(x1, y1, x2, y2, style):
        out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    text(LEFT + width / 2, 26, title, 'font-size="16" text-anchor="middle"')
    for n in range(round(y_max / y_step) + 1):
        line(LEFT, py(n * y_step), right, py(n * y_step), 'stroke="#e4e4e4"')
        text(LEFT - 8, py(n * y_step) + 4, f"{n * y_step:g}", 'text-anchor="end"')
    middle = TOP + height / 2
    text(18, middle, y_label, f'text-anchor="middle" transform="rotate(-90 18 {middle:.1f})"')
    room = width / len(groups)
    bar = room * 0.8 / len(names)
    for g, (group, some) in enumerate(groups):
        text(LEFT + room * (g + 0.5), floor + 20, group, 'text-anchor="middle" font-size="11"')
        for n, value in enumerate(some):
            if not value:
                continue
            x = LEFT + room * (g + 0.1) + bar * n
            colour = COLOURS[n % len(COLOURS)]
            y = py(value[0])
            box = f'x="{x:.1f}" y="{y:.1f}" width="{bar * 0.9:.1f}" height="{floor - y:.1f}"'
            out.append(f'<rect {box} fill="{colour}"/>')
            line(x + bar * 0.45, py(value[1]), x + bar * 0.45, py(value[2]), 'stroke="#222"')
    line(LEFT, floor, right, floor, 'stroke="#222"')
    for name, level in levels:
        line(LEFT, py(level), right, py(level), 'stroke="#999" stroke-dasharray="5 4"')
        text(right + 6, py(level) + 4, name, 'fill="#777" font-size="12"')
    for n, name in enumerate(names):
        at = TOP - 30 + 17 * n
        line(right + 8, at, right + 30, at, f'stroke="{COLOURS[n % len(COLOURS)]}" stroke-width="7"')
        text(right + 36, at + 4, name, 'font-size="12"')
    out.append("</svg>")
    return "\n".join(out) + "\n"
