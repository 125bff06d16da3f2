"""A picture of time against memory: one dot per allocator, at the geometric means of its ratios to
the best of each row. Lower left is better. Hand-written SVG that follows the reader's light or dark
scheme."""

import math

from allocators import OURS
from figures import geometric_mean

WIDTH, HEIGHT = 760, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 40, 60
LABEL_HEIGHT = 15
TICKS = [1, 1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50]

STYLE = """
  svg { font: 13px system-ui, sans-serif; }
  .paper { fill: #ffffff; } text { fill: #1f2328; } .small { font-size: 11px; }
  .grid { stroke: #d1d9e0; } .lead { stroke: #57606a; stroke-width: .7; }
  .dot { fill: #57606a; } .ours { fill: #b3261e; } text.ours { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; }
    .grid { stroke: #30363d; } .lead { stroke: #9198a1; }
    .dot { fill: #9198a1; } .ours { fill: #ff8a80; } text.ours { fill: #ff8a80; }
  }
"""


class Axis:
    """A logarithmic axis from 1 to a little above the greatest value."""

    def __init__(self, values, start, end):
        self.top = max(1.3, max(values) * 1.12)
        self.start, self.end = start, end

    def at(self, value):
        return self.start + (self.end - self.start) * math.log(value) / math.log(self.top)

    def ticks(self):
        return [tick for tick in TICKS if tick <= self.top]


def points(figures, time_metric):
    found = []
    for allocator in figures.allocators:
        time = geometric_mean(figures.ratios_to_best(time_metric, allocator).values())
        memory = geometric_mean(figures.ratios_to_best("peak", allocator).values())
        if time and memory:
            found.append((allocator, time, memory))
    return found


def place_labels(dots):
    """Right of each dot, moved down where it would lie on another label or dot: (x, y, name)."""
    placed = []
    for x, y, name in sorted(dots, key=lambda dot: dot[1]):
        width = 7.2 * len(name)
        left = x + 10 if x + 10 + width < WIDTH - 4 else x - 10 - width
        label_y = y + 4
        while any(abs(label_y - other_y) < LABEL_HEIGHT and left < other_x + other_width
                  and other_x < left + width for other_x, other_y, other_width, _ in placed):
            label_y += 3
        placed.append((left, label_y, width, name))
    return {name: (left, y) for left, y, _, name in placed}


def grid(x_axis, y_axis):
    out = []
    for tick in x_axis.ticks():
        x = x_axis.at(tick)
        out.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        out.append(f'<text class="small" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{tick:g}</text>')
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        out.append(f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">'
               f'CPU time, times the best of each row</text>')
    out.append(f'<text transform="translate(20 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
               f'text-anchor="middle">peak RSS, times the best of each row</text>')
    return out


def draw(figures):
    """The SVG text, or "" where there is nothing to draw."""
    found = points(figures, "cpu")
    if not found:
        return ""
    x_axis = Axis([time for _, time, _ in found], LEFT, WIDTH - RIGHT)
    y_axis = Axis([memory for _, _, memory in found], HEIGHT - BOTTOM, TOP)
    dots = [(x_axis.at(time), y_axis.at(memory), name) for name, time, memory in found]
    labels = place_labels(dots)
    hint = f'<text class="small" x="{LEFT}" y="{TOP - 14}">lower left is better</text>'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
           "<title>Time against memory, geometric means; lower left is better</title>",
           f"<style>{STYLE}</style>", f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>', hint]
    out += grid(x_axis, y_axis)
    for (x, y, name), (_, time, memory) in zip(dots, found):
        kind = "ours" if name == OURS else "dot"
        label_x, label_y = labels[name]
        if abs(label_y - 4 - y) > 6:
            out.append(f'<line class="lead" x1="{x:.1f}" y1="{y:.1f}" x2="{label_x:.1f}" '
                       f'y2="{label_y - 4:.1f}"/>')
        out.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{7 if name == OURS else 5}">'
                   f"<title>{name}: time {time:.2f}, memory {memory:.2f}</title></circle>")
        out.append(f'<text class="{"ours" if name == OURS else "name"}" x="{label_x:.1f}" '
                   f'y="{label_y:.1f}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"
