#!/usr/bin/env python3
"""Completion and manual pages: made from the commands' tables, complete, and understood by bash, zsh and man.

usage: completion_test.py --ration FILE --programs DIR       exit 0 fine, 1 a check failed
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from testing import Checks, Ration, parse_arguments

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRINT_DATA = ("compare", "doctor", "stats", "classes", "explain", "leaks", "syscalls", "sim", "demo")


def commands_of(ration):
    return re.findall(r"^  (\w+)  +\S", ration("--help")[1], re.M)


def options_of(ration, command):
    """The long options that --help names at the beginning of a line."""
    out = ration(command, "--help")[1]
    return sorted(set(re.findall(r"^ +(?:-\S,? *)*--([a-z][a-z-]*)", out, re.M)))


def check_pages(checks, ration, commands):
    summary = (ROOT / "docs/man/ration.1").read_text()
    for command in commands:
        status, page, err = ration("manual", command)
        checks.that(status == 0 and err == "", f"manual {command}: {status} {err}")
        options = options_of(ration, command)
        checks.that("help" in options, f"{command} --help names options: {options}")
        missing = [o for o in options if f"Fl -{o}" not in page and o != "version"]
        checks.that(not missing, f"manual {command} lacks {missing}")
        checks.that(f".It Cm {command}" in summary, f"ration.1 lists {command}")
        checks.that(command not in PRINT_DATA or "json" in options, f"{command} prints JSON")
        if shutil.which("man"):
            with tempfile.NamedTemporaryFile("w", suffix=".1") as file:
                file.write(page)
                file.flush()
                done = subprocess.run(["man", "--warnings", "-l", file.name], capture_output=True, text=True,
                                      env={**os.environ, "MANPAGER": "cat", "LC_ALL": "C.UTF-8"}, check=False)
                checks.that(done.returncode == 0 and done.stderr == "" and "OPTIONS" in done.stdout,
                            f"man reads the page of {command}: {done.stderr}")
    checks.that(ration("manual", "nonsense")[0] == 2 and ration("manual")[0] == 2, "no such page")


def complete(script, *words):
    """What bash offers for the last word, asked as bash itself asks."""
    ask = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ration; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "--norc", "-c", ask, script, "ration", *words], capture_output=True, text=True,
                          check=False)
    return [line for line in done.stdout.splitlines() if line], done.stderr


def check_bash(checks, ration, commands, folder):
    script = folder / "ration.bash"
    script.write_text(ration("completion", "bash")[1])
    found, err = complete(script, "")
    checks.that(err == "" and set(commands) <= set(found), f"commands: {found} {err}")
    checks.that(complete(script, "do")[0] == ["doctor"], f"do: {complete(script, 'do')}")
    for command in commands:
        found, err = complete(script, command, "--")
        names = {word.rstrip("=").removeprefix("--") for word in found} - {""}
        checks.that(set(options_of(ration, command)) - {"version"} <= names and err == "", f"{command}: {found} {err}")
    checks.that(complete(script, "run", "--hard")[0] == ["--harden="], "an option with a value waits for it")
    checks.that("bash" in complete(script, "run", "--stats", "--", "bas")[0], "a program behind the dashes")
    checks.that(str(script) in complete(script, "run", "--", "cat", str(script)[:-2])[0], "files behind it")
    checks.that(str(os.getpid()) in complete(script, "stats", str(os.getpid())[:2])[0], "processes")
    checks.that(str(script) in complete(script, "sim", str(script)[:-2])[0], "traces are files")
    checks.that(complete(script, "nonsense", "-")[0] == [], "nothing for what is no command")
    done = subprocess.run(["bash", "--norc", "-c", f"source {script}; complete -p ration"], capture_output=True,
                          text=True, check=False)
    checks.that("-F _ration ration" in done.stdout, f"bash knows it: {done.stdout} {done.stderr}")


def check_zsh(checks, ration, commands, folder):
    status, text, _ = ration("completion", "zsh")
    checks.that(status == 0 and text.startswith("#compdef ration\n"), "zsh")
    for command in commands:
        checks.that(all(f"'--{o}" in text for o in options_of(ration, command) if o not in ("usage", "version")),
                    f"zsh: options of {command}")
    if shutil.which("zsh"):
        script = folder / "_ration"
        script.write_text(text)
        done = subprocess.run(["zsh", "-n", script], capture_output=True, text=True, check=False)
        checks.that(done.returncode == 0 and done.stderr == "", f"zsh reads it: {done.stderr}")
    checks.that(ration("completion", "fish")[0] == 2 and ration("completion")[0] == 2, "no such shell")


def main():
    arguments = parse_arguments(__doc__)
    checks, ration = Checks("completion"), Ration(arguments.ration)
    commands = commands_of(ration)
    checks.that(len(commands) >= 13, f"commands: {commands}")
    with tempfile.TemporaryDirectory() as folder:
        check_pages(checks, ration, commands)
        check_bash(checks, ration, commands, pathlib.Path(folder))
        check_zsh(checks, ration, commands, pathlib.Path(folder))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
