#!/usr/bin/env python3
"""Published heaps have their names in libration's statistics: asked from outside, and at exit.

usage: published_test.py --build DIR --programs DIR      exit 0 fine, 1 not
The same program runs under a preloaded libration, linked with libration.so and libration.a, with its
heaps passed through to malloc, and without libration at all.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

EXPECTED = {
    "messages": {"kind": "pool", "live_blocks": 9, "live_bytes": 9 * 48, "allocs": 10, "frees": 1, "failures": 0},
    "requests": {"kind": "arena", "live_bytes": 10 * 112, "allocs": 10, "frees": 0, "failures": 0},
    "plugin": {"kind": "private", "live_blocks": 20, "allocs": 20, "frees": 0, "failures": 1},
    "scratch": {"kind": "fit", "live_blocks": 10, "live_bytes": 10 * 200, "allocs": 10, "frees": 0},
}


class Failures(list):
    def that(self, fine, what):
        if not fine:
            self.append(what)
            print(f"FAIL: {what}")


def start(program, preload, settings):
    environment = dict(os.environ, RATION=settings)
    environment.pop("LD_PRELOAD", None)
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    process = subprocess.Popen([program], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    if process.stdout.readline() != "ready\n":
        sys.exit(f"FAIL: {program} did not start: {process.communicate()[1]}")
    return process


def ask(build, process, *options):
    done = subprocess.run([build / "ration", "stats", str(process.pid), *options], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def end(process):
    return process.communicate("\n")[1]


def check_table(failures, how, text):
    for name in EXPECTED:
        found = re.search(rf"^ *{name} +{EXPECTED[name]['kind']}\b", text, re.MULTILINE)
        failures.that(found, f"{how}: no line for {name} in\n{text}")


def check_outside(failures, build, process, how, passes=False):
    status, out, err = ask(build, process, "--json")
    if status != 0:
        failures.that(False, f"{how}: ration stats: status {status}: {err}")
        return
    heaps = {h["name"]: h for h in json.loads(out)["heaps"]}
    failures.that(set(heaps) == set(EXPECTED), f"{how}: names {sorted(heaps)}")
    for name, expected in EXPECTED.items():
        for key, value in expected.items():
            if passes and key != "allocs":
                continue
            found = heaps.get(name, {}).get(key)
            at_limit = name == "plugin" and key in ("live_blocks", "allocs")
            fine = found is not None and found >= 10 if at_limit else found == value
            failures.that(fine, f"{how}: {name}: {key} is {found}, expected {value}")
    failures.that(all(h["kind"] == "passthrough" for h in heaps.values()) == passes, f"{how}: kinds {heaps}")
    check_text = ask(build, process)[1]
    failures.that("plugin" in check_text and "requests" in check_text, f"{how}: text without names")
    metrics = ask(build, process, "--openmetrics")[1]
    failures.that('ration_heap_live_bytes{heap="scratch"' in metrics, f"{how}: no metric of scratch")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--programs", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    build, programs, failures = arguments.build.resolve(), arguments.programs.resolve(), Failures()
    library = build / "libration.so"
    for how, program, preload, settings in (
            ("preloaded", "heaps_published", library, "stats=1"),
            ("linked", "heaps_published_shared", None, "stats=1"),
            ("passing through", "heaps_published", library, "stats=1,pools=passthrough")):
        process = start(programs / program, preload, settings)
        passes = "passthrough" in settings
        check_outside(failures, build, process, how, passes)
        err = end(process)
        if not passes:
            check_table(failures, f"{how}, at exit", err)
        failures.that(err.count("plugin") == 1, f"{how}: plugin is listed {err.count('plugin')} times at exit\n{err}")
    for how, program in (("static", "heaps_published_static"), ("without libration", "heaps_published")):
        err = end(start(programs / program, None, "stats=1"))
        check_table(failures, f"{how}, at exit", err)
        failures.that(err.count("plugin") == 1, f"{how}: plugin is listed {err.count('plugin')} times at exit\n{err}")
        failures.that(end(start(programs / program, None, "")) == "", f"{how}: something on stderr without stats=1")
    print(f"published: {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
