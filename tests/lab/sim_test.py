#!/usr/bin/env python3
"""`ration sim` from outside: outputs that other tools can read, exit statuses, damaged traces.

usage: sim_test.py --ration FILE [--programs DIR]        exit 0 fine, 1 a check failed
"""
import csv
import io
import json
import pathlib
import re
import sys
import tempfile
import xml.etree.ElementTree as xml

from testing import Checks, Ration, parse_arguments

CONTRACT = ["implicit", "first-fit", "next-fit", "best-fit", "worst-fit", "segregated-fit", "buckets",
            "buddy", "tlsf", "zones", "ptmalloc", "slab", "ration"]
PATTERNS = ["short", "binary", "binary2", "coalescing", "random", "realloc", "realloc2", "syn-array",
            "syn-string", "syn-struct", "syn-mix", "needle", "exhaust", "merry-go-round", "seglist",
            "largemem", "swiss", "two-megs", "bucket-starvation", "course9", "buddy32", "worst-pow2",
            "aging", "lesson", "wholesale", "frameloop", "realloc-large", "contention"]


def check_json(checks, ration):
    status, out, err = ration("sim", "--json", "gen:lesson", "gen:binary2")
    checks.that(status == 0, f"--json: {status} {err}")
    traces = json.loads(out)["traces"]
    checks.that([t["trace"] for t in traces] == ["lesson", "binary2"], "one object a trace")
    results = traces[1]["strategies"]
    checks.that([r["strategy"] for r in results] == CONTRACT, "`all` is the contract's list, in order")
    for r in results:
        checks.that(r["outcome"] == "done" and r["failures"] == 0, f"{r['strategy']} serves binary2")
        checks.that(0 < r["utilisation"] <= 1 and 0 < r["utilisation_mean"] <= 1, f"{r['strategy']}: utilisation")
        checks.that(r["nanoseconds"]["per_operation"] > 0, f"{r['strategy']} is timed")
        checks.that(len(r["heap_over_time"]) >= 100, f"{r['strategy']}: heap over time")
        if r["strategy"] != "ration":
            checks.that({"internal_share", "external_share", "overhead_share", "largest_free_bytes", "steps"}
                        <= r.keys(), f"{r['strategy']} has all figures")
            shares = r["internal_share"] + r["external_share"] + r["overhead_share"]
            at = r["at_peak"]
            checks.that(abs(shares + at["payload_bytes"] / at["heap_bytes"] - 1) < 1e-4,
                        f"{r['strategy']}: payload and waste are the heap")


def check_csv(checks, ration, folder):
    path = folder / 'a, "strange" name.rep'
    path.write_text("20000\n1\n2\n1\na 0 100\nf 0\n")
    status, out, err = ration("sim", "--csv", "--no-times", path, "gen:short")
    checks.that(status == 0, f"--csv: {status} {err}")
    rows = list(csv.DictReader(io.StringIO(out)))
    checks.that(len(rows) == 2 * len(CONTRACT), f"a row a trace and strategy: {len(rows)}")
    checks.that(rows[0]["trace"] == str(path), f"a name with quotes and commas survives: {rows[0]['trace']}")
    checks.that(all(None not in row and None not in row.values() for row in rows), "as many fields as columns")
    best = next(r for r in rows if r["strategy"] == "best-fit" and r["trace"] == "short")
    checks.that(abs(float(best["utilisation"]) - int(best["peak_payload_bytes"]) / int(best["peak_heap_bytes"]))
                < 1e-5, "utilisation is payload over heap")


def check_svg(checks, ration, folder):
    path, trace = folder / "chart.svg", folder / "a <b> & c.rep"
    trace.write_text("20000\n1\n2\n1\na 0 100\nf 0\n")
    status, _, err = ration("sim", "--no-times", "--strategy=first-fit,slab", "--svg", path, trace, "gen:random")
    checks.that(status == 0, f"--svg: {status} {err}")
    root = xml.parse(path).getroot()
    checks.that(root.tag.endswith("svg"), "the root is <svg>")
    texts = [t.text or "" for t in root.iter() if t.tag.endswith("text")]
    checks.that(any("a <b> & c.rep" in t for t in texts), f"the trace's name is escaped: {texts[:3]}")
    checks.that(any("first-fit" in t for t in texts) and any("slab" in t for t in texts), "lines are named")
    checks.that(sum(1 for e in root.iter() if e.tag.endswith("path")) >= 4, "a line a strategy and chart")
    checks.that("http://" not in re.sub(r'xmlns\w*="[^"]*"', "", path.read_text()), "the chart is self-contained")


