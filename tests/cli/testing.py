"""What the scripts of the commands share."""
import argparse
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from checks import Checks


class Ration:
    """The command; every call returns (status, stdout, stderr)."""

    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments, environment=None, timeout=100):
        env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "RATION", "PEERS")}
        done = subprocess.run([self.path, *map(str, arguments)], env={**env, **(environment or {})},
                              capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr


def parse_arguments(doc):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--ration", required=True, help="the command")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="folder of the programs to run")
    return parser.parse_args()
