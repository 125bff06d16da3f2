#!/usr/bin/env python3
"""`ration trace`: what programs did is what the trace says, up to their very end.

usage: record_test.py --ration FILE --programs DIR        exit 0 fine, 1 a check failed
"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile

from testing import Checks, Ration, parse_arguments, read_operations


def sizes(operations, kind):
    return [int(words[2]) for words in operations if words[0] == kind]


def check_known(checks, ration, programs, folder):
    out = folder / "known.rep"
    status, _, err = ration("trace", "-o", out, "--", programs / "recorded_known")
    checks.that(status == 0, f"a program that ends well: status {status}, {err}")
    operations = read_operations(out)
    checks.that(1001 in sizes(operations, "a"), "malloc is `a`")
    checks.that(["c", "1001"] in [[w[0], str(int(w[2]) * int(w[3]))] for w in operations if w[0] == "c"],
                f"calloc is `c` with the product: {operations}")
    checks.that(50001 in sizes(operations, "r"), "realloc is `r`")
    checks.that(1003 in sizes(operations, "a") + sizes(operations, "r"), "realloc(NULL) allocates")
    aligned = {(int(w[2]), int(w[3])) for w in operations if w[0] == "m"}
    checks.that({(1004, 64), (8192, 4096), (1006, 256), (1007, 4096)} <= aligned,
                f"aligned requests keep their alignment: {aligned}")
    checks.that(["f", "-1"] in operations, "free(NULL) is `f -1`")
    checks.that("1 requests that failed" in err, f"the refused request is counted: {err}")
    first = next(w[1] for w in operations if w[0] == "a" and w[2] == "1001")
    story = [w[0] for w in operations if w[1] == first]
    checks.that(story == ["a", "r", "f"], f"one block keeps its id through realloc: {story}")


def check_classic(checks, ration, programs, folder):
    out = folder / "classic.rep"
    status, _, _ = ration("trace", "--classic", "-o", out, "--", programs / "recorded_known")
    kinds = {words[0] for words in read_operations(out)}
    checks.that(status == 0 and kinds <= {"a", "r", "f"}, f"--classic writes a, r and f only: {kinds}")


def check_times(checks, ration, programs, folder):
    out = folder / "times.rep"
    ration("trace", "--times", "-o", out, "--", programs / "recorded_known")
    times = [int(words[1]) for words in read_operations(out) if words[0] == "@"]
    checks.that(len(times) > 5 and times == sorted(times) and times[-1] < 60e9,
                f"--times writes times that go forward: {times[:5]}")


def check_threads(checks, ration, programs, folder):
    out = folder / "threads.rep"
    status, _, err = ration("trace", "-o", out, "--", programs / "recorded_threads")
    checks.that(status == 0 and "5 threads" in err, f"all threads are recorded: {err}")
    thread, allocated_by, foreign = 0, {}, 0
    counts = {}
    for words in read_operations(out):
        if words[0] == "t":
            thread = int(words[1])
        elif words[0] == "a" and 3000 <= int(words[2]) < 3004:
            allocated_by[words[1]] = thread
            counts[words[2]] = counts.get(words[2], 0) + 1
        elif words[0] == "f" and words[1] in allocated_by:
            foreign += allocated_by.pop(words[1]) != thread
    checks.that(counts == {str(3000 + i): 500 for i in range(4)}, f"500 blocks each: {counts}")
    checks.that(foreign == 2000 and not allocated_by, f"2000 frees by another thread: {foreign}")


def check_ends(checks, ration, programs, folder):
    cases = [("abort", 1, "signal 6"), ("segv", 1, "signal 11"), ("kill", 1, "signal 9"),
             ("quick", 1, "status 3"), ("return", 0, "")]
    for how, expected, words in cases:
        out = folder / f"{how}.rep"
        status, _, err = ration("trace", "-o", out, "--", programs / "recorded_crash", how)
        checks.that(status == expected and words in err, f"{how}: status {status}, {err}")
        operations = read_operations(out)
        checks.that(sizes(operations, "a").count(4000) == 1000, f"{how}: all blocks are there")
        checks.that(7777 in sizes(operations, "a")[-3:], f"{how}: so is the last one before the end")


def check_fork(checks, ration, programs, folder):
    out = folder / "fork.rep"
    ration("trace", "-o", out, "--", programs / "recorded_crash", "fork")
    operations = read_operations(out)
    checks.that(sizes(operations, "a").count(5555) == 0, "a child's blocks are not the parent's")
    checks.that(not list(folder.glob("fork.*.rep")), "children are recorded only when asked for")
    ration("trace", "--follow", "-o", folder / "all.rep", "--", programs / "recorded_crash", "fork")
    children = list(folder.glob("all.*.rep"))
    checks.that(len(children) == 1, f"--follow writes a file a child: {children}")
    if children:
        found = sizes(read_operations(children[0]), "a")
        checks.that(found.count(5555) == 50 and found.count(4000) == 0,
                    "the child's file holds the child's blocks only")


def raw_recordings(folder):
    return [p for p in folder.iterdir() if p.name.startswith(".ration-trace")]


def check_end_of_the_command(checks, ration, programs, folder):
    """It is asked to end, or killed: what the program did is written, or can be."""
    for number, out in ((signal.SIGTERM, folder / "asked.rep"), (signal.SIGKILL, folder / "killed.rep")):
        tracing = subprocess.Popen([ration.path, "trace", "-o", out, "--", programs / "recorded_known", "wait"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        tracing.stdout.readline()  # it has done what it does
        tracing.send_signal(number)
        tracing.wait(60)
        for line in tracing.stdout:
            pass  # until the program has ended, too
        if number == signal.SIGKILL:
            checks.that(len(raw_recordings(folder)) == 1, f"killed: its recording is there: {raw_recordings(folder)}")
            status, _, err = ration("trace", f"--convert={raw_recordings(folder)[0]}", "-o", out)
            checks.that(status == 0, f"--convert: {status} {err}")
        wanted = read_operations(folder / "known.rep")
        checks.that(read_operations(out)[:len(wanted)] == wanted, f"{out.name} has what the program did")
        checks.that(not raw_recordings(folder), f"{out.name}: nothing stays behind: {raw_recordings(folder)}")


def check_names(checks, ration, folder):
    strange = folder / "a[b*c"
    strange.mkdir()
    status, _, err = ration("trace", "-o", strange / "x.rep", "--", "true")
    checks.that(status == 0 and (strange / "x.rep").exists() and not raw_recordings(strange), f"{strange}: {status} {err}")
    status, out, err = ration("trace", "-o", "/dev/stdout", "--", "true")
    checks.that(status == 0 and out.split("\n")[0].isdigit(), f"/dev/stdout: {status} {out!r} {err}")
    for name in ("", folder):
        status, _, err = ration("trace", "-o", name, "--", "true")
        checks.that(status == 2 and "is not the name of a file" in err, f"'{name}': {status} {err}")
    for arguments in (("--convert=x",), ("--convert=x", "-o", folder / "y.rep", "--", "true")):
        status, _, err = ration("trace", *arguments)
        checks.that(status == 2 and "--convert takes" in err, f"{arguments}: {status} {err}")


def check_refusals(checks, ration, programs, folder):
    status, _, err = ration("trace", "-o", folder / "x.rep", "--", "/nonexistent/program")
    checks.that(status == 2 and "cannot be run" in err, f"a missing program: {status}, {err}")
    status, _, err = ration("trace")
    checks.that(status == 2 and "no program given" in err, f"no program: {status}, {err}")
    status, _, err = ration("trace", "-o", "/nonexistent/folder/x.rep", "--", "true")
    checks.that(status == 2 and "/nonexistent/folder" in err, f"an unwritable folder: {status}, {err}")
    status, _, err = ration("trace", "-o", folder / "x.rep", "--", programs / "recorded_static")
    checks.that(status == 2 and "static" in err, f"a static program cannot be recorded: {status}, {err}")
    checks.that(not raw_recordings(folder), f"no raw recording stays behind: {raw_recordings(folder)}")


def check_output_is_untouched(checks, ration, folder):
    status, out, _ = ration("trace", "-o", folder / "echo.rep", "--", "sh", "-c", "echo to stdout; exit 4")
    checks.that(out == "to stdout\n" and status == 1, f"the program's output is its own: {status} {out!r}")


def check_replay(checks, ration, folder):
    for name in ("known", "threads", "abort"):
        status, out, err = ration("sim", "--strategy=all,naive", "--no-times", "--json", folder / f"{name}.rep")
        checks.that(status == 0, f"{name}.rep replays: {status} {err}")
        if status != 0:
            continue
        results = json.loads(out)["traces"][0]["strategies"]
        wrong = [r["strategy"] for r in results if r["outcome"] != "done" or r["failures"] > 0]
        checks.that(len(results) == 14 and not wrong, f"{name}.rep under every strategy; not: {wrong}")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("record"), Ration(arguments.ration)
    with tempfile.TemporaryDirectory(prefix="ration-record-") as name:
        folder = pathlib.Path(name)
        for check in (check_known, check_classic, check_times, check_threads, check_ends, check_fork,
                      check_refusals, check_end_of_the_command):
            check(checks, ration, arguments.programs, folder)
        check_names(checks, ration, folder)
        check_output_is_untouched(checks, ration, folder)
        check_replay(checks, ration, folder)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