def check_generate(checks, ration, folder):
    status, out, _ = ration("sim", "--generate=list")
    names = [line.split()[0] for line in out.splitlines()]
    checks.that(status == 0 and set(PATTERNS) <= set(names), f"patterns missing: {set(PATTERNS) - set(names)}")
    for name in names:
        status, out, _ = ration("sim", "--generate", name)
        lines = out.splitlines()
        header, operations = [int(x) for x in lines[:4]], [x for x in lines[4:] if x[0] not in "t@"]
        checks.that(status == 0 and header[2] == len(operations), f"{name}: the header counts its operations")
    status, out, _ = ration("sim", "--generate", "seglist", "--seed=9")
    path = folder / "seglist.rep"
    path.write_text(out)
    one = ration("sim", "--json", "--no-times", "--strategy=tlsf", path)[1]
    two = ration("sim", "--json", "--no-times", "--strategy=tlsf", "--seed=9", "gen:seglist")[1]
    figures = [json.loads(text)["traces"][0]["strategies"][0] for text in (one, two)]
    checks.that(figures[0] == figures[1], "a written pattern and gen:NAME are the same")
    checks.that(ration("sim", "--strategy=slab", "--no-times", "-", text=out)[0] == 0, "`-` is standard input")


def check_table(checks, ration):
    status, out, _ = ration("sim", "gen:binary")
    checks.that(status == 0, "the table")
    for name in CONTRACT:
        checks.that(re.search(rf"^{name} +\d", out, re.M), f"the table has a row {name}")
    status, out, _ = ration("sim", "--table=course", "gen:aging")
    rows = [line for line in out.splitlines() if re.match(r"\| (naive|buckets|buddy)", line)]
    checks.that(status == 0 and len(rows) == 3, f"three strategies: {out}")
    cells = [cell for cell in out.splitlines() if cell.startswith("|")]
    checks.that(all(line.count("|") == 5 for line in cells), "three columns beside the names")
    checks.that(len(re.findall(r"\d+(?:\.\d)? steps", out)) == 6, "steps of allocation and release")
    nanoseconds = [int(n) for n in re.findall(r"(\d+) ns", out)]
    checks.that(len(nanoseconds) == 6 and all(n > 0 for n in nanoseconds), f"measured times: {nanoseconds}")


def check_step(checks, ration):
    status, out, _ = ration("sim", "--coalesce=none", "--strategy=first-fit", "--no-times", "gen:short")
    checks.that(status == 0 and "skipped" not in out, f"none is another word for never\n{out}")
    status, _, err = ration("sim", "--coalesce=sometimes", "gen:short")
    checks.that(status == 2 and "'sometimes'" in err, f"an unknown coalescing is wrong usage\n{err}")
    status, out, _ = ration("sim", "--all", "--no-times", "gen:short")
    checks.that(status == 0 and "slab" in out and "implicit" in out, f"--all\n{out}")
    status, out, _ = ration("sim", "--strategy=buckets-range", "--heap=8", "--step", "gen:range5")
    checks.that(status == 0 and "split    @0       8 bytes into 5 and 3 @5" in out and
                "link     @5       3 bytes into 1 to 4 at the front" in out and "merge    @0       with @5: 8 bytes" in out,
                f"5 from 8 leave 3 for the list of 1 to 4\n{out}")
    status, out, _ = ration("sim", "--strategy=naive", "--heap=100", "--step", "gen:course9")
    checks.that(status == 0, "--step")
    checks.that("FAIL 20 (free 48 in 3 pieces, largest 16)" in out, "the exercise fails as the course says")
    for word in ("request", "look", "unlink", "split", "link", "take", "release"):
        checks.that(re.search(rf"^    {word} ", out, re.M), f"--step shows `{word}`")
    status, out, _ = ration("sim", "--strategy=buddy", "--step", "--min=64", "--heap=512", "gen:buddy32")
    splits = [int(n) for n in re.findall(r"^    split +@0 +(\d+) bytes", out, re.M)]
    merges = [int(n) for n in re.findall(r"^    merge .*: (\d+) bytes", out, re.M)]
    checks.that(status == 0 and splits == [512, 256, 128], f"buddy halves all the way down: {splits}")
    checks.that(sorted(merges) == [128, 256, 512], f"and merges back: {merges}")
    checks.that("\x1b[" not in out, "no colour codes in a pipe")


