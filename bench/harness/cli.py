"""The command: arguments, rounds, files."""

import argparse
import datetime
import json
import os
import platform
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import allocators
import figures
import report
import rows as bench_rows
import scatter
import tables
from allocators import BenchError

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
QUICK_SCALE, QUICK_ROUNDS, ROUNDS = 0.3, 2, 3
MICRO_ROUNDS = 5


class Tools:
    """The programs that CMake built for the bench."""

    def __init__(self, build):
        self.workload = self.find(build, "workload")
        self.measure = self.find(build, "measure")
        self.micro = self.find(build, "micro")
        self.latency = self.find(build, "latency")
        self.scale = self.find(build, "scale")
        self.stepcount = self.find(build, "stepcount")
        self.stall = self.find(build, "stall")
        self.startup = self.find(build, "startup")
        self.manycore = self.find(build, "manycore")
        self.empty = self.find(build, "libempty.so")

    @staticmethod
    def find(build, name):
        path = os.path.join(os.path.abspath(build), "bench", name)
        if not os.access(path, os.X_OK):
            raise BenchError(f"there is no program {path}; run `make` first, or name the build "
                             "directory with --build")
        return path


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Runs every workload under every allocator found, in "
        "interleaved rounds, and writes a table, the samples and a plot.",
        epilog="Peers: PEERS='NAME=/path/lib.so NAME2@VERSION=/path2/lib2.so' adds allocators.")
    parser.add_argument("--build", default="build", metavar="DIR", help="build directory (build)")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"runs of each cell ({ROUNDS})")
    parser.add_argument("--rows", metavar="REGEX", help="only rows whose whole name matches")
    parser.add_argument("--allocators", metavar="LIST", help="only these, separated by commas")
    parser.add_argument("--scale", type=float, metavar="X", help="size of each run (1)")
    parser.add_argument("--quick", action="store_true",
                        help="a few rows at small scale, about two minutes")
    parser.add_argument("--micro", action="store_true",
                        help="only the hot paths: ns per malloc+free pair (a full run has them too)")
    parser.add_argument("--table", metavar="LIST", help="instead of the rows: "
                        + ", ".join(tables.TABLES) + ", or all, separated by commas")
    parser.add_argument("--out", metavar="DIR", default=os.path.join(BENCH, "out"),
                        help="where the results go (bench/out)")
    parser.add_argument("--list", action="store_true", help="list rows and allocators, run nothing")
    parser.add_argument("--write-results", action="store_true",
                        help="also write bench/RESULTS.md and bench/RESULTS.svg, or bench/tables/")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if options.scale is not None and not 0 < options.scale <= 100:
        parser.error("--scale must be above 0 and at most 100")
    options.scale = options.scale or (QUICK_SCALE if options.quick else 1.0)
    options.rounds_asked = options.rounds
    options.rounds = options.rounds or (
        MICRO_ROUNDS if options.micro else QUICK_ROUNDS if options.quick else ROUNDS)
    options.command = "bench/run " + " ".join(shlex.quote(a) for a in arguments)
    return options


def choose_rows(known, options):
    if options.rows:
        try:
            chosen = [row for row in known if re.fullmatch(options.rows, row.name)]
        except re.error as error:
            raise BenchError(f"--rows {options.rows}: not a regular expression: {error}") from None
        if not chosen:
            raise BenchError(f"no row matches {options.rows}; there are: "
                             + ", ".join(row.name for row in known))
        return chosen
    if options.quick:
        return [row for row in known if row.name in bench_rows.QUICK_ROWS]
    return known


def say(text):
    print(text, flush=True)


def run_row(row, order, runs_of, tools, scratch):
    """One sample of a row under each allocator in turn; one that failed before is not run again."""
    shown = []
    for allocator in order:
        runs = runs_of[allocator.name]
        if figures.failure(runs):
            continue
        sample = bench_rows.run_once(row, allocator, tools, scratch)
        runs.append(sample)
        shown.append(f"{allocator.name} failed" if "failed" in sample else
                     f"{allocator.name} {sample['cpu']:.2f}s/{sample['peak']:.0f}M")
    return ", ".join(shown)


