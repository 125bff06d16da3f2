#!/usr/bin/env python3
"""Debug switches of other allocators under libration: what they do, who wins, what is accepted without effect.

usage: familiar_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import sys

from testing import Checks, Ration, parse_arguments


def fills(checks, ration, programs, environment, *arguments):
    """{what: byte} that the program saw."""
    status, out, err = ration("run", "--", programs / "cli_fills", *arguments,
                              environment={"RATION": "purge_delay=-1", **environment})
    checks.that(status == 0 and err == "", f"{environment}: {status} {err!r}")
    seen = dict(line.rsplit(" ", 1) for line in out.splitlines())
    seen = {what: int(byte) for what, byte in seen.items()}
    kept = [int(line.split()[3]) for line in out.splitlines() if "kept" in line]
    grown = [int(line.split()[1]) for line in out.splitlines() if "kept" in line]
    checks.that(kept == [1] and seen["zero"] == 0, f"{environment}: contents and zeros are left alone: {out}")
    return {"new": seen["new"], "grown": grown[0], "large": seen["large"], "freed": seen["freed"],
            "large freed": seen["large freed"]}


def check_fills(checks, ration, programs):
    for environment, new, freed in (
            ({"MALLOC_PERTURB_": "7"}, 7 ^ 255, 7), ({"MALLOC_PERTURB_": "0x1f"}, 0x1f ^ 255, 0x1f),
            ({"GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.malloc.perturb=9"}, 9 ^ 255, 9),
            ({"GLIBC_TUNABLES": "glibc.malloc.perturb=9", "MALLOC_PERTURB_": "8"}, 8 ^ 255, 8),
            ({"MallocScribble": "1", "MallocPreScribble": "YES"}, 0xaa, 0x55),
            ({"MALLOC_SCRIBBLE": "1", "MALLOC_PRE_SCRIBBLE": "1"}, 0xaa, 0x55),
            ({"RATION": "purge_delay=-1,fill_new=3,fill_freed=4"}, 3, 4),
            ({"RATION": "purge_delay=-1,fill_freed=4", "MALLOC_PERTURB_": "7"}, 7 ^ 255, 4)):
        seen = fills(checks, ration, programs, environment)
        checks.that([seen[k] for k in ("new", "grown", "large")] == 3 * [new], f"{environment}: new {seen}")
        checks.that([seen[k] for k in ("freed", "large freed")] == 2 * [freed], f"{environment}: freed {seen}")
    seen = fills(checks, ration, programs, {}, "mallopt")
    checks.that((seen["new"], seen["freed"]) == (17 ^ 255, 17), f"mallopt: {seen}")
    for environment in ({"MALLOC_PERTURB_": "0"}, {"MallocScribble": "0"}, {"MALLOC_PERTURB_": "often"},
                        {"MALLOC_PERTURB_": "7", "RATION": "purge_delay=-1,fill_new=-1,fill_freed=-1"},
                        {"MALLOC_ARENA_MAX": "1", "MALLOC_TOP_PAD_": "65536", "MALLOC_MMAP_THRESHOLD_": "4096",
                         "MALLOC_MMAP_MAX_": "0", "MALLOC_CONF": "junk:true", "MALLOC_TRACE": "/nonexistent",
                         "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=2"}):
        seen = fills(checks, ration, programs, environment)
        checks.that(seen["new"] == 0 and seen["freed"] == 1, f"{environment}: nothing is filled: {seen}")


def check_errors(checks, ration, programs):
    """What a detected misuse does; cli_frees_twice frees a block twice and then says that it goes on."""
    for environment, status, lines in (({}, -6, 1), ({"MALLOC_CHECK_": "3"}, -6, 1), ({"MALLOC_CHECK_": "1"}, 0, 2),
                                       ({"MALLOC_CHECK_": "0"}, 0, 1), ({"MallocErrorAbort": "0"}, 0, 2),
                                       ({"MALLOC_CHECK_": "1", "RATION": "on_error=ignore"}, 0, 1)):
        got, out, err = ration("run", "--", programs / "cli_frees_twice", environment=environment)
        checks.that(got == status and err.count("ration: double free") == lines, f"{environment}: {got} {err}")
    got, _, err = ration("run", "--", programs / "cli_frees_twice", environment={"MallocStackLogging": "1"})
    checks.that(got == -6 and ("main" in err or "cli_frees_twice" in err), f"stacks are recorded: {err}")
    got, _, err = ration("run", "--", programs / "cli_plain", environment={"MALLOC_VERBOSE": "1"})
    checks.that(got == 0 and "] malloc(100) = 0x" in err and "] free(0x" in err, f"calls are logged: {err}")
    got, _, err = ration("run", "--", programs / "cli_plain", environment={"MallocHelp": "1"})
    checks.that(got == 0 and " MallocScribble" in err and " on_error" in err, f"help: {err}")
    got, _, err = ration("run", "--stats", "--", programs / "cli_plain", environment={"MallocGuardEdges": "1"})
    checks.that(got == 0 and "ration: the heap" in err, f"MallocGuardEdges: {got}")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("familiar"), Ration(arguments.ration)
    check_fills(checks, ration, arguments.programs)
    check_errors(checks, ration, arguments.programs)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
