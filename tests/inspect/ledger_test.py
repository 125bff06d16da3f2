#!/usr/bin/env python3
"""The ledger against the mappings that the system lists at the same moment; JSON and OpenMetrics under
readers that know nothing of libration.

usage: ledger_test.py --programs DIR      exit 0 fine, 1 a check failed
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from checks import Checks


def run(program, *arguments):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "RATION")}
    env["RATION"] = "purge_delay=-1" if len(arguments) < 2 else "purge_delay=300"
    return subprocess.run([program, *arguments], env=env, capture_output=True, text=True, check=True, timeout=60)


def resident(smaps):
    """(all, without a name and far from every library and stack): bytes of Rss by smaps."""
    total = heap = 0
    named = True
    for line in smaps.splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(\S*)", line)
        if head:
            start = int(head.group(1), 16)
            named = bool(head.group(3)) or not (8 << 40) <= start < (104 << 40)
        elif line.startswith("Rss:"):
            amount = int(line.split()[1]) * 1024
            total += amount
            heap += 0 if named else amount
    return total, heap


def near(a, b, share):
    return abs(a - b) <= share * max(a, b)


def check_json(checks, program, *arguments):
    done = run(program, "json", *arguments)
    ledger = json.loads(done.stdout)
    total, heap = resident(done.stderr)
    own = sum(part["resident_bytes"] for part in ledger["parts"].values())
    print(f"ledger: {own} own + {ledger['not_own_bytes']} not own = {ledger['rss_bytes']} RSS; "
          f"smaps: {heap} in the heap's mappings, {total} in all")
    checks.that(own == ledger["own_bytes"] and own + ledger["not_own_bytes"] == ledger["rss_bytes"], "it adds up")
    checks.that(near(ledger["rss_bytes"], total, 0.01), "RSS within 1 %")
    checks.that(near(own, heap, 0.01), "the heap's mappings within 1 %")
    slots = sum(k["slots"] * k["slot_bytes"] for k in ledger["classes"])
    parts = ledger["parts"]
    in_slabs = sum(parts[p]["mapped_bytes"] for p in ("live_small", "held_back", "cached", "free"))
    checks.that(slots == in_slabs, f"classes and parts agree: {slots} {in_slabs}")
    live = sum(k["live"] * k["slot_bytes"] for k in ledger["classes"])
    checks.that(live == parts["live_small"]["mapped_bytes"] and ledger["threads"] == 4, "live bytes, threads")
    checks.that(all(p["resident_bytes"] <= p["mapped_bytes"] for p in parts.values()), "resident is mapped")
    return ledger


def check_threads(checks, ledger):
    threads = ledger["thread_list"]
    checks.that(len(threads) == ledger["threads"] <= ledger["threads_peak"], f"each thread is listed: {threads}")
    checks.that(len({t["thread"] for t in threads}) == len(threads), "each by its number")
    cached = sum(k["cached"] for k in ledger["classes"])
    checks.that(sum(t["cached"] for t in threads) >= cached > 0, f"what they hold is what classes show: {cached}")
    checks.that(all(k["slabs"] <= k["slabs_peak"] for k in ledger["classes"]), "peaks are not below")


def check_payload(checks, program):
    """Every block is of a known request under harden=full; and of none otherwise, which is said."""
    env = {**os.environ, "RATION": "purge_delay=-1,harden=full"}
    env.pop("LD_PRELOAD", None)
    ledger = json.loads(subprocess.run([program, "json"], env=env, capture_output=True, check=True, timeout=60).stdout)
    live = sum(k["live"] * k["slot_bytes"] for k in ledger["classes"])
    checks.that(ledger["sized_blocks"] == ledger["live_small_blocks"] > 1000, f"sized: {ledger['sized_blocks']}")
    checks.that(ledger["payload_bytes"] + ledger["slack_bytes"] == live, "payload and slack are all that is live")
    checks.that(ledger["slack_bytes"] >= 8 * ledger["sized_blocks"], "each block has its tail")
    env["RATION"] = "purge_delay=-1"
    ledger = json.loads(subprocess.run([program, "json"], env=env, capture_output=True, check=True, timeout=60).stdout)
    checks.that(ledger["sized_blocks"] == ledger["payload_bytes"] == ledger["slack_bytes"] == 0, "else nothing is known")


SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z_]+)="([^"]*)"\})? (\d+)$')


def check_openmetrics(checks, program):
    """The rules of the text format: a family's metadata first, its samples together, EOF last."""
    lines = run(program, "openmetrics").stdout.splitlines()
    checks.that(lines[-1] == "# EOF" and lines.count("# EOF") == 1, "EOF ends it")
    families, current, ending = set(), None, ""
    for line in lines[:-1]:
        if line.startswith("# "):
            word, name = line.split()[1:3]
            if word == "TYPE":
                checks.that(name not in families, f"{name} is one family")
                families.add(name)
                current = name
                ending = "_total" if line.split()[3] == "counter" else ""
            checks.that(word in ("TYPE", "UNIT", "HELP") and name == current, line)
            checks.that(word != "UNIT" or name.endswith("_" + line.split()[3]), f"the unit ends the name: {line}")
        else:
            sample = SAMPLE.match(line)
            checks.that(sample and sample.group(1) == current + ending, f"a sample of its family: {line}")
    checks.that({"ration_resident_bytes", "ration_rss_bytes", "ration_class_live"} <= families, "the families")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    program = parser.parse_args().programs / "inspect_adds_up"
    checks = Checks("ledger")
    kept = check_json(checks, program)
    purged = check_json(checks, program, "purged")
    checks.that(purged["own_bytes"] < 0.8 * kept["own_bytes"], "what was purged is not resident any more")
    check_threads(checks, kept)
    checks.that(any(k["slabs_peak"] > k["slabs"] for k in purged["classes"]), "slabs went, their peak stays")
    check_payload(checks, program)
    check_openmetrics(checks, program)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
