# SPDX-License-Identifier: GPL-2.0
"""A line chart as SVG, without any library."""

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


def chart(title, x_label, y_label, series, levels=()):
    """SVG text of a chart.

    series  list of (name, [(x, y), ...])
    levels  list of (name, y): dashed lines across
    """
    x_max = max(x for _, points in series for x, _ in points)
    y_top = max([y for _, points in series for _, y in points] + [y for _, y in levels])
    y_step = nice_step(y_top * 1.05, 8)
    y_max = (int(y_top * 1.05 / y_step) + 1) * y_step
    x_step = nice_step(x_max, 10)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def px(x):
        return LEFT + width * x / x_max

    def py(y):
        return TOP + height * (1 - y / y_max)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT + width / 2:.0f}" y="26" font-size="16" text-anchor="middle">{escape(title)}</text>',
    ]
    y = 0.0
    while y <= y_max + 1e-9:
        out.append(f'<line x1="{LEFT}" x2="{LEFT + width}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{LEFT - 8}" y="{py(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
        y += y_step
    x = 0.0
    while x <= x_max + 1e-9:
        out.append(f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{TOP + height}" y2="{TOP + height + 5}" stroke="#222"/>')
        out.append(f'<text x="{px(x):.1f}" y="{TOP + height + 20}" text-anchor="middle">{x:g}</text>')
        x += x_step
    out.append(f'<path d="M{LEFT} {TOP}V{TOP + height}H{LEFT + width}" fill="none" stroke="#222"/>')
    out.append(f'<text x="{LEFT + width / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>')
    middle = TOP + height / 2
    out.append(f'<text x="18" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 18 {middle:.0f})">{escape(y_label)}</text>')
    for name, level in levels:
        out.append(f'<line x1="{LEFT}" x2="{LEFT + width}" y1="{py(level):.1f}" y2="{py(level):.1f}" stroke="#999" stroke-dasharray="5 4"/>')
        out.append(f'<text x="{LEFT + width + 6}" y="{py(level) + 4:.1f}" fill="#777" font-size="12">{escape(name)}</text>')
    for n, (name, points) in enumerate(series):
        colour = COLOURS[n % len(COLOURS)]
        path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"><title>{escape(name)}</title></polyline>')
        # The legend: above the chart's right margin, clear of the labels of the levels.
        x0 = LEFT + width + 8
        at = TOP - 30 + 17 * n
        out.append(f'<line x1="{x0}" x2="{x0 + 22}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2.5"/>')
        out.append(f'<text x="{x0 + 28}" y="{at + 4}">{escape(name)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
