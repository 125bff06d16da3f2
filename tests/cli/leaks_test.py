#!/usr/bin/env python3
"""`ration leaks`: what a program lost is told to the block, what it keeps is not, and programs that lose
nothing are not accused.

usage: leaks_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import json
import shutil
import sys

from testing import Checks, Ration, parse_arguments

KEPT = 100 + 1 + 1 + 1 + 50 + 1  # blocks of programs/loses.c that something points to


def search(ration, program, *arguments):
    status, out, err = ration("leaks", "--json", "--", program, *arguments)
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


def check_environment(checks, ration, programs):
    status, _, err = ration("run", programs / "cli_loses", "10", "1000", environment={"RATION": "leaks=1"})
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
    check_limits(checks, ration, arguments.programs)
    check_environment(checks, ration, arguments.programs)
    check_innocent(checks, ration)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