def check_choices(checks, ration):
    def peak(*arguments):
        out = ration("sim", "--json", "--no-times", *arguments)[1]
        return json.loads(out)["traces"][0]["strategies"][0]["peak_heap_bytes"]
    merged = peak("--strategy=first-fit", "gen:coalescing")
    apart = peak("--strategy=first-fit", "--coalesce=never", "gen:coalescing")
    checks.that(apart > 1.9 * merged, f"without merging the heap doubles: {merged} {apart}")
    whole = peak("--strategy=first-fit", "--no-split", "gen:aging")
    checks.that(whole > 1.2 * peak("--strategy=first-fit", "gen:aging"), "without splitting it grows")


DAMAGED = [
    ("20000\n2\n3\n1\na 0 10\na 1 20\nx 3\n", ":7: expected an operation", "2 operations, at most 2 blocks live, peak payload 30"),
    ("20000\n1\n2\n1\na 0 10\na 5 10\n", ":6: expected an id from 0 to 0", "1 operations"),
    ("20000\n1\n2\n1\na 0 10\nf 0\nf 0\n", ":7: expected a free of an id that is live", "2 operations"),
    ("", ":1: expected four integers", "0 operations"),
    ("not a trace\n", ":1: expected four integers", "0 operations"),
]


def check_damage(checks, ration, folder):
    path = folder / "damaged.rep"
    for text, place, read in DAMAGED:
        path.write_text(text)
        status, out, err = ration("sim", path)
        checks.that(status == 3, f"damage is status 3, not {status}: {text!r}")
        checks.that(f"{path}{place}" in err, f"{err!r} names the file, the line and {place!r}")
        checks.that(read in err, f"{err!r} tells what was read: {read!r}")
        checks.that(out == "", "and no result is printed")
    path.write_bytes(bytes(range(256)) * 40)
    checks.that(ration("sim", path)[0] == 3, "a binary file is damaged input")


def check_usage(checks, ration, folder):
    cases = [((), "no trace given"), (("--strategy=magic", "gen:short"), "no strategy 'magic'"),
             (("gen:magic",), "no generator 'magic'"), (("--generate=magic",), "no generator 'magic'"),
             (("--heap=lots", "gen:short"), "--heap expects bytes"), (("--align=3", "gen:short"), "--align expects"),
             (("--table=x", "gen:short"), "--table knows"), (("--seconds=-1", "gen:short"), "--seconds expects"),
             ((folder / "missing.rep",), "cannot be read"), (("--no-such-option",), "unrecognized option"),
             (("--svg=/nonexistent/x.svg", "--no-times", "gen:short"), "cannot be written")]
    for arguments, words in cases:
        status, _, err = ration("sim", *arguments)
        checks.that(status == 2 and words in err, f"{arguments}: status {status}, {err!r}")
    for option, words in (("--order=sideways", "one of lifo|address|size|implicit"), ("--fit=", "one of first|next|best|worst"),
                          ("--fit=first|next", "one of first|next|best|worst"), ("--seconds=1e9", "up to 86400")):
        status, out, err = ration("sim", "--strategy=first-fit", option, "gen:short")
        checks.that(status == 2 and words in err and out == "", f"{option}: {status} {err!r}")
    status, out, _ = ration("sim", "--no-times", "--strategy=zones", "--fit=next", "gen:short")
    checks.that(status == 1 and "zones search by first or best fit" in out,
                f"a choice that a named strategy cannot have is a finding: {status} {out}")
    status, _, _ = ration("sim", "--strategy=ration", "--library=/nonexistent.so", "gen:short")
    checks.that(status == 1, f"a library that is not there is a finding: {status}")


def check_front_door(checks, ration):
    for name in ("sim", "trace", "demo"):
        for arguments in ((name, "--help"), ("help", name)):
            status, out, _ = ration(*arguments)
            checks.that(status == 0 and "Exit status" in out and f"ration {name}" in out, f"{arguments}: {status}")
        status, out, _ = ration("--help")
        checks.that(status == 0 and f"  {name} " in out, f"--help lists {name}")
    checks.that(ration()[0] == 2, "no command is wrong usage")
    status, _, err = ration("dance")
    checks.that(status == 2 and "no command 'dance'" in err and "sim" in err, f"an unknown command: {err}")
    checks.that(re.fullmatch(r"ration \d+\.\d+\.\d+\n", ration("--version")[1]), "--version")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("sim"), Ration(arguments.ration)
    with tempfile.TemporaryDirectory(prefix="ration-sim-") as name:
        folder = pathlib.Path(name)
        for check in (check_json, check_table, check_step, check_choices, check_front_door):
            check(checks, ration)
        for check in (check_csv, check_svg, check_generate, check_damage, check_usage):
            check(checks, ration, folder)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
