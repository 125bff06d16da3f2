#!/usr/bin/env python3
"""The exercise's programs under libft_malloc.so: page reclaims with their score, and what they print.

usage: ft_malloc_test.py --build DIR --programs DIR      exit 0 fine, 1 a check failed

Reclaims are minor page faults; the median of several runs counts, without random addresses where the
system lets us switch them off, for where a library lies adds some by chance.
"""
import argparse
import ctypes
import os
import pathlib
import re
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from checks import Checks

TEST1_PAGES = 256
RUNS = 15
ADDR_NO_RANDOMIZE = 0x0040000
PERSONALITY = ctypes.CDLL(None).personality
# The exercise's best mark: test2 may take so many more than test0.
START_PAGES = 3
# What a small program may cost more of its own memory than under the system's malloc. Resident code, which programs
# share, is told but not judged: the kernel maps 64 KiB of a file around each touch, or from Linux 6.18 a whole large
# folio, wherever the borders fall, of the C library too. What we touch of ours is held by tests/golden/check-layout.
ANONYMOUS_KIB = 32


def environment(library, **more):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "RATION")}
    return {**env, "LD_PRELOAD": str(library), **more}


def reclaims(program, env):
    """Minor faults of the program alone, the median of several runs."""
    PERSONALITY(ADDR_NO_RANDOMIZE)
    counts = []
    for _ in range(RUNS):
        child = os.posix_spawn(program, [str(program)], env)    # no fork: its faults would count
        _, status, usage = os.wait4(child, 0)
        if status != 0:
            raise SystemExit(f"FAIL: {program} ended with status {status}")
        counts.append(usage.ru_minflt)
    return statistics.median_low(counts)


def score_of(pages):
    for least, score in ((1023, 1), (513, 2), (313, 3), (273, 4), (255, 5)):
        if pages >= least:
            return score
    return 0


def run(program, env, *arguments):
    return subprocess.run([program, *arguments], env=env, capture_output=True, text=True, timeout=60)


def check_reclaims(checks, programs, env):
    base, kept, freed = (reclaims(programs / f"inspect_test{i}", env) for i in range(3))
    print(f"page reclaims: test0 {base}, test1 {kept} (+{kept - base}), test2 {freed} (+{freed - base}); "
          f"score {score_of(kept - base)} of 5")
    checks.that(score_of(kept - base) == 5, f"test1 takes 255 to 272 pages: {kept - base}")
    checks.that(freed < kept and freed - base <= START_PAGES,
                f"test2 takes at most {START_PAGES} more than test0: {freed - base}")


def resident(program, env):
    """KiB of a small program by /proc: (all, anonymous), the smallest of some runs with random addresses."""
    PERSONALITY(0)
    figures = []
    for _ in range(40):
        done = run(program, env)
        found = dict(re.findall(r"^(Rss|Anonymous): +(\d+) kB$", done.stderr, re.M))
        figures.append((int(found["Rss"]), int(found["Anonymous"])))
    return min(rss for rss, _ in figures), min(anonymous for _, anonymous in figures)


def check_resident(checks, program, env):
    plain = {k: v for k, v in env.items() if k != "LD_PRELOAD"}
    (rss, anonymous), (plain_rss, plain_anonymous) = resident(program, env), resident(program, plain)
    print(f"a small program: {anonymous} KiB anonymous, {plain_anonymous} under the system's malloc; "
          f"{rss} and {plain_rss} resident")
    checks.that(anonymous <= plain_anonymous + ANONYMOUS_KIB, "its own memory")


def check_growth(checks, programs, env):
    for arguments in ((), ("behind",)):
        done = run(programs / "inspect_test3", env, *arguments)
        checks.that(done.returncode == 0 and done.stdout == "Bonjours\nBonjours\n",
                    f"test3 {arguments} prints twice: {done}")


def check_wrong_pointers(checks, programs, library):
    going_on = environment(library, RATION="on_error=report")
    done = run(programs / "inspect_test4", going_on)
    checks.that(done.returncode == 0 and done.stdout == "Bonjours\n", f"test4 goes on: {done}")
    checks.that(done.stderr.count("ration: ") >= 2, "test4: each wrong pointer is reported")
    done = run(programs / "inspect_test4", going_on, "zero")
    checks.that(done.returncode == 0, f"test4bis goes on: {done}")
    done = run(programs / "inspect_test4", environment(library))
    checks.that(done.returncode == -6, f"test4 is ended with a report by default: {done}")


ZONE = re.compile(r"(TINY|SMALL|LARGE) : 0x([0-9A-F]+)$")
BLOCK = re.compile(r"0x([1-9A-F][0-9A-F]*) - 0x([1-9A-F][0-9A-F]*) : ([0-9]+) bytes$")


def read_listing(checks, text):
    """[(zone, bytes)] of a listing whose form is checked line by line."""
    *lines, total = text.splitlines()
    zone, last, blocks = None, 0, []
    for line in lines:
        new_zone, block = ZONE.match(line), BLOCK.match(line)
        checks.that(new_zone or block, f"the line has the form: {line!r}")
        if new_zone:
            zone, start = new_zone.group(1), int(new_zone.group(2), 16)
            checks.that(start >= last, f"zones ascend: {line}")
        elif block:
            start, end, size = int(block.group(1), 16), int(block.group(2), 16), int(block.group(3))
            checks.that(start >= last and end - start == size, f"blocks ascend, END is exclusive: {line}")
            last = end
            blocks.append((zone, size))
    checks.that(total == f"Total : {sum(size for _, size in blocks)} bytes", f"the total: {total}")
    return blocks


def check_listing(checks, programs):
    env = {k: v for k, v in os.environ.items() if k != "RATION"}
    done = run(programs / "inspect_test5", env)
    blocks = read_listing(checks, done.stdout)
    for zone, size in (("SMALL", 1024), ("LARGE", 32 << 10), ("LARGE", 1 << 20), ("LARGE", 16 << 20),
                       ("LARGE", 128 << 20)):
        checks.that((zone, size) in blocks, f"test5 lists {size} bytes as {zone}")
    for zone, size in blocks:
        limits = {"TINY": (1, 128), "SMALL": (129, 1024), "LARGE": (1025, 1 << 40)}[zone]
        checks.that(limits[0] <= size <= limits[1], f"{size} bytes are {zone}")
    done = run(programs / "inspect_test5", {**env, "RATION": "harden=full"})
    # with its tail it lies in a slot of the next zone
    checks.that(("LARGE", 1024) in read_listing(checks, done.stdout), "hardened, the sizes are those asked for")
    done = run(programs / "inspect_test6", {**env, "RATION": "harden=full"}, "detail")
    checks.that(" : 100 bytes\n" in done.stdout, "100 bytes are shown as 100 when hardened")
    done = run(programs / "inspect_test6", env, "detail")
    checks.that(done.returncode == 0, f"test6: three neighbours merge: {done.returncode}")
    checks.that(re.search(r"^   ( [0-9a-f]{2}){16}  .{16}$", done.stdout, re.M), "_ex dumps blocks")
    checks.that("  free 0x" in done.stdout and "bytes in use" in done.stdout, "_ex lists free slots")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    checks, library = Checks("ft_malloc"), arguments.build / "libft_malloc.so"
    checks.that(library.exists(), f"{library} is built")
    env = environment(library)
    check_reclaims(checks, arguments.programs, env)
    check_resident(checks, arguments.programs / "inspect_hello", env)
    check_growth(checks, arguments.programs, env)
    check_wrong_pointers(checks, arguments.programs, library)
    check_listing(checks, arguments.programs)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
