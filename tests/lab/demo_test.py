#!/usr/bin/env python3
"""`ration demo`: every scenario comes to its end and shows what it is there to show.

usage: demo_test.py --ration FILE [--programs DIR]        exit 0 fine, 1 a check failed

Times are not judged here, they depend on the machine; that every figure is measured is.
"""
import json
import sys

from testing import Checks, Ration, parse_arguments

SCENARIOS = ["wholesale", "swiss", "two-megs", "bucket-starvation", "course9", "realloc", "contention",
             "frameloop", "aging", "double-free"]


class Scenario:
    def __init__(self, data):
        self.columns = {column["name"]: column for column in data["columns"]}

    def value(self, column, name):
        found = [f["value"] for f in self.columns[column]["figures"] if f["name"] == name]
        return found[0] if found else None


def check_all(checks, scenarios):
    checks.that(list(scenarios) == SCENARIOS, f"`all` plays every scenario: {list(scenarios)}")
    for name, scenario in scenarios.items():
        for column in ("libration", "system"):
            data = scenario.columns.get(column, {"figures": [], "signal": 0})
            checks.that(data["figures"] or name == "double-free", f"{name}: {column} has figures")
            checks.that(data["signal"] == 0 or name == "double-free", f"{name}: {column} ends well")
        ours = {f["name"] for f in scenario.columns["libration"]["figures"] if not f["name"].startswith("calls of")}
        theirs = {f["name"] for f in scenario.columns["system"]["figures"] if not f["name"].startswith("calls of")}
        checks.that(ours ^ theirs <= {"payload / heap"}, f"{name}: the same rows on both sides: {ours ^ theirs}")


def check_memory(checks, scenarios):
    wholesale, swiss, aging = (scenarios[n] for n in ("wholesale", "swiss", "aging"))
    for column in ("libration", "system"):
        calls = wholesale.value(column, "memory system calls")
        uncounted = "could not be counted" in wholesale.columns[column]["notes"]
        checks.that(uncounted or calls is not None and 0 < calls < 1000,
                    f"wholesale: {column} asks the system rarely: {calls}")
        full = swiss.value(column, "resident, all live")
        checks.that(90e6 < full < 130e6, f"swiss: {column} holds 100 MB: {full}")
        checks.that(swiss.value(column, "resident after malloc_trim(0)") < 0.6 * full,
                    f"swiss: {column} gives empty pages back at last")
        checks.that(1 < aging.value(column, "resident per live byte after 24 h") < 5, f"aging: {column}")
    checks.that(swiss.value("libration", "resident 2 seconds later") < 0.5 * swiss.value("libration", "resident, all live"),
                "swiss: libration gives empty pages back by itself")


def check_lists(checks, scenarios):
    two, starved, course = (scenarios[n] for n in ("two-megs", "bucket-starvation", "course9"))
    for strategy in ("first-fit", "best-fit", "tlsf"):
        checks.that(two.value(strategy, "requests not served") == 1, f"two-megs: {strategy} fails in a fixed heap")
    for column in ("libration", "system"):
        checks.that(two.value(column, "requests not served") == 0, f"two-megs: {column} serves it")
        checks.that(course.value(column, "requests not served") == 0, f"course9: {column} serves it")
    checks.that(starved.value("buckets", "payload / heap") < 60 < 85 < starved.value("slab", "payload / heap"),
                "bucket-starvation: buckets starve, slabs do not")
    checks.that(course.value("naive", "requests not served") == 1 and
                "FAIL 20 (free 48 in 3 pieces, largest 16)" in course.columns["naive"]["notes"], "course9 fails as told")


def check_speed(checks, scenarios):
    realloc, contention, frames = (scenarios[n] for n in ("realloc", "contention", "frameloop"))
    for column in ("libration", "system"):
        for label in ("alone", "a block behind"):
            checks.that(realloc.value(column, f"contents kept, {label}") == 1, f"realloc: {column} keeps contents")
            faults = realloc.value(column, f"page faults of that, {label}")
            checks.that(faults < 4096, f"realloc: {column} does not copy page by page: {faults}")
    for column in ("one lock", "libration", "system"):
        for threads in ("1 thread", "2 threads", "4 threads", "8 threads"):
            checks.that(contention.value(column, threads) > 0, f"contention: {column}, {threads}")
    for column in ("arena", "libration", "system"):
        half, longest = (frames.value(column, n) for n in ("frame, half of them at most", "the longest frame"))
        checks.that(0 < half <= longest, f"frameloop: {column}")
    notes = frames.columns["arena"]["notes"]
    checks.that("forbidden allocation" in notes and "48 bytes" in notes and "speed.c:" in notes,
                f"frameloop: the guard names size and place: {notes}")


def check_double_free(checks, scenarios):
    ours = scenarios["double-free"].columns["libration"]
    checks.that(ours["signal"] == 6 and ours["errors"].startswith("ration: double free at 0x"),
                f"double-free: libration reports and aborts: {ours['errors']}")


def check_usage(checks, ration):
    status, out, _ = ration("demo", "--list")
    checks.that(status == 0 and [line.split()[0] for line in out.splitlines()] == SCENARIOS, "--list")
    for arguments, words in (((), "no scenario given"), (("magic",), "no scenario 'magic'"),
                             (("swiss", "aging"), "one scenario at a time"),
                             (("course9", "--library=/nonexistent.so"), "no library at /nonexistent.so"),
                             (("course9", "--library=/etc/passwd"), "/etc/passwd cannot be opened")):
        status, _, err = ration("demo", *arguments)
        checks.that(status == 2 and words in err, f"{arguments}: {status} {err!r}")
    status, out, _ = ration("demo", "course9")
    checks.that(status == 0 and "libration" in out and "system" in out and "requests not served" in out,
                f"the table: {out}")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("demo"), Ration(arguments.ration)
    check_usage(checks, ration)
    status, out, err = ration("demo", "--json", "all", timeout=110)
    checks.that(status == 0, f"all scenarios: status {status} {err}")
    scenarios = {s["scenario"]: Scenario(s) for s in json.loads(out)["scenarios"]}
    check_all(checks, scenarios)
    for check in (check_memory, check_lists, check_speed, check_double_free):
        check(checks, scenarios)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
