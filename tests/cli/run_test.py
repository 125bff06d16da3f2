#!/usr/bin/env python3
"""`ration run`: options reach the library, the program keeps its arguments and status, what cannot be
preloaded is refused with the reason.

usage: run_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import sys

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


def check_refusals(checks, ration, programs):
    cases = (
        (("run",), "no program given"),
        (("run", "--harden=hard", "ls"), "--harden cannot be 'hard', expected off, fast or full"),
        (("run", "--on-error=panic", "ls"), "expected abort, report or ignore"),
        (("run", "--purge-delay=soon", "ls"), "expected milliseconds from -1 to 3600000"),
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
    check_refusals(checks, ration, arguments.programs)
    for command in ("run", "compare", "doctor", "stats", "classes", "explain"):
        status, out, _ = ration(command, "--help")
        checks.that(status == 0 and out.startswith(f"Usage: ration {command}"), f"{command} --help")
        checks.that(ration("help", command)[1] == out, f"help {command}")
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