def run_rounds(rows, chosen, tools, rounds, scratch):
    """Interleaved: the samples of one row under all allocators lie next to each other in time, in
    another order each time. Returns the samples and, where a person stopped the
    run, a note of how far it came: what was measured until then is kept."""
    samples = {row.name: {a.name: [] for a in chosen} for row in rows}
    for number in range(rounds):
        for row in rows:
            try:
                shown = run_row(row, bench_rows.shuffled(chosen, row.name, number), samples[row.name], tools,
                                scratch)
            except KeyboardInterrupt:
                return samples, f"interrupted in round {number + 1} of {rounds}, at {row.name}"
            say(f"[{number + 1}/{rounds}] {row.name}: {shown}")
    return samples, ""


def merge_micro(runs):
    """The least of the minima, and the median of the medians, of several runs."""
    merged = {}
    for pattern in ("pair", "batch", "replace"):
        merged[pattern] = {"min": min(run[pattern]["min"] for run in runs),
                           "median": statistics.median(run[pattern]["median"] for run in runs),
                           "loop": min(run[pattern]["loop"] for run in runs)}
    return merged


def run_micro(chosen, tools, rounds):
    runs = {allocator.name: [] for allocator in chosen}
    failed = {}
    for number in range(rounds):
        for allocator in chosen:
            if allocator.name in failed:
                continue
            environment = dict(os.environ)
            if allocator.library:
                environment["LD_PRELOAD"] = allocator.library
            try:
                done = subprocess.run([tools.micro], env=environment, capture_output=True, text=True,
                                      timeout=120)
                runs[allocator.name].append(json.loads(done.stdout))
            except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
                failed[allocator.name] = {"failed": str(error)}
        say(f"[{number + 1}/{rounds}] hot paths of {len(chosen)} allocators")
    return {name: failed.get(name) or merge_micro(found) for name, found in runs.items()}


def read_line(path, default="unknown"):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return default


def cpu_model():
    found = re.search(r"model name\s*: (.*)", read_line("/proc/cpuinfo"))
    return found.group(1) if found else platform.machine()


def system_name():
    found = re.search(r'PRETTY_NAME="(.*)"', read_line("/etc/os-release"))
    return found.group(1) if found else "Linux"


def allocator_settings():
    """Variables of the environment that change what an allocator does; they belong to the result."""
    wanted = re.compile("RATION|MALLOC_|GLIBC_TUNABLES|MIMALLOC_|TCMALLOC_|SNMALLOC_|LD_BIND_NOW")
    found = [f"`{key}={value}`" for key, value in sorted(os.environ.items()) if wanted.match(key)]
    return ", ".join(found) or "none"


