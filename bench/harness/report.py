"""The report in Markdown: summary first, then ours against each peer, then every row."""

from allocators import BASE, OURS
from figures import METRICS, geometric_mean

FURTHEST_SHOWN = 12


def table(heading, lines):
    """A Markdown table: the first column to the left, the others to the right."""
    out = ["| " + " | ".join(heading) + " |", "|---" + "|---:" * (len(heading) - 1) + "|"]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in lines]) + "\n"


def times(value):
    return f"{value:.2f}" if value is not None else "–"


def conditions(facts):
    return "\n".join(f"* {key}: {value}" for key, value in facts) + "\n"


def ratio_summary(figures, reference):
    """One line per allocator: geometric means of ratios to the best of each row, or to glibc."""
    heading = ["allocator"] + [name for _, name, _, _ in METRICS] + ["rows", "rows lost"]
    lines = []
    for allocator in figures.allocators:
        line = [allocator]
        for metric, _, _, _ in METRICS:
            if reference:
                ratios = figures.ratios_between(metric, allocator, reference)
            else:
                ratios = figures.ratios_to_best(metric, allocator)
            line.append(times(geometric_mean(ratios.values())))
        lost = len(figures.failures(allocator))
        line += [str(len(figures.ratios_to_best("cpu", allocator))), str(lost) if lost else "–"]
        lines.append(line)
    return table(heading, lines)


def ours_against_peers(figures):
    heading = ["ration over"] + [name for _, name, _, _ in METRICS]
    lines = []
    for peer in figures.allocators:
        if peer != OURS:
            lines.append([peer] + [
                times(geometric_mean(figures.ratios_between(metric, OURS, peer).values()))
                for metric, _, _, _ in METRICS])
    return table(heading, lines)


def furthest_rows(figures, metric):
    """The rows on which ours is furthest from the best peer, worst first; below 1 it leads."""
    peers = [a for a in figures.allocators if a != OURS]
    found = []
    for row in figures.rows:
        ours, best = figures.value(metric, row, OURS), figures.best(metric, row, peers)
        if ours is not None and best is not None and best[0] > 0:
            found.append((ours / best[0], row, best[1]))
    found.sort(reverse=True)
    leads = sum(1 for over, _, _ in found if over <= 1)
    text = ", ".join(f"{row} {over:.2f} ({peer})" for over, row, peer in found[:FURTHEST_SHOWN])
    return f"{text}. It leads on {leads} of {len(found)} rows."


def metric_table(figures, metric, name, unit, decimals):
    """Rows against allocators: the median, and how many times the best of the row it is."""
    rows = [row for row in figures.rows if figures.best(metric, row)]
    lines = []
    for row in rows:
        best = figures.best(metric, row)[0]
        line, spreads = [row], []
        for allocator in figures.allocators:
            cell = figures.cell(metric, row, allocator)
            if cell is None:
                line.append("failed" if row in dict(figures.failures(allocator)) else "–")
                continue
            spreads.append(cell.spread())
            text = f"{cell.median:.{decimals}f}"
            line.append(f"**{text}**" if cell.median == best
                        else f"{text} ×{cell.median / best if best else 1:.2f}")
        line.append(f"{100 * sorted(spreads)[len(spreads) // 2]:.0f} %")
        lines.append(line)
    unit = f" ({unit})" if unit else ""
    return f"### {name}{unit}\n\n" + table(["row"] + figures.allocators + ["spread"], lines)


def detail_table(figures):
    """Every median with its least and greatest sample."""
    heading = ["row", "allocator"] + [f"{name} {unit}".strip() for _, name, unit, _ in METRICS]
    lines = []
    for row in figures.rows:
        for allocator in figures.allocators:
            line = [row, allocator]
            for metric, _, _, decimals in METRICS:
                cell = figures.cell(metric, row, allocator)
                line.append(f"{cell.median:.{decimals}f} ({cell.lowest:.{decimals}f}.."
                            f"{cell.highest:.{decimals}f})" if cell else "–")
            lines.append(line)
    return table(heading, lines)


def failure_list(figures):
    lines = []
    for allocator in figures.allocators:
        for row, why in figures.failures(allocator):
            lines.append(f"* {allocator} on {row}: {why}")
    return "\n".join(lines) + "\n" if lines else "None.\n"


def micro_table(micro):
    """Nanoseconds per malloc+free pair: least window, and the median of the runs' medians."""
    patterns = ["pair", "batch", "replace"]
    heading = ["allocator"] + [f"{p} {kind}" for p in patterns for kind in ("min", "median")]
    lines = []
    for allocator, figures in micro.items():
        line = [allocator]
        for pattern in patterns:
            if "failed" in figures:
                line += ["failed", "–"]
            else:
                line += [f"{figures[pattern]['min']:.1f}", f"{figures[pattern]['median']:.1f}"]
        lines.append(line)
    return table(heading, lines)


def micro_section(micro):
    loops = [f["pair"]["loop"] for f in micro.values() if "failed" not in f]
    if not loops:
        return "## Hot paths\n\n" + micro_table(micro)
    loop_text = ", ".join(
        f"{p} {min(f[p]['loop'] for f in micro.values() if 'failed' not in f):.1f}"
        for p in ("pair", "batch", "replace"))
    return ("## Hot paths\n\nNanoseconds of thread CPU time per malloc+free pair, loop included "
            f"(the loop with a trivial allocator: {loop_text}).\n\n" + micro_table(micro))


def legend(rows):
    return "\n".join(f"* {row.name}: {row.what}" for row in rows) + "\n"


def write_report(figures, rows, facts, skipped, micro, scatter_name):
    """The whole page as text."""
    parts = ["# Results of the bench\n", conditions(facts)]
    if figures.rows:
        parts += [
            f"![time against memory, one dot per allocator]({scatter_name})\n",
            "## Summary\n\nGeometric means of each allocator's ratio to the best of each row "
            "(1.00 would be the best everywhere).\n", ratio_summary(figures, None)]
        if BASE in figures.allocators:
            parts += ["The same as ratios to glibc.\n", ratio_summary(figures, BASE)]
    if figures.rows and OURS in figures.allocators:
        parts += ["## ration against each peer\n\nGeometric means of ratios on the rows that both "
                  "finished; below 1, ration is ahead.\n", ours_against_peers(figures)]
        for metric, name, _, _ in METRICS[:4]:
            parts.append(f"Furthest from the best peer in {name}: {furthest_rows(figures, metric)}\n")
    if micro:
        parts.append(micro_section(micro))
    if figures.rows:
        parts.append("## Rows\n\nMedians; × is the ratio to the best of the row, spread the middle "
                     "one of the allocators' (max − min) ÷ median.\n")
        parts += [metric_table(figures, *metric) for metric in METRICS]
        parts += ["## Failed\n", failure_list(figures)]
        if skipped:
            parts += ["## Skipped\n", "\n".join(f"* {line}" for line in skipped) + "\n"]
        parts += ["## What the rows are\n", legend(rows)]
        parts += ["## All figures\n\nMedian (least..greatest).\n", detail_table(figures)]
    return "\n".join(parts)
