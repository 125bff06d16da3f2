"""Tables of their own: tail latency, cost as the work grows, threads, overhead, start-up. Each is a
function that measures and returns a Page; figures are the least of the rounds, which on a busy machine
is the one that was disturbed least."""

import json
import os
import re
import statistics
import subprocess

import lines
from allocators import BASE, OURS, BenchError
from report import table
from rows import shuffled

KILL_AFTER_SECONDS = 120
SIMULATION_SECONDS = 900  # about four minutes on an idle machine


class Page:
    def __init__(self, title, parts, raw, picture=""):
        self.title = title
        self.parts = parts  # Markdown
        self.raw = raw
        self.picture = picture


class Context:
    """What a table needs to measure: the allocators, the programs, how often, where to talk."""

    def __init__(self, chosen, tools, rounds, say):
        self.chosen = chosen
        self.tools = tools
        self.rounds = rounds
        self.say = say
        self.failures = []

    def orders(self):
        """One order of the allocators for each round."""
        for number in range(self.rounds):
            yield number + 1, shuffled(self.chosen, number)

    def run(self, allocator, command, measure_into=None, variable="LD_PRELOAD", seconds=KILL_AFTER_SECONDS):
        """Output of a program under an allocator, or None; failures are noted and shown."""
        environment = dict(os.environ, LC_ALL="C")
        if allocator and allocator.library:
            environment[variable] = allocator.library
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True,
                                  timeout=seconds)
            trouble = "" if done.returncode == 0 else (
                f"status {done.returncode}: {done.stderr.strip()[-120:]}")
        except subprocess.TimeoutExpired:
            trouble = f"killed after {seconds} s"
        if trouble:
            name = allocator.name if allocator else "no allocator"
            self.failures.append(f"{name}: `{' '.join(command[1:])}`: {trouble}")
            return None
        return done.stdout


def cell(value, best, decimals=1):
    if value is None:
        return "failed"
    text = f"{value:.{decimals}f}"
    return f"**{text}**" if best is not None and value <= best else text


def least(values):
    known = [value for value in values if value is not None]
    return min(known) if known else None


def peers_best(figures):
    """(value, name) of the least among the peers of {name: value}."""
    known = [(value, name) for name, value in figures.items() if name != OURS and value is not None]
    return min(known) if known else (None, "")


def verdict(what, figures, factor=1.0, unit=""):
    """One line: ours against the best peer and the target."""
    ours, (best, peer) = figures.get(OURS), peers_best(figures)
    if ours is None or best is None:
        return ""
    met = "met" if ours <= best * factor else "**missed**"
    return (f"* {what}: {met}; ration {ours:.3g}{unit}, the best peer ({peer}) {best:.3g}{unit}, "
            f"ratio {ours / best if best else 1:.2f}.\n")


# Tail latency

PERCENTILES = [("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"), ("p9999", "p99.99"), ("worst", "worst")]


def latency(context):
    runs = {allocator.name: [] for allocator in context.chosen}
    for number, order in context.orders():
        for allocator in order:
            output = context.run(allocator, [context.tools.latency])
            if output:
                runs[allocator.name].append(json.loads(output))
        context.say(f"[{number}/{context.rounds}] latency of {len(order)} allocators")
    merged = {name: merge_latency(found) for name, found in runs.items() if found}
    parts = []
    for call in ("malloc", "free"):
        parts.append(f"## {call}\n\n" + latency_table(merged, call))
        parts.append(verdict(f"p99.99 of {call} at or below every peer's",
                             {name: f[call]["p9999"] for name, f in merged.items()}, unit=" ns"))
    parts.append("## The machine\n\nAn empty call, timed beside each pair: what no allocator can be blamed "
                 "for.\n\n" + latency_table(merged, "control"))
    if not all(run["switches_known"] for found in runs.values() for run in found):
        parts.append("This system does not tell of context switches (no rseq): no call is counted as preempted.\n")
    return Page("Tail latency", parts, runs)


def merge_latency(runs):
    merged = {}
    for call in ("malloc", "free", "control"):
        merged[call] = {key: min(run[call][key] for run in runs) for key in runs[0][call]}
        for key in ("preempted", "waited", "stalls", "p9999"):
            merged[call]["middle_" + key] = statistics.median(run[call][key] for run in runs)
    return merged


