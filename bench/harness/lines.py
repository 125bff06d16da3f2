"""Curves, one for each allocator, as hand-written SVG in the style of the scatter plot: logarithmic
axes, ours in colour, the names at the right ends."""

import math

from allocators import OURS
from scatter import STYLE

WIDTH, PANEL = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 50, 50
LABEL_HEIGHT = 14

CURVES = """
  .curve { fill: none; stroke: #8c959f; stroke-width: 1.3; }
  .curve.ours { fill: none; stroke: #b3261e; stroke-width: 2.6; }
  @media (prefers-color-scheme: dark) { .curve.ours { stroke: #ff8a80; } }
"""


class Log:
    """A logarithmic axis over all values."""

    def __init__(self, values, start, end):
        low, high = min(values), max(values)
        self.low, self.high = (low, high) if high > low else (low / 1.5, high * 1.5)
        self.start, self.end = start, end

    def at(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * share

    def ticks(self):
        """1, 2 and 5 times powers of ten; only the powers where those would be too many."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = [1] if last - first > 3 else [1, 2, 5]
        found = [step * 10.0 ** power for power in range(first, last + 1) for step in steps]
        return [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]


def shown(value):
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def place_ends(ends):
    """Labels from top to bottom, each at its curve's end or below the one before: name -> y."""
    placed, last = {}, -math.inf
    for y, name in sorted(ends):
        last = max(y + 4, last + LABEL_HEIGHT)
        placed[name] = last
    return placed


def panel(title, x_label, y_label, series, x_axis, y_axis, top):
    """series: name -> [(x, y)]."""
    bottom = top + PANEL - BOTTOM
    out = [f'<text x="{LEFT}" y="{top + 26}" font-weight="600">{title}</text>']
    for tick in x_axis.ticks():
        x = x_axis.at(tick)
        out.append(f'<line class="grid" x1="{x:.1f}" y1="{top + TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        out.append(f'<text class="small" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
                   f'{shown(tick)}</text>')
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        out.append(f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                   f'{shown(tick)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 36}" text-anchor="middle">'
               f'{x_label}</text>')
    out.append(f'<text transform="translate(20 {(top + TOP + bottom) / 2}) rotate(-90)" '
               f'text-anchor="middle">{y_label}</text>')
    labels = place_ends([(y_axis.at(points[-1][1]), name) for name, points in series.items()])
    for name in sorted(series, key=lambda name: name == OURS):
        kind = " ours" if name == OURS else ""
        points = [(x_axis.at(x), y_axis.at(y)) for x, y in series[name]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        end_x, end_y = points[-1]
        out.append(f'<polyline class="curve{kind}" points="{path}"><title>{name}</title></polyline>')
        out.append(f'<line class="lead" x1="{end_x:.1f}" y1="{end_y:.1f}" '
                   f'x2="{WIDTH - RIGHT + 12}" y2="{labels[name] - 4:.1f}"/>')
        out.append(f'<text class="small{kind}" x="{WIDTH - RIGHT + 14}" y="{labels[name]:.1f}">'
                   f'{name}</text>')
    return out


def draw(title, panels):
    """panels: (title, label of x, label of y, {name: [(x, y), ...]}), drawn below each other."""
    panels = [(what, x, y, {n: p for n, p in series.items() if p}) for what, x, y, series in panels]
    panels = [entry for entry in panels if entry[3]]
    if not panels:
        return ""
    height = PANEL * len(panels) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
           f"<title>{title}</title>", f"<style>{STYLE}{CURVES}</style>",
           f'<rect class="paper" width="{WIDTH}" height="{height}"/>']
    for number, (what, x_label, y_label, series) in enumerate(panels):
        top = number * PANEL
        points = [point for curve in series.values() for point in curve]
        x_axis = Log([x for x, _ in points], LEFT, WIDTH - RIGHT)
        y_axis = Log([y for _, y in points], top + PANEL - BOTTOM, top + TOP)
        out += panel(what, x_label, y_label, series, x_axis, y_axis, top)
    return "\n".join(out + ["</svg>"]) + "\n"
