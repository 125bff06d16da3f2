"""What the lab's scripts share: running the command, counting checks, reading traces."""
import argparse
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from checks import Checks


def parse_arguments(doc):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--ration", required=True, help="the command")
    parser.add_argument("--programs", type=pathlib.Path, help="folder of the programs to record")
    parser.add_argument("--shots", type=pathlib.Path, help="folder that keeps screenshots")
    return parser.parse_args()


class Ration:
    """The command; every call returns (status, stdout, stderr)."""

    def __init__(self, path):
        self.path = path

    def __call__(self, *arguments, text=None, folder=None, timeout=60, environment=None):
        done = subprocess.run([self.path, *map(str, arguments)], input=text, cwd=folder, env=environment,
                              capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr


def read_operations(path):
    """The operations of a .rep file as lists of words; thread and time lines included."""
    lines = [line.split() for line in pathlib.Path(path).read_text().splitlines()]
    return [line for line in lines[4:] if line and not line[0].startswith("#")]