def latency_table(merged, call):
    heading = (["allocator"] + [f"{name} ns" for _, name in PERCENTILES[:-1]]
               + ["worst µs", "p99.99 of a middling round", "above 200 µs", "waited", "preempted"])
    best = {key: min(f[call][key] for f in merged.values()) for key, _ in PERCENTILES}
    rows = []
    for name, figures in merged.items():
        f = figures[call]
        rows.append([name] + [cell(f[key], best[key], 0) for key, _ in PERCENTILES[:-1]]
                    + [cell(f["worst"] / 1000, best["worst"] / 1000, 0), f"{f['middle_p9999']:.0f}"]
                    + [f"{f[key]} ({f['middle_' + key]:.0f})" for key in ("stalls", "waited", "preempted")])
    return table(heading, rows)


# Cost as the number of live blocks grows

STEP_PAIRS = 1500  # as in scale.c
# Sizes, counts of live blocks to time, counts to step through.
LIVE_MIXES = [("64", [1000, 10000, 100000, 1000000, 10000000], [1000, 100000, 10000000]),
              ("16-128", [1000, 10000, 100000, 1000000], [])]
ONCE_FROM = 10000000  # such a run takes seconds, and its windows are many


def scale_live(context):
    raw, parts, panels = {"ns": {}, "instructions": {}}, [], []
    for mix, counts, step_counts in LIVE_MIXES:
        raw["ns"][mix] = times = time_live(context, mix, counts)
        parts += time_parts(mix, counts, times)
        if step_counts:
            raw["instructions"][mix] = steps = count_steps(context, mix, step_counts)
            parts += step_parts(mix, step_counts, steps)
        series = {name: [(n, v) for n, v in row.items() if v] for name, row in times.items()}
        panels.append((f"blocks of {mix} B", "live blocks", "ns per malloc+free pair", series))
    return Page("Cost as the number of live blocks grows", parts, raw,
                lines.draw("Cost of a pair against live blocks", panels))


def time_live(context, mix, counts):
    """{allocator: {count: ns}}; "loop" is the loop alone, with the same misses of its own data."""
    times = {allocator.name: {count: None for count in counts} for allocator in context.chosen}
    times["loop"] = {}
    for count in counts:
        for number, order in context.orders():
            if number > 1 and count >= ONCE_FROM:
                break
            for allocator in order:
                output = context.run(allocator, [context.tools.scale, "live", str(count), mix])
                if output:
                    found = json.loads(output)["min"]
                    times[allocator.name][count] = least([times[allocator.name][count], found])
        output = context.run(None, [context.tools.scale, "loop", str(count), mix])
        times["loop"][count] = json.loads(output)["min"] if output else None
        context.say(f"scale-live: {count} blocks of {mix} B")
    return times


def count_steps(context, mix, counts):
    """{allocator: {count: instructions a pair}}, by stepping through them one at a time: exact, and the
    same in each run but for what a helper thread changes."""
    steps = {}
    for allocator in context.chosen:
        steps[allocator.name] = {}
        for count in counts:
            output = context.run(allocator, [context.tools.stepcount, context.tools.scale, "steps",
                                             str(count), mix], variable="STEPCOUNT_PRELOAD")
            steps[allocator.name][count] = int(output) / STEP_PAIRS if output else None
    context.say(f"scale-live: instructions, {mix} B")
    return steps


def growth_of(figures, counts):
    return {name: row[counts[-1]] / row[counts[0]] for name, row in figures.items()
            if name != "loop" and row[counts[0]] and row[counts[-1]]}


def growth_table(figures, counts):
    growth = growth_of(figures, counts)
    best = {count: least(row[count] for name, row in figures.items() if name != "loop") for count in counts}
    rows = [[name] + [cell(row[count], best[count] if name != "loop" else None) for count in counts]
            + [f"{growth[name]:.2f}" if name in growth else "–"] for name, row in figures.items()]
    return table(["allocator"] + [f"{n:,}" for n in counts] + ["growth"], rows)


