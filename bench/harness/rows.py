"""The rows of the bench: what is run, and how one run of it is measured."""

import hashlib
import os
import random
import re
import subprocess

import programs

QUICK_ROWS = ["pairs", "replace-wide", "server", "swiss", "gcc", "python3", "sqlite3"]
KILL_AFTER_SECONDS = 180


class Row:
    """One thing to run. `job` is None, with the reason in `skipped`, where it cannot be run."""

    def __init__(self, name, kind, what, job=None, skipped=""):
        self.name = name
        self.kind = kind  # "pattern" or "program"
        self.what = what
        self.job = job
        self.skipped = skipped


class Job:
    """A command. `drive` (optional) works on it from outside while it runs and returns figures."""

    def __init__(self, command, environment=None, directory=None, drive=None, compare_output=True):
        self.command = command
        self.environment = environment or {}
        self.directory = directory
        self.drive = drive
        self.compare_output = compare_output
        self.base_preload = libc_preload(command[0])


def shuffled(allocators, *key):
    """The allocators in an order that depends on the key alone. What ran just before decides which
    pages of the system an allocator gets: those that a run in huge pages gave back are warm and in
    one piece, and on a virtual machine whose host takes free memory back others cost several times
    as much. So nobody always has the same predecessor."""
    return random.Random(repr(key)).sample(allocators, len(allocators))


def libc_preload(program):
    """What to preload so that a program runs on the C library's malloc: nothing, as a rule. A
    program that was linked to another allocator (Debian's redis-server to jemalloc) gets libc
    itself, which then comes first in the order of symbols."""
    shown = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    if not re.search(r"lib(jemalloc|tcmalloc|mimalloc|tbbmalloc|snmalloc)", shown):
        return ""
    libc = re.search(r"libc\.so\.6 => (\S+)", shown)
    return libc.group(1) if libc else ""


def pattern_rows(tools, scale):
    listed = subprocess.run([tools.workload, "--list"], capture_output=True, text=True, check=True)
    rows = []
    for line in listed.stdout.splitlines():
        name, what = line.split("\t")
        rows.append(Row(name, "pattern", what, Job([tools.workload, name, repr(scale)])))
    return rows


def all_rows(tools, scale):
    """Every row there is, without making the inputs of any."""
    rows = pattern_rows(tools, scale)
    for program in programs.PROGRAMS:
        rows.append(Row(program.name, "program", program.what))
    return rows


def prepare(rows, tools, scale, inputs):
    """Makes the inputs of program rows, and notes why one has to be skipped."""
    os.makedirs(inputs, exist_ok=True)
    by_name = {program.name: program for program in programs.PROGRAMS}
    for row in rows:
        if row.kind != "program":
            continue
        program = by_name[row.name]
        path = program.find()
        if not path:
            row.skipped = f"{program.name} is not installed"
            continue
        row.job = Job(**program.make(path, inputs, scale))
    return rows


def parse_figures(text):
    return {key: value for key, value in re.findall(r"(\w+)=(\S+)", text)}


def describe_failure(report, errors):
    if report["timeout"] == "1":
        return f"killed after {KILL_AFTER_SECONDS} s"
    last = errors.strip().splitlines()[-1][:160] if errors.strip() else "nothing on stderr"
    if report["signal"] != "0":
        return f"killed by signal {report['signal']}: {last}"
    return f"ended with status {report['exit']}: {last}"


def run_once(row, allocator, tools, scratch):
    """One measured run: a dictionary of figures, or {"failed": why}."""
    job = row.job
    report_path = os.path.join(scratch, "report")
    output_path = os.path.join(scratch, "stdout")
    errors_path = os.path.join(scratch, "stderr")
    if os.path.exists(report_path):
        os.unlink(report_path)
    preload = allocator.library or job.base_preload
    command = [tools.measure, report_path, str(KILL_AFTER_SECONDS), preload] + job.command
    environment = dict(os.environ, LC_ALL="C", **job.environment)
    with open(output_path, "wb") as output, open(errors_path, "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                   env=environment, cwd=job.directory)
        driven, trouble = {}, ""
        try:
            if job.drive:
                driven, trouble = job.drive(process)
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    with open(errors_path, errors="replace") as file:
        errors = file.read()
    if not os.path.exists(report_path):
        return {"failed": f"no report: {errors.strip()[-200:]}"}
    with open(report_path) as file:
        report = parse_figures(file.read())
    if report["timeout"] == "1" or report["signal"] != "0" or report["exit"] != "0":
        return {"failed": describe_failure(report, errors)}
    if trouble:
        return {"failed": trouble}
    return sample_of(row, report, driven, output_path)


def sample_of(row, report, driven, output_path):
    with open(output_path, "rb") as file:
        output = file.read()
    if row.kind == "pattern":
        driven = parse_figures(output.decode())
    idle_us = int(driven.get("idle_ms", 0)) * 1000
    sample = {
        "cpu": (int(report["user_us"]) + int(report["sys_us"])) / 1e6,
        "user": int(report["user_us"]) / 1e6,
        "sys": int(report["sys_us"]) / 1e6,
        "wall": (int(report["wall_us"]) - idle_us) / 1e6,
        "peak": int(report["peak_kib"]) / 1024,
        "faults": int(report["minor_faults"]),
    }
    if int(driven.get("rss_after_kib", 0)):
        sample["after"] = int(driven["rss_after_kib"]) / 1024
        sample["live"] = int(driven.get("live_kib", 0)) / 1024
    if row.kind == "pattern":
        sample["proof"] = f"{driven['operations']} {driven['checksum']}"
    elif row.job.compare_output:
        sample["proof"] = hashlib.sha256(output).hexdigest()
    return sample
