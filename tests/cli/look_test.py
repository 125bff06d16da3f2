#!/usr/bin/env python3
"""`ration stats`, `doctor`, `classes`, `explain` and `compare`: what they say against what is known.

usage: look_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import tempfile

from testing import Checks, Ration, parse_arguments


def memory_of(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    return 0


def check_stats_json(checks, ration, pid):
    status, out, err = ration("stats", "--json", pid)
    checks.that(status == 0, f"stats --json: {status} {err}")
    ledger = json.loads(out)
    slots = {k["slot_bytes"]: k["live"] for k in ledger["classes"]}
    rss = memory_of(pid)
    checks.that(slots.get(112, 0) >= 1000, f"1000 blocks of 100 bytes are seen: {slots.get(112)}")
    checks.that(ledger["parts"]["live_large"]["resident_bytes"] >= 3000000, "the large block is seen")
    checks.that(abs(ledger["rss_bytes"] - rss) <= 0.01 * rss, f"RSS within 1 %: {ledger['rss_bytes']} {rss}")
    checks.that(ledger["own_bytes"] + ledger["not_own_bytes"] == ledger["rss_bytes"], "it adds up")
    checks.that(ration("stats", "--json", pid)[1] == out, "twice the same: nothing in the process moved")


def check_stats(checks, ration, programs):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "RATION")}
    env["RATION"] = "purge_delay=-1"
    with subprocess.Popen([ration.path, "run", "--", programs / "cli_waits"], env=env, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        checks.that(process.stdout.readline() == "ready\n", "the program runs")
        check_stats_json(checks, ration, process.pid)
        status, out, _ = ration("stats", process.pid)
        checks.that(status == 0 and out.startswith("ration: the heap, in bytes") and "\033" not in out, "as text")
        status, out, _ = ration("stats", "--openmetrics", process.pid)
        checks.that(status == 0 and out.endswith("# EOF\n"), "as OpenMetrics")
        if os.geteuid() == 0 and shutil.which("runuser") and os.access(ration.path, os.X_OK):
            done = subprocess.run(["runuser", "-u", "nobody", "--", ration.path, "stats", str(process.pid)],
                                  capture_output=True, text=True, check=False)
            checks.that(done.returncode in (126, 127) or
                        (done.returncode == 2 and "only its own user may look into it" in done.stderr),
                        f"another user is refused: {done.returncode} {done.stderr}")
        process.stdin.close()
        checks.that(process.wait(timeout=20) == 0, "the process went on undisturbed")
    for arguments, wanted, words in (((), 2, "no process given"), (("abc",), 2, "is not the number of a process"),
                                     (("2147483000",), 2, "there is no process"), ((1, 2), 2, "one process at a time"),
                                     ((os.getpid(),), 1, "does not run under libration")):
        status, out, err = ration("stats", *arguments)
        checks.that(status == wanted and words in err and out == "", f"stats {arguments}: {status} {err!r}")


def check_doctor(checks, ration, programs):
    with tempfile.TemporaryDirectory() as folder:
        script, cut = pathlib.Path(folder) / "script", pathlib.Path(folder) / "cut"
        script.write_text("#!/usr/bin/env -S sh\nexit 0\n")
        cut.write_bytes((programs / "cli_plain").read_bytes()[:80])
        for file in (script, cut):
            file.chmod(0o755)
        cases = ((programs / "cli_plain", 0, "bound to libration, 0 elsewhere"),
                 (programs / "cli_static", 1, "is linked statically"),
                 (programs / "cli_own_malloc", 1, "exports a malloc of its own"),
                 (script, 0, "is a script; "), (cut, 3, "damaged ELF"))
        for program, wanted, words in cases:
            status, out, err = ration("doctor", "--", program)
            checks.that(status == wanted and words in out, f"doctor {program}: {status} {out} {err}")
            checks.that("Preloading libration " in out and "\033" not in out, "a verdict, plain in a pipe")
            status, out, _ = ration("doctor", "--json", "--", program)
            report = json.loads(out)
            checks.that(status == wanted and report["takes_effect"] == (wanted == 0), f"doctor --json {program}")
    status, _, err = ration("doctor", "no-such-program-anywhere")
    checks.that(status == 2 and "cannot be run" in err, f"doctor of nothing: {err}")


def check_doctor_sanitised(checks, ration, folder):
    """A program built with AddressSanitizer, if the compiler has it."""
    source, program = pathlib.Path(folder) / "a.c", pathlib.Path(folder) / "a"
    source.write_text("int main(void) { return 0; }\n")
    built = subprocess.run(["cc", "-fsanitize=address", source, "-o", program], capture_output=True, check=False)
    if built.returncode == 0:
        status, out, _ = ration("doctor", "--", program)
        checks.that(status == 1 and "AddressSanitizer" in out, f"a sanitised program: {status} {out}")


def slab_bytes_of(slot_bytes):
    return 65536 if slot_bytes <= 512 else 131072 if slot_bytes <= 2048 else 262144


def check_classes(checks, ration):
    classes = json.loads(ration("classes", "--json")[1])["classes"]
    checks.that(len(classes) == 64 and classes[0]["slot_bytes"] == 16 and classes[-1]["slot_bytes"] == 16384,
                "64 classes from 16 to 16384")
    expected_from = 1
    for k in classes:
        checks.that(k["from_bytes"] == expected_from and k["slot_bytes"] % 16 == 0, f"no gap: {k}")
        checks.that(k["slots"] * k["slot_bytes"] <= k["slab_bytes"] < (k["slots"] + 1) * k["slot_bytes"]
                    and k["slab_bytes"] == slab_bytes_of(k["slot_bytes"]), f"slots fill the slab: {k}")
        checks.that(1 <= k["batch"] <= 64, f"a mask has 64 bits: {k}")
        expected_from = k["slot_bytes"] + 1
    text = ration("classes")[1].splitlines()
    checks.that(len(text) == 66 and text[1].split()[:3] == ["0", "1", "16"], "the table")
    sizes = json.loads(ration("classes", "--json", "0", "24", "0x64", "16k", "1M")[1])["sizes"]
    checks.that([s["usable_bytes"] for s in sizes] == [16, 32, 112, 16384, 1 << 20], f"sizes: {sizes}")
    checks.that([s["class"] for s in sizes] == [0, 1, 6, 63, None], "their classes")
    for wrong in ("-1", "12q", "x", "1kk", "99999999999999999999"):
        status, _, err = ration("classes", "--", wrong)
        checks.that(status == 2 and f"'{wrong}' is not a size" in err, f"classes {wrong}: {status} {err}")


def check_explain(checks, ration):
    for size, usable, number in (("100", 112, 6), ("2M", 2 << 20, None)):
        report = json.loads(ration("explain", "--json", size)[1])
        checks.that(report["usable_bytes"] == usable and report["class"] == number, f"explain {size}: {report}")
        checks.that(all(0.5 < ns < 1e8 for ns in report["nanoseconds"].values()), f"costs: {report}")
        status, out, _ = ration("explain", size)
        checks.that(status == 0 and f"gets {usable} usable bytes" in out and "Measured here" in out, out)
    for arguments, wanted, words in (((), 2, "expected one size"), (("1", "2"), 2, "expected one size"),
                                     (("8000000T",), 1, "not to be had")):
        status, _, err = ration("explain", *arguments)
        checks.that(status == wanted and words in err, f"explain {arguments}: {status} {err}")


def check_doctor_explains(checks, ration, programs):
    status, out, err = ration("doctor", "--run", "--json", "--", "sh", "-c", "sleep 0.2")
    report = json.loads(out)
    checks.that(status == 0 and report["at_its_largest"]["rss_bytes"] > 500000, f"--run: {status} {err} {out}")
    checks.that(report["at_its_largest"]["next"] != "" and report["at_its_largest"]["sentences"], "and explains")
    status, out, _ = ration("doctor", "--run", "--", programs / "cli_past")
    checks.that(status == 1 and "calls that malloc past libration" in out and "Next: " in out, f"past us: {out}")
    with subprocess.Popen([ration.path, "run", "--", programs / "cli_waits"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        status, out, err = ration("doctor", f"--pid={process.pid}")
        checks.that(status == 0 and "are live blocks above 16 KiB" in out, f"--pid: {status} {out} {err}")
        sizes = [float(line.split()[0]) for line in out.splitlines()[1:] if " MiB, " in line or "the rest" in line]
        ledger = json.loads(ration("stats", "--json", process.pid)[1])
        checks.that(abs(sum(sizes) - ledger["rss_bytes"] / 2**20) < 0.05 * len(sizes), f"the shares add up: {sizes}")
        process.stdin.close()
    for arguments, words in ((("--pid=x",), "expected the number of a process"), ((), "no program given"),
                             (("--pid=1", "--", "ls"), "either --pid or a program")):
        status, out, err = ration("doctor", *arguments)
        checks.that(status == 2 and words in err, f"doctor {arguments}: {status} {err}")
    with subprocess.Popen([programs / "cli_linked_in"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        process.stdout.readline()
        status, out, err = ration("stats", process.pid)
        checks.that(status == 2 and "linked into its program (libration.a)" in err, f"linked in: {status} {err}")
        process.stdin.close()


def check_map_and_top(checks, ration, programs):
    with subprocess.Popen([ration.path, "run", "--", programs / "cli_waits"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        status, out, err = ration("map", "--json", process.pid)
        runs = json.loads(out)["runs"]
        ledger = json.loads(ration("stats", "--json", process.pid)[1])
        checks.that(status == 0 and all(a["start"] + a["bytes"] == b["start"] for a, b in zip(runs, runs[1:])),
                    f"map: runs without a gap: {status} {err}")
        live = sum(r["live"] for r in runs if r["kind"] == "slab")
        large = [r for r in runs if r["kind"] == "large"]
        checks.that(live == ledger["live_small_blocks"] >= 1000, f"map: live blocks {live}")
        checks.that(len(large) == 1 and large[0]["resident_bytes"] >= 3000000, f"map: the large block {large}")
        status, out, _ = ration("map", process.pid)
        signs = "".join(line[20:] for line in out.splitlines() if line.startswith("      ")).count("L")
        checks.that(status == 0 and "\033" not in out and signs >= 3000000 // 4096 // 2, f"map draws it: {signs}")
        status, out, _ = ration("top", process.pid)
        checks.that(status == 0 and "live large blocks" in out and "\033" not in out, f"top in a pipe looks once: {out}")
        status, out, _ = ration("top", "--json", process.pid)
        checks.that(status == 0 and json.loads(out)["live_small_blocks"] >= 1000, "top --json")
        status, out, _ = ration("top", "--json")
        pids = [p["pid"] for p in json.loads(out)["processes"]]
        checks.that(status == 0 and process.pid in pids, f"top lists it: {pids}")
        process.stdin.close()
    for arguments, wanted, words in ((("map",), 2, "no process given"), (("map", os.getpid()), 1, "does not run under"),
                                     (("top", "x"), 2, "is not the number"), (("top", "-d", "0"), 2, "from 0.1 to 3600"),
                                     (("top", os.getpid()), 1, "does not run under")):
        status, out, err = ration(*arguments)
        checks.that(status == wanted and words in err and out == "", f"{arguments}: {status} {err!r}")


def on_terminal(command, **variables):
    """What a command writes when its output is a terminal."""
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "RATION", "LD_PRELOAD")}
    with subprocess.Popen(list(map(str, command)), stdout=theirs, env={**env, "TERM": "xterm", **variables}) as process:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:             # the other side has closed
            pass
        process.wait()
    os.close(ours)
    return text.decode()


def check_colours(checks, ration, programs):
    plain = programs / "cli_plain"
    for arguments in (("doctor", "--", plain), ("syscalls", "--", plain), ("compare", "-n", "1", "--", plain),
                      ("leaks", "--", plain), ("top", "--once")):
        command = [ration.path, *arguments]
        checks.that("\033[" in on_terminal(command), f"{arguments}: colours on a terminal")
        checks.that("\033[" not in on_terminal(command, NO_COLOR="1"), f"{arguments}: none with NO_COLOR")
        checks.that("\033[" not in on_terminal(command, TERM="dumb"), f"{arguments}: none on a dumb terminal")


def check_compare(checks, ration, programs):
    status, out, err = ration("compare", "--json", "-n", "3", "--", programs / "cli_plain")
    report = json.loads(out)
    names = [a["name"] for a in report["allocators"]]
    checks.that(status == 0 and names[:2] == ["libration", "system"], f"compare: {status} {names} {err}")
    for a in report["allocators"]:
        samples = sorted(s["seconds"] for s in a["samples"])
        checks.that(len(samples) == 3 and a["median_seconds"] == samples[1] > 0, f"median of three: {a}")
        checks.that(all(s["peak_bytes"] > 100000 for s in a["samples"]), "peak memory")
    library = pathlib.Path(ration.path).resolve().parent / "libration.so"
    copy = programs / "libcopy.so"
    shutil.copyfile(library, copy)
    status, out, _ = ration("compare", "-n", "1", "--", programs / "cli_plain", "one",
                            environment={"PEERS": f"copy={copy}"})
    checks.that(status == 1 and "\ncopy " in out and "ended with status 1" in out, f"peers and failures: {out}")
    (programs / "junk.so").write_text("no library")
    status, out, err = ration("compare", "-n", "1", "--", programs / "cli_plain",
                              environment={"PEERS": f"junk={programs / 'junk.so'}"})
    checks.that(status == 0 and "junk is left out" in err and "junk" not in out, f"a refused preload: {out} {err}")
    for arguments, peers, words in (((programs / "cli_static",), "", "linked statically"), ((), "", "no program"),
                                    (("-n", "0", "ls"), "", "expected 1 to 101"), (("ls",), "x", "not of the form"),
                                    (("ls",), "a=/nonexistent.so", "cannot be read")):
        status, _, err = ration("compare", *arguments, environment={"PEERS": peers})
        checks.that(status == 2 and words in err, f"compare {arguments} {peers}: {status} {err}")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("look"), Ration(arguments.ration)
    check_stats(checks, ration, arguments.programs)
    check_doctor(checks, ration, arguments.programs)
    with tempfile.TemporaryDirectory() as folder:
        check_doctor_sanitised(checks, ration, folder)
    check_classes(checks, ration)
    check_explain(checks, ration)
    check_doctor_explains(checks, ration, arguments.programs)
    check_map_and_top(checks, ration, arguments.programs)
    check_colours(checks, ration, arguments.programs)
    check_compare(checks, ration, arguments.programs)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
