#!/usr/bin/env python3
"""`ration leaks`: what a program lost is told to the block, what it keeps is not, and programs that lose
nothing are not accused.

usage: leaks_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import json
import os
import shutil
import sys
import tempfile

from testing import Checks, Ration, parse_arguments

KEPT = 100 + 1 + 1 + 1 + 50 + 1  # blocks of programs/loses.c that something points to


def search(ration, *arguments):
    status, out, err = ration("leaks", "--json", *arguments)
    return status, json.loads(out) if out else {}, err


def check_known(checks, ration, program):
    status, found, err = search(ration, program)
    checks.that(status == 0 and found["lost_blocks"] == 0, f"nothing lost: {status} {found} {err}")
    # what the C library keeps for itself comes on top
    checks.that(KEPT <= found["reachable_blocks"] <= KEPT + 12, f"what is kept is found: {found}")
    for blocks, size, slot in ((100, 112, 112), (500, 24, 32), (20, 50000, 0)):
        status, found, err = search(ration, program, blocks, size)
        sizes = {s["slot_bytes"]: s["blocks"] for s in found["sizes"]}
        # the last one may still lie in a register or on the stack
        checks.that(status == 1 and blocks - 1 <= sizes.get(slot, 0) <= blocks and len(sizes) == 1,
                    f"{blocks} of {size} bytes: {status} {found} {err}")
        checks.that(found["lost_blocks"] == sizes[slot] and KEPT <= found["reachable_blocks"], f"and no other: {found}")
    status, found, _ = search(ration, program, 0, 1, "ring")
    checks.that(found["lost_blocks"] == 2 and found["sizes"][0]["slot_bytes"] == 208, f"a ring is lost: {found}")
    status, found, _ = search(ration, program, 100, 112, "ring", "fork")
    checks.that(found["processes"] == 2 and 198 <= found["lost_blocks"] <= 204, f"two processes: {found}")


def check_limits(checks, ration, programs):
    status, out, _ = ration("leaks", "--fail-over=100k", programs / "cli_loses", "100", "112")
    checks.that(status == 0 and "bytes are lost in 1 process" in out, f"--fail-over: {status} {out}")
    status, out, err = ration("leaks", programs / "cli_plain", "x")
    checks.that(status == 1 and "ended with status 1" in err and out.startswith("0 blocks"), f"its status: {err}")
    status, _, err = ration("leaks", "--", "sh", "-c", "kill -9 $$")
    checks.that(status == 1 and "told nothing" in err and "signal 9" in err, f"killed: {err}")
    for arguments, words in (((), "no program given"), (("--fail-over=much", "ls"), "expected bytes"),
                             ((programs / "cli_static",), "linked statically"), (("/no/such",), "cannot be run")):
        status, out, err = ration("leaks", *arguments)
        checks.that(status == 2 and words in err and out == "", f"{arguments}: {status} {err!r}")


def functions(site):
    return [caller.get("function") for caller in site["callers"]]


def check_sites(checks, ration, program):
    """Where it was allocated, by each tool that names functions; requested bytes, not those of slots."""
    status, found, err = search(ration, program, 100, 100, "ring")
    lost = [site for site in found["sites"] if site["kind"] == "lost"]
    below = [site for site in found["sites"] if site["kind"] == "below"]
    checks.that([functions(site)[0] for site in lost] == ["lose", "lose_ring"], f"sites, most bytes first: {lost} {err}")
    checks.that([functions(site)[0] for site in below] == ["lose_ring"], f"one of a ring leads to the other: {below}")
    checks.that(9900 <= lost[0]["bytes"] <= 10000 and lost[0]["callers"][0]["file"].endswith("loses.c")
                and lost[0]["callers"][0]["line"] > 0, f"bytes, file and line: {lost[0]}")
    for tool in ("llvm-symbolizer", "addr2line", "eu-addr2line"):
        path = shutil.which(tool)
        if path is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(path, os.path.join(folder, tool))
            status, out, err = ration("leaks", program, "10", "1000", environment={"PATH": folder})
            checks.that(status == 1 and "\n    #0 lose at " in out and "loses.c:" in out, f"{tool}: {out} {err}")
    with tempfile.TemporaryDirectory() as folder:
        status, out, err = ration("leaks", program, "10", "1000", environment={"PATH": folder})
        checks.that("\n    #0 %s+0x" % program in out and "install binutils (addr2line)" in out, f"no tool: {out}")
    status, out, _ = ration("leaks", "--stacks=0", program, "10", "1000")
    checks.that(status == 1 and " blocks of 1024 bytes\n" in out and "#0" not in out, f"--stacks=0: {out}")
    status, out, _ = ration("leaks", "--reachable", program, "0", "1")
    checks.that(status == 0 and " still reachable, from\n    #0 " in out, f"--reachable: {out}")


def check_suppressions(checks, ration, program):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "known.txt")

        def run(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return search(ration, f"--suppressions={path}", "--", program, "100", "100", "ring")

        for text in ("leak:lose", "# all\n\nleak:loses.c\n", "leak:cli_lo*s$", "leak:^lose$\nleak:^lose_*g\n"):
            status, found, err = run(text)
            checks.that(status == 0 and found["lost_blocks"] == 0 and found["suppressed_blocks"] >= 101,
                        f"{text!r}: {status} {found.get('lost_blocks')} {err}")
        status, found, err = run("leak:^lose$\nleak:nothing\n")
        checks.that(status == 1 and found["lost_blocks"] == 2, f"the ring is not suppressed: {found['lost_blocks']} {err}")
        status, found, err = run("race:something\n")
        checks.that(status == 3 and "known.txt:1: expected leak:PATTERN" in err, f"damaged: {status} {err}")
        status, _, err = ration("leaks", "--suppressions=/no/such", "ls")
        checks.that(status == 2 and "/no/such cannot be read" in err, f"no file: {status} {err}")


def check_environment(checks, ration, programs):
    status, _, err = ration("run", programs / "cli_loses", "10", "1000", environment={"RATION": "leaks=1"})
    checks.that(status == 0 and " blocks lost, from\n      #0 %s+0x" % (programs / "cli_loses") in err, f"leaks=1: {err}")
    status, _, err = ration("run", programs / "cli_loses", "10", "1000", environment={"RATION": "leaks=1,stacks=0"})
    checks.that(status == 0 and "  lost: " in err and " lost of 1024 bytes\n" in err, f"RATION=leaks=1: {err}")


def check_innocent(checks, ration):
    """Valgrind's memcheck calls nothing lost for these either (docs/INSPECT.md has the table)."""
    for program in (("bash", "-c", "x=1; true"), ("sqlite3", ":memory:", "select 1"), ("ls", "/")):
        if shutil.which(program[0]):
            status, found, err = search(ration, *program)
            checks.that(status == 0 and found["lost_blocks"] == 0, f"{program}: {found} {err}")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("leaks"), Ration(arguments.ration)
    for _ in range(3):  # the window lies elsewhere each time
        check_known(checks, ration, arguments.programs / "cli_loses")
    check_sites(checks, ration, arguments.programs / "cli_loses")
    check_suppressions(checks, ration, arguments.programs / "cli_loses")
    check_limits(checks, ration, arguments.programs)
    check_environment(checks, ration, arguments.programs)
    check_innocent(checks, ration)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