def describe(options, chosen, load_before):
    memory = re.search(r"MemTotal:\s*(\d+)", read_line("/proc/meminfo"))
    memory = f"{int(memory.group(1)) / 2**20:.0f} GiB" if memory else "unknown memory"
    return [
        ("date", datetime.datetime.now().strftime("%Y-%m-%d %H:%M")),
        ("machine", f"{cpu_model()}, {os.cpu_count()} CPUs, {memory}"),
        ("system", f"{system_name()}, Linux {platform.release()}, transparent huge pages: "
                   + read_line("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("load average at the start and at the end",
         f"{load_before}; {os.getloadavg()[0]:.2f}"),
        ("command", f"`{options.command}` ({options.rounds} rounds, scale {options.scale:g})"),
        ("settings of allocators in the environment", allocator_settings()),
        ("allocators", ", ".join(f"{a.name} ({a.version})" for a in chosen)),
    ]


def write_all(targets):
    """(directory, file name, text): those with a text are written."""
    for directory, name, text in targets:
        if text:
            os.makedirs(directory, exist_ok=True)
            with open(os.path.join(directory, name), "w") as file:
                file.write(text)
            say(f"written: {os.path.join(directory, name)}")


def write_files(options, page, picture, raw):
    stem = "micro" if options.micro else "results"
    targets = [(options.out, stem + ".md", page), (options.out, stem + ".json", raw),
               (options.out, "results.svg", picture)]
    if options.write_results:
        targets += [(BENCH, "RESULTS.md", page.replace("(results.svg)", "(RESULTS.svg)")),
                    (BENCH, "RESULTS.svg", picture)]
    write_all(targets)


def print_lists(known, found, notes):
    say("rows:")
    for row in known:
        say(f"  {row.name:14} {row.what}")
    say("allocators:")
    for allocator in found:
        say(f"  {allocator.name:14} {allocator.library or '(no preload)'}  {allocator.version}")
    for note in notes:
        say(f"  {note}")


def run_table(name, options, chosen, tools):
    """Measures one table and writes its page, its samples and its picture."""
    measure, rounds = tables.TABLES[name]
    options.rounds = options.rounds_asked or rounds
    load_before = f"{os.getloadavg()[0]:.2f}"
    context = tables.Context(chosen, tools, options.rounds, say)
    page = measure(context)
    text = tables.write_page(page, name, describe(options, chosen, load_before), context.failures)
    targets = [(options.out, name + ".md", text), (options.out, name + ".svg", page.picture),
               (options.out, name + ".json", json.dumps(page.raw, indent=1))]
    if options.write_results:
        kept = os.path.join(BENCH, "tables")
        targets += [(kept, name + ".md", text), (kept, name + ".svg", page.picture)]
    write_all(targets)
    say("\n" + text)


def run_bench(options):
    tools = Tools(options.build)
    found, notes = allocators.find_all(options.build, os.environ.get("PEERS", ""))
    known = bench_rows.all_rows(tools, options.scale)
    if options.list:
        print_lists(known, found, notes)
        return 0
    chosen = allocators.choose(found, options.allocators, options.build)
    for note in notes:
        say(note)
    if options.table:
        with tempfile.TemporaryDirectory(prefix="ration-bench-") as tools.scratch:
            for name in tables.choose(options.table):
                run_table(name, options, chosen, tools)
        return 0
    load_before = f"{os.getloadavg()[0]:.2f}"
    rows, samples, micro, interrupted = [], {}, {}, ""
    if options.micro or not options.rows:
        micro = run_micro(chosen, tools, MICRO_ROUNDS)
    if not options.micro:
        inputs = os.path.join(os.path.abspath(options.build), "bench", "inputs")
        rows = bench_rows.prepare(choose_rows(known, options), tools, options.scale, inputs)
        with tempfile.TemporaryDirectory(prefix="ration-bench-") as scratch:
            samples, interrupted = run_rounds([r for r in rows if r.job], chosen, tools,
                                              options.rounds, scratch)
    facts = describe(options, chosen, load_before)
    if interrupted:
        facts.append(("not complete", interrupted))
    publish(options, chosen, rows, facts, samples, micro)
    return 130 if interrupted else 0


def publish(options, chosen, rows, facts, samples, micro):
    """Writes the files and prints the summary."""
    skipped = [f"{row.name}: {row.skipped}" for row in rows if row.skipped]
    rows = [row for row in rows if row.job and all(samples[row.name].values())]
    results = figures.Figures(samples, [row.name for row in rows], [a.name for a in chosen])
    page = report.write_report(results, rows, facts, skipped, micro, "results.svg")
    raw = json.dumps({"facts": facts, "skipped": skipped, "samples": samples, "micro": micro}, indent=1)
    write_files(options, page, scatter.draw(results), raw)
    if micro:
        say("\n" + report.micro_section(micro))
    if rows:
        say("\n" + report.ratio_summary(results, None))
    for line in skipped:
        say(f"skipped: {line}")
    for allocator in results.allocators:
        for row, why in results.failures(allocator):
            say(f"failed: {allocator} on {row}: {why}")


def main(arguments):
    options = parse_arguments(arguments)
    os.environ.pop("LD_PRELOAD", None)  # the bench's own tools run on the C library's malloc
    if not shutil.which("ldd"):
        print("bench/run: ldd is not installed (Debian: libc-bin)", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, also under nohup
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run_bench(options)
    except BenchError as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench/run: interrupted before anything was measured", file=sys.stderr)
        return 130
