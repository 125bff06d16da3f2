"""From samples to figures: medians, spreads, ratios and geometric means."""

import math
import statistics

# Key in a sample, heading, unit, decimals.
METRICS = [
    ("cpu", "CPU time", "s", 3),
    ("wall", "wall time", "s", 3),
    ("peak", "peak RSS", "MiB", 1),
    ("after", "RSS after the load", "MiB", 1),
    ("faults", "minor faults", "", 0),
]


def mark_wrong_output(samples):
    """A run whose output differs from what most allocators gave has failed, however fast it was."""
    for by_allocator in samples.values():
        proofs = [s["proof"] for runs in by_allocator.values() for s in runs if "proof" in s]
        if not proofs:
            continue
        expected = statistics.mode(proofs)
        for runs in by_allocator.values():
            for sample in runs:
                if sample.get("proof", expected) != expected:
                    sample["failed"] = "its output differs from that under the other allocators"


def failure(runs):
    """Why an allocator has no figure on a row, or "". One failed run is enough."""
    for sample in runs:
        if "failed" in sample:
            return sample["failed"]
    return ""


class Cell:
    """The figures of one metric for one allocator on one row."""

    def __init__(self, values):
        self.median = statistics.median(values)
        self.lowest = min(values)
        self.highest = max(values)

    def spread(self):
        return (self.highest - self.lowest) / self.median if self.median else 0.0


class Figures:
    """All cells of a run: cell(metric, row, allocator), None where there is none."""

    def __init__(self, samples, rows, allocators):
        mark_wrong_output(samples)
        self.samples = samples
        self.rows = rows
        self.allocators = allocators
        self.cells = {}
        for row in rows:
            for allocator in allocators:
                runs = samples.get(row, {}).get(allocator, [])
                if not runs or failure(runs):
                    continue
                for metric, _, _, _ in METRICS:
                    values = [s[metric] for s in runs if metric in s]
                    if values:
                        self.cells[metric, row, allocator] = Cell(values)

    def cell(self, metric, row, allocator):
        return self.cells.get((metric, row, allocator))

    def value(self, metric, row, allocator):
        cell = self.cell(metric, row, allocator)
        return cell.median if cell else None

    def failures(self, allocator):
        """(row, why) for each row that an allocator lost."""
        lost = []
        for row in self.rows:
            why = failure(self.samples.get(row, {}).get(allocator, []))
            if why:
                lost.append((row, why))
        return lost

    def best(self, metric, row, among=None):
        """(value, allocator) of the least on a row, or None."""
        known = [(self.value(metric, row, a), a) for a in (among or self.allocators)]
        known = [pair for pair in known if pair[0] is not None]
        return min(known) if known else None

    def ratios_to_best(self, metric, allocator):
        """Row -> this allocator's figure over the least of all on that row."""
        ratios = {}
        for row in self.rows:
            value = self.value(metric, row, allocator)
            if value is not None:
                ratios[row] = ratio(value, self.best(metric, row)[0])
        return ratios

    def ratios_between(self, metric, allocator, other):
        """Row -> allocator's figure over other's, on the rows that both have."""
        ratios = {}
        for row in self.rows:
            a, b = self.value(metric, row, allocator), self.value(metric, row, other)
            if a is not None and b is not None:
                ratios[row] = ratio(a, b)
        return ratios


def ratio(value, reference):
    return max(value, 1e-6) / max(reference, 1e-6)


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None