def time_parts(mix, counts, times):
    return [f"## Blocks of {mix} B\n\nNanoseconds of CPU per pair of free and malloc of a random one of the "
            "live blocks; loop: the same without an allocator.\n", growth_table(times, counts),
            verdict(f"growth of time no steeper than the flattest peer, {mix} B", growth_of(times, counts))]


def step_parts(mix, counts, steps):
    return ["Instructions per pair, the loop's included (the same for all).\n", growth_table(steps, counts),
            verdict(f"growth of instructions no steeper than the flattest peer, {mix} B", growth_of(steps, counts))]


# Threads

THREAD_COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
PAIRS_EACH, PAIRS_TOTAL = 40000, 2000000


def scale_threads(context):
    raw, parts, panels = {}, [], []
    for what, pairs_of in (("fixed work for each thread", lambda n: PAIRS_EACH),
                           ("fixed work in all", lambda n: PAIRS_TOTAL // n)):
        raw[what] = figures = measure_threads(context, what, pairs_of)
        for key, name, decimals in (("wall", "wall time, ms", 0), ("cpu", "CPU time, ms", 0),
                                    ("peak", "peak RSS, MiB", 1)):
            parts.append(f"## {what}: {name}\n\n" + thread_table(figures, key, decimals))
            panels.append((what, "threads", name, {
                allocator: [(n, row[n][key]) for n in THREAD_COUNTS if row.get(n)]
                for allocator, row in figures.items()}))
    parts.append(thread_verdicts(raw["fixed work for each thread"]))
    return Page("Cost as the number of threads grows", parts, raw,
                lines.draw("Time and memory against threads", panels))


def measure_threads(context, what, pairs_of):
    figures = {allocator.name: {} for allocator in context.chosen}
    for number, order in context.orders():
        for count in THREAD_COUNTS:
            for allocator in order:
                found = measure(context, allocator, [context.tools.scale, "threads", str(count),
                                                     str(pairs_of(count))])
                before = figures[allocator.name].get(count)
                if found:
                    figures[allocator.name][count] = {
                        key: min(found[key], before[key] if before else found[key]) for key in found}
        context.say(f"[{number}/{context.rounds}] {what}, 1 to {THREAD_COUNTS[-1]} threads")
    return figures


def measure(context, allocator, command):
    """Times in ms and peak RSS in MiB by the launcher, which keeps its own memory out of the figures."""
    report = os.path.join(context.tools.scratch, "report")
    output = context.run(None, [context.tools.measure, report, str(KILL_AFTER_SECONDS),
                                allocator.library] + command)
    with open(report) as file:
        found = dict(re.findall(r"(\w+)=(\S+)", file.read()))
    if output is None or found["exit"] != "0":
        context.failures.append(f"{allocator.name}: {' '.join(command[1:])}: status {found['exit']}")
        return None
    return {"wall": int(found["wall_us"]) / 1000, "peak": int(found["peak_kib"]) / 1024,
            "cpu": (int(found["user_us"]) + int(found["sys_us"])) / 1000}


def thread_table(figures, key, decimals):
    best = {n: least(row[n][key] for row in figures.values() if row.get(n)) for n in THREAD_COUNTS}
    rows = [[name] + [cell(row[n][key] if row.get(n) else None, best[n], decimals) for n in THREAD_COUNTS]
            for name, row in figures.items()]
    return table(["allocator"] + [str(n) for n in THREAD_COUNTS], rows)


def thread_verdicts(figures):
    """Linear: twice the threads, no more than twice the cost. From 8 threads on, where both CPUs are busy."""
    out = ""
    for key, name in (("cpu", "CPU time"), ("peak", "peak RSS")):
        growth = {allocator: row[256][key] / row[8][key] / 32 for allocator, row in figures.items()
                  if row.get(256) and row.get(8)}
        if OURS in growth:
            met = "met" if growth[OURS] <= 1.05 else "**missed**"
            out += f"* {name} linear from 8 to 256 threads (at most 1.05 of 32 times): {met}, {growth[OURS]:.2f}.\n"
        last = {allocator: row[256][key] for allocator, row in figures.items() if row.get(256)}
        out += verdict(f"{name} of 256 threads within 1.10 of the best peer", last, 1.10)
    return out


# Memory over live bytes

LIVE_MIB = 96
OVERHEAD_TARGET = 1.15


def overhead(context):
    mixes = subprocess.run([context.tools.scale, "mixes"], capture_output=True, text=True, check=True).stdout.split()
    raw = {allocator.name: {} for allocator in context.chosen}
    for mix in mixes:
        for allocator in context.chosen:
            output = context.run(allocator, [context.tools.scale, "overhead", mix, str(LIVE_MIB)])
            raw[allocator.name][mix] = json.loads(output) if output else {}
        context.say(f"overhead: sizes {mix}")
    parts = []
    for key, what in (("built", f"Built up to {LIVE_MIB} MiB"), ("aged", "Aged: every block replaced three times, at random")):
        best = {mix: least(row[mix].get(key) for row in raw.values()) for mix in mixes}
        rows = [[name] + [cell(row[mix].get(key), best[mix], 2) for mix in mixes] for name, row in raw.items()]
        parts.append(f"## {what}\n\n" + table(["allocator"] + mixes, rows))
        missed = [f"{mix} ({raw[OURS][mix][key]:.2f})" for mix in mixes
                  if raw.get(OURS) and raw[OURS][mix].get(key, 0) > OVERHEAD_TARGET]
        parts.append(f"* At most {OVERHEAD_TARGET} of the live bytes: "
                     + (f"**missed** with {', '.join(missed)}.\n" if missed else "met with all sizes.\n"))
    return Page("Resident memory over live bytes", parts, raw)


# Start-up

START_ROUNDS = 1000
EMPTY = "an empty library"
START_TIME_TARGET, START_KIB_TARGET = 1.05, 128


def start_up(context):
    libraries = [f"{a.name}={a.library}" for a in context.chosen] + [f"{EMPTY}={context.tools.empty}"]
    output = context.run(None, [context.tools.startup, str(START_ROUNDS * context.rounds)] + libraries)
    if not output:
        raise BenchError("; ".join(context.failures))
    raw = json.loads(output)
    keys = [("wall_min", "least wall µs", 0), ("wall", "wall µs, quicker quarter", 0), ("cpu_min", "least CPU µs", 0),
            ("cpu", "CPU µs, quicker quarter", 0), ("rss", "RSS KiB", 0), ("dirty", "of it written KiB", 0),
            ("faults", "page faults", 0)]
    best = {key: min(f[key] for name, f in raw.items() if name not in (BASE, EMPTY)) for key, _, _ in keys}
    rows = [[name] + [cell(f[key], best[key] if name not in (BASE, EMPTY) else None, d) for key, _, d in keys]
            for name, f in raw.items()]
    parts = [f"`/bin/true` {START_ROUNDS * context.rounds} times under each, interleaved.\n", table(["allocator"] + [n for _, n, _ in keys], rows)]
    if OURS in raw and BASE in raw:
        for key, name in (("wall_min", "wall time"), ("cpu_min", "CPU time")):
            over, floor = raw[OURS][key] / raw[BASE][key], raw[EMPTY][key] / raw[BASE][key]
            parts.append(f"* {name} at most {START_TIME_TARGET} of glibc's: {'met' if over <= START_TIME_TARGET else '**missed**'}, "
                         f"{over:.3f}; an empty library: {floor:.3f}.\n")
        more, floor = raw[OURS]["rss"] - raw[BASE]["rss"], raw[EMPTY]["rss"] - raw[BASE]["rss"]
        parts.append(f"* at most {START_KIB_TARGET} KiB more than glibc: {'met' if more <= START_KIB_TARGET else '**missed**'}, "
                     f"{more} KiB more; an empty library: {floor} KiB; written, not only mapped: "
                     f"{raw[OURS]['dirty'] - raw[BASE]['dirty']} KiB more.\n")
    return Page("Start-up", parts, raw)


# Stalls of a thread that grows

STALL_CASES = [(20, 256), (64, 1024), (256, 1024), (256, 16384), (1024, 4096), (1024, 16384), (4096, 8192),
               (16384, 20000)]  # KiB: holes, blocks
STALL_US = 200


def stalls(context):
    raw = {}
    for number, order in context.orders():
        for hole, block in STALL_CASES:
            for allocator in order:
                output = context.run(allocator, [context.tools.stall, str(hole), str(block)])
                case = raw.setdefault(allocator.name, {}).setdefault(f"{hole}/{block}", [])
                case += [json.loads(output)] if output else []
        context.say(f"[{number}/{context.rounds}] stalls of {len(order)} allocators")
    cases = [f"{hole}/{block}" for hole, block in STALL_CASES]
    worst = {name: {case: least(run["worst"] for run in row[case]) for case in cases} for name, row in raw.items()}
    best = {case: least(row[case] for row in worst.values()) for case in cases}
    rows = [[name] + [cell(row[case], best[case], 0) for case in cases] for name, row in worst.items()]
    parts = ["256 MiB in blocks (KiB, the first number), every second one freed; then 64 blocks (KiB, the second number): "
             "the longest malloc in microseconds, in the round in which that was shortest.\n",
             table(["allocator"] + cases, rows)]
    over = [f"{case} ({worst[OURS][case]:.0f})" for case in cases if (worst.get(OURS, {}).get(case) or 0) > STALL_US]
    parts.append(f"* No purge stall above {STALL_US} µs: " + (f"**missed** at {', '.join(over)}.\n" if over else "met.\n"))
    return Page("Stalls of a thread that grows", parts, raw)


# Many cores, on paper

def many_cores(context):
    output = context.run(None, [context.tools.manycore], seconds=SIMULATION_SECONDS)
    if not output:
        raise BenchError("; ".join(context.failures))
    raw = json.loads(output)
    counts = sorted({row["cores"] for row in raw})
    parts = ["Simulated, not measured (docs/MANYCORE.md): pairs of malloc and free per microsecond, all cores together.\n"]
    panels = []
    for workload in dict.fromkeys(row["workload"] for row in raw):
        figures = {}
        for row in raw:
            if row["workload"] == workload:
                figures.setdefault(row["design"], {})[row["cores"]] = row
        most = {n: max(row[n]["pairs_per_us"] for row in figures.values()) for n in counts}
        rows = []
        for design, row in figures.items():
            shown = [f"{row[n]['pairs_per_us']:.1f}" for n in counts]
            last = row[counts[-1]]
            rows.append([design] + [f"**{text}**" if row[n]["pairs_per_us"] == most[n] else text
                                    for text, n in zip(shown, counts)]
                        + [f"{last[kind]:.2f}" for kind in LINE_KINDS] + [f"{last['waited_ns']:.0f}"])
        parts.append(f"## {workload}\n\n" + table(
            ["design"] + [str(n) for n in counts] + [f"{kind} lines" for kind in LINE_KINDS] + ["ns in locks"], rows))
        panels.append((workload, "cores", "pairs per microsecond",
                       {design: [(n, row[n]["pairs_per_us"]) for n in counts] for design, row in figures.items()}))
    parts.append("The columns behind the throughputs are for the most cores, for each pair: lines that travelled, by what "
                 "they hold, and nanoseconds spent waiting for locks.\n")
    return Page("Many cores, simulated", parts, raw, lines.draw("Throughput against cores, simulated", panels))


LINE_KINDS = ["block", "state", "header", "remote", "lock", "map", "list"]

# Name -> function, rounds unless told otherwise.
TABLES = {
    "latency": (latency, 5),
    "scale-live": (scale_live, 3),
    "scale-threads": (scale_threads, 2),
    "overhead": (overhead, 1),
    "start-up": (start_up, 1),
    "stalls": (stalls, 3),
    "many-cores": (many_cores, 1),
}


def choose(text):
    names = list(TABLES) if text == "all" else text.split(",")
    for name in names:
        if name not in TABLES:
            raise BenchError(f'--table {name}: there is no such table; there are: {", ".join(TABLES)}, all')
    return names


def write_page(page, name, facts, failures):
    parts = [f"# {page.title}\n", "\n".join(f"* {key}: {value}" for key, value in facts) + "\n"]
    if page.picture:
        parts.append(f"![the same as curves]({name}.svg)\n")
    parts += [part for part in page.parts if part]
    if failures:
        parts.append("## Failed\n\n" + "\n".join(f"* {line}" for line in failures) + "\n")
    return "\n".join(parts)
