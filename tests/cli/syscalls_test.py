#!/usr/bin/env python3
"""`ration syscalls`: what the library counts, against what a tracer sees, and reasons that a program provokes.

usage: syscalls_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import json
import subprocess
import sys

from testing import Checks, Ration, parse_arguments

STILL = {"RATION": "purge_delay=-1"}    # no helper whose passes depend on the time
TIMELESS = {"RATION": "purge_delay=-1,huge_pages=never"}  # nor huge pages, which depend on what they cost


def total(calls):
    return sum(c["calls"] for c in calls.values())


def check_reasons(checks, ration, programs):
    status, out, err = ration("syscalls", "--json", "--", programs / "cli_grows", environment=STILL)
    checks.that(status == 0 and "done" in err, f"--json: {status} {err}")
    calls = json.loads(out)["system_calls"]
    checks.that(calls["open"]["calls"] == 1 and calls["open"]["bytes"] == 1 << 20, f"the window: {calls['open']}")
    checks.that(calls["slabs"]["bytes"] >= 3 << 20, f"for 4 MB of small blocks: {calls['slabs']}")
    checks.that(calls["large"]["bytes"] >= 24 << 20, f"for the large block: {calls['large']}")
    checks.that(calls["move"]["calls"] == 1 and calls["move"]["bytes"] == 24 << 20, f"it moved once: {calls['move']}")
    checks.that(calls["slots"]["bytes"] >= 2 << 20, f"pages between live blocks: {calls['slots']}")
    checks.that(calls["unmap"]["bytes"] >= 24 << 20, f"the long free runs: {calls['unmap']}")
    checks.that(calls["void"]["calls"] >= 1, f"the void comes back: {calls['void']}")
    checks.that(all(c["refused"] == 0 for c in calls.values()), "nothing was refused")
    checks.that(all(c["nanoseconds"] > 0 for c in calls.values() if c["calls"]), "each took time")


def check_against_tracer(checks, ration, program):
    """The library's own counts are those that somebody else sees coming from its code."""
    status, out, err = ration("syscalls", "--json", "--compare", "--", program, environment=TIMELESS)
    if status == 2 and "cannot be watched" in err:
        print("ptrace is not allowed here: not compared")
        return
    checks.that(status == 0, f"--compare: {status} {err}")
    report = json.loads(out)
    own = {k: v for k, v in report["system_calls"].items() if k != "look"}
    seen = report["watched_libration"]["libration"]
    checks.that(total(own) == total(seen), f"counted {total(own)}, seen {total(seen)}")
    moved = own["move"]
    checks.that(seen["mremap"] == {"calls": moved["calls"], "bytes": moved["bytes"]}, f"mremap: {seen['mremap']}")
    system = report["watched_system"]
    checks.that(total(system["libration"]) == 0 and total(system["C library"]) > 0, "the other side is the C library")
    status, out, _ = ration("syscalls", "--compare", "--", program, environment=TIMELESS)
    checks.that(status == 0 and "under the system's malloc" in out and "\033" not in out, "as text")


def check_ends(checks, ration, programs):
    status, out, err = ration("syscalls", "--", programs / "cli_grows", "killed")
    checks.that(status == 1 and "ended by signal 9" in err and "large blocks grow by moving" in out,
                f"nothing is lost when it is killed: {status} {err}")
    status, out, err = ration("syscalls", "--", "sh", "-c", "exit 3")
    checks.that(status == 1 and "ended with status 3" in err and "the window is opened" in out, f"status 3: {err}")
    status, out, _ = ration("syscalls", "--json", "--", "sh", "-c", f"{programs / 'cli_plain'}; {programs / 'cli_plain'}")
    checks.that(json.loads(out)["programs"] == 3, "programs that it starts are counted")
    for arguments, words in ((("--", programs / "cli_static"), "is linked statically"), ((), "no program given"),
                             (("--", "/no/such"), "cannot be run")):
        status, out, err = ration("syscalls", *arguments)
        checks.that(status == 2 and words in err and out == "", f"{arguments}: {status} {err!r}")


def check_stats(checks, ration, programs):
    with subprocess.Popen([ration.path, "run", "--", programs / "cli_waits"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        checks.that(process.stdout.readline() == "ready\n", "the program runs")
        calls = json.loads(ration("stats", "--json", process.pid)[1])["system_calls"]
        checks.that(calls["open"]["calls"] == 1 and calls["large"]["calls"] >= 1, f"the ledger has them: {calls}")
        text = ration("stats", process.pid)[1]
        checks.that("memory system calls by reason" in text and "fresh pages for large blocks" in text, text)
        metrics = ration("stats", "--openmetrics", process.pid)[1]
        checks.that('ration_system_calls_total{reason="open"} 1\n' in metrics, "as OpenMetrics")
        process.stdin.close()


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("syscalls"), Ration(arguments.ration)
    check_reasons(checks, ration, arguments.programs)
    check_against_tracer(checks, ration, arguments.programs / "cli_grows")
    check_ends(checks, ration, arguments.programs)
    check_stats(checks, ration, arguments.programs)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
