#!/usr/bin/env python3
"""What a command prints is written, or its status is not 0: full devices, closed descriptors, SIGTERM.

usage: output_test.py --ration FILE --programs DIR        exit 0 fine, 1 a check failed
"""
import os
import signal
import subprocess
import sys

from testing import Checks, Ration, parse_arguments

PRINTING = (("--help",), ("help",), ("--version",), ("sim", "--help"), ("classes",), ("classes", "--json"), ("explain", "8"),
            ("completion", "bash"), ("manual", "run"), ("doctor", "--", "/bin/true"), ("demo", "course9"),
            ("sim", "--no-times", "--strategy=slab", "gen:course9"), ("sim", "--strategies"), ("sim", "--generate=course9"),
            ("syscalls", "--json", "--", "/bin/true"), ("leaks", "--json", "--", "/bin/true"))


def check_full_device(checks, ration):
    for arguments in PRINTING:
        with open("/dev/full", "w") as full:
            done = subprocess.run([ration.path, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        checks.that(done.returncode == 2 and done.stderr.count("cannot be written: No space left") == 1,
                    f"{arguments} to a full device: {done.returncode} {done.stderr!r}")


def without(ration, descriptor, *arguments):
    return subprocess.run([ration.path, *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE, timeout=60, preexec_fn=lambda: os.close(descriptor))


def check_closed(checks, ration):
    for arguments in PRINTING:
        done = without(ration, 1, *arguments)
        checks.that(done.returncode == 2 and "Bad file descriptor" in done.stderr,
                    f"{arguments} without stdout: {done.returncode} {done.stderr!r}")
    for arguments in (("leaks", "--", "/bin/true"), ("syscalls", "--", "/bin/true"), ("stats", str(os.getpid()))):
        with_it = subprocess.run([ration.path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        done = without(ration, 0, *arguments)
        checks.that((done.returncode, done.stderr) == (with_it.returncode, with_it.stderr),
                    f"{arguments} without stdin: {done.returncode} {done.stderr!r}")
        done = without(ration, 2, *arguments)
        checks.that(done.returncode == with_it.returncode, f"{arguments} without stderr: {done.returncode}")
    for descriptor in (0, 1, 2):
        look = f"test ! -e /proc/self/fd/{descriptor}"
        done = without(ration, descriptor, "run", "--", "sh", "-c", look)
        checks.that(done.returncode == 0, f"run: what was closed is closed in the program: {descriptor}")


def check_asked_to_end(checks, ration):
    """A command that waits for a program passes the signal on, and tells what it was to tell."""
    for arguments in (("leaks",), ("syscalls",), ("doctor", "--run")):
        for number, program in ((signal.SIGTERM, "exec sleep 30"), (signal.SIGHUP, "sleep 1; exit 7")):
            ignores = number == signal.SIGHUP  # as under nohup
            asked = subprocess.Popen([ration.path, *arguments, "--", "sh", "-c", f"echo begun >&2; {program}"],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if ignores else None)
            asked.stderr.readline()
            asked.send_signal(number)
            out, err = asked.communicate(timeout=20)
            words = "status 7" if ignores else "signal 15"
            checks.that(asked.returncode in (0, 1) and words in out + err, f"{arguments}: {asked.returncode} {out} {err}")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("output"), Ration(arguments.ration)
    check_full_device(checks, ration)
    check_closed(checks, ration)
    check_asked_to_end(checks, ration)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
