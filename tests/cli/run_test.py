#!/usr/bin/env python3
"""`ration run`: options reach the library, the program keeps its arguments and status, what cannot be
preloaded is refused with the reason.

usage: run_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import os
import re
import sys
import tempfile

from testing import Checks, Ration, parse_arguments


def check_options(checks, ration, programs):
    status, out, err = ration("run", "--", programs / "cli_plain", "--json", "b", "-c")
    checks.that((status, out, err) == (3, "", ""), f"arguments and status are the program's: {status} {err}")
    status, out, err = ration("run", "--stats", programs / "cli_plain")
    checks.that(status == 0 and err.startswith("ration[") and " (cli_plain) at its end\nration: the heap, in bytes" in err,
                f"--stats: {err}")
    status, _, err = ration("run", "--stats", "--", "ls", "/")
    checks.that(status == 0 and " (ls) at its end\n" in err, f"--stats of a program that closes stderr: {err}")
    status, _, err = ration("run", programs / "cli_fails")
    checks.that(status == -6 and err.startswith("ration: double free at 0x"), f"abort by default: {status} {err}")
    status, _, err = ration("run", "--on-error=report", programs / "cli_fails")
    checks.that(status == 0 and err.startswith("ration: double free at 0x"), f"--on-error=report: {status} {err}")
    status, _, err = ration("run", "--on-error=abort", programs / "cli_fails",
                            environment={"RATION": "on_error=ignore"})
    checks.that(status == -6, f"options win over RATION: {status}")
    for level in ("off", "fast", "full"):
        status, _, err = ration("run", f"--harden={level}", "--purge-delay=-1", "--", "sh", "-c", "exit 7")
        checks.that((status, err) == (7, ""), f"--harden={level}: {status} {err}")


def check_stacks(checks, ration, programs):
    """Who allocated, freed and freed again, by function and line; the program ends as ever."""
    status, _, err = ration("run", "--stacks=8", programs / "cli_fails")
    checks.that(status == -6 and err.startswith("ration: double free at 0x"), f"--stacks: {status} {err}")
    places = re.findall(r"\n  (allocated|first freed|freed again) by thread \d+, ([\d.]+ s ago|now)(?:, \d+ bytes)?, from"
                        r"\n    #0 \w+ at .*fails\.c:(\d+)\n", err)
    checks.that([place[0] for place in places] == ["allocated", "first freed", "freed again"], f"three stacks: {err}")
    checks.that(places == sorted(places, key=lambda place: int(place[2])), f"in the order of the source: {places}")
    status, _, err = ration("run", "--stacks=8", "--", "sh", "-c", f"{programs / 'cli_fails'}; echo after >&2; exit 5")
    checks.that(status == 5 and err.index("freed again") < err.index("after"), f"printed before what follows: {err}")
    status, _, err = ration("run", "--stacks=0", programs / "cli_fails")
    checks.that(status == -6 and "allocated by" not in err, f"--stacks=0: {err}")


def check_log(checks, ration, programs):
    """A line a call; however the program ends, none is lost."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "calls.txt")
        for end, ending in (("exit", 0), ("abort", -6), ("kill", -9)):
            status, out, err = ration("run", "--log=malloc,free,realloc", f"--log-file={path}", "--stacks=4",
                                      programs / "cli_killed", end)
            with open(path, encoding="utf-8") as file:
                lines = file.read().split("\n")
            calls = [re.fullmatch(r"\[\d+\] (\w+)\((.*?)\)(?: = (0x\w+))? from (\S+)\+0x\w+", line) for line in lines[:-1]]
            checks.that(status == ending and lines[-1] == "" and all(calls), f"{end}: {status} {lines[:3]} {err}")
            own = [call.groups() for call in calls if call and call.group(4) == str(programs / "cli_killed")]
            sizes = [int(arguments) for name, arguments, *_ in own if name == "malloc"]
            checks.that(sizes == list(range(1001, 2001)), f"{end}: every malloc, in order: {len(sizes)}")
            given = [address for name, _, address, _ in own if name == "malloc"]
            freed = [arguments for name, arguments, *_ in own if name == "free"]
            checks.that(freed == given[::2], f"{end}: every free, in order: {len(freed)}")
            checks.that([call[1] for call in own if call[0] == "realloc"] == [given[1] + ", 100000"], f"{end}: realloc")
    status, _, err = ration("run", "--log=free", programs / "cli_fails")
    before = err.split("ration: double free")[0]
    checks.that(status == -6 and re.search(r"^\[\d+\] free\(0x\w+\)$", before, re.M), f"to stderr by default: {err}")
    checks.that("malloc(" not in err, f"only what was chosen: {err}")


def check_refusals(checks, ration, programs):
    cases = (
        (("run",), "no program given"),
        (("run", "--harden=hard", "ls"), "--harden cannot be 'hard', expected off, fast or full"),
        (("run", "--on-error=panic", "ls"), "expected abort, report or ignore"),
        (("run", "--purge-delay=soon", "ls"), "expected milliseconds from -1 to 3600000"),
        (("run", "--stacks=65", "ls"), "--stacks cannot be '65', expected a number from 0 to 64"),
        (("run", "--log=malloc,new", "ls"), "expected some of malloc,calloc,realloc,aligned,free, or all"),
        (("run", "--log=free", "--log-file=/no/such/file", "ls"), "/no/such/file cannot be written"),
        (("run", "/nonexistent/program"), "cannot be run: No such file"),
        (("run", "/etc/passwd"), "cannot be run: Permission denied"),
        (("run", programs / "cli_static"), "is linked statically"),
        (("run", programs / "cli_own_malloc"), "exports a malloc of its own"),
        (("run", "--nonsense"), "unrecognized option"),
    )
    for arguments, words in cases:
        status, out, err = ration(*arguments)
        checks.that(status == 2 and words in err and out == "", f"{arguments}: {status} {err!r}")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("run"), Ration(arguments.ration)
    check_options(checks, ration, arguments.programs)
    check_stacks(checks, ration, arguments.programs)
    check_log(checks, ration, arguments.programs)
    check_refusals(checks, ration, arguments.programs)
    for command in ("run", "compare", "doctor", "stats", "classes", "explain"):
        status, out, _ = ration(command, "--help")
        checks.that(status == 0 and out.startswith(f"Usage: ration {command}"), f"{command} --help")
        checks.that(ration("help", command)[1] == out, f"help {command}")
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
