"""Which allocators there are to compare: glibc, ours, the system's, and those named in PEERS."""

import glob
import hashlib
import os
import platform
import shutil
import subprocess

OURS = "ration"
BASE = "glibc"

# Name in the tables, file names to look for (the first that exists is taken).
SYSTEM_LIBRARIES = [
    ("sys-jemalloc", ["libjemalloc.so.2"]),
    ("sys-mimalloc", ["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"]),
    ("sys-tcmalloc", ["libtcmalloc_minimal.so.4", "libtcmalloc.so.4"]),
    ("sys-tbbmalloc", ["libtbbmalloc_proxy.so.2"]),
    ("sys-snmalloc", ["libsnmallocshim.so"]),
    ("sys-rpmalloc", ["librpmallocwrap.so"]),
]


class BenchError(Exception):
    """Something the person who started the bench has to mend; the text says what."""


class Allocator:
    def __init__(self, name, library, version):
        self.name = name
        self.library = library  # "" is no preload: the C library's own
        self.version = version


def library_directories():
    machine = platform.machine()
    return (
        glob.glob(f"/usr/lib/{machine}-linux-gnu*")
        + glob.glob(f"/lib/{machine}-linux-gnu*")
        + ["/usr/lib64", "/usr/lib", "/usr/local/lib"]
    )


def find_system_library(file_names):
    for file_name in file_names:
        for directory in library_directories():
            path = os.path.join(directory, file_name)
            if os.path.exists(path):
                return path
    return None


def package_version(path):
    """The Debian package that owns a file, with its version; "" where that cannot be told."""
    if not shutil.which("dpkg-query"):
        return ""
    for candidate in (os.path.realpath(path), os.path.realpath(path).replace("/usr/lib/", "/lib/", 1)):
        found = subprocess.run(["dpkg-query", "-S", candidate], capture_output=True, text=True)
        if found.returncode == 0:
            package = found.stdout.split(": ")[0].split(",")[0]
            shown = subprocess.run(
                ["dpkg-query", "-W", "-f", "${Package} ${Version}", package],
                capture_output=True, text=True)
            return shown.stdout.strip()
    return ""


def file_digest(path):
    with open(path, "rb") as file:
        return "sha256 " + hashlib.sha256(file.read()).hexdigest()[:12]


def glibc_version():
    return " ".join(platform.libc_ver())


def check_loads(name, library):
    """The dynamic linker only warns about a library that it cannot preload and goes on without:
    the figures would be glibc's under another name. So look whether it is really mapped."""
    if not os.path.exists(library):
        raise BenchError(f'peer "{name}": there is no file {library}; mend PEERS')
    environment = dict(os.environ, LD_PRELOAD=library)
    try:
        shown = subprocess.run(["/bin/cat", "/proc/self/maps"], env=environment,
                               capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        raise BenchError(f'"{name}": /bin/cat hangs with LD_PRELOAD={library}') from None
    if shown.returncode != 0:
        raise BenchError(f'"{name}": /bin/cat ends with status {shown.returncode} under '
                         f"LD_PRELOAD={library}: {shown.stderr.strip()[-300:]}")
    if os.path.realpath(library) not in shown.stdout:
        raise BenchError(f'"{name}": {library} was not loaded by LD_PRELOAD: '
                         f"{shown.stderr.strip() or 'no reason given'}")


def parse_peers(text):
    """NAME=/path/lib.so or NAME@VERSION=/path/lib.so, separated by blanks."""
    peers = []
    for item in text.split():
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise BenchError(f'PEERS: "{item}" is not NAME=/path/lib.so (or NAME@VERSION=/path/lib.so)')
        name, _, version = name.partition("@")
        path = os.path.abspath(path)
        peers.append((name, path, version))
    return peers


def find_all(build, peers_text):
    """Every allocator that could be measured. Peers that do not load are an error; system
    libraries that do not load are left out and named."""
    found = [Allocator(BASE, "", glibc_version())]
    notes = []
    ours = os.path.join(os.path.abspath(build), "libration.so")
    if os.path.exists(ours):
        check_loads(OURS, ours)
        found.append(Allocator(OURS, ours, file_digest(ours)))
    for name, path, version in parse_peers(peers_text):
        check_loads(name, path)
        found.append(Allocator(name, path, version or file_digest(path)))
    for name, file_names in SYSTEM_LIBRARIES:
        path = find_system_library(file_names)
        if not path:
            continue
        try:
            check_loads(name, path)
            found.append(Allocator(name, path, package_version(path) or file_digest(path)))
        except BenchError as error:
            notes.append(f"left out: {error}")
    names = [allocator.name for allocator in found]
    for name in names:
        if names.count(name) > 1:
            raise BenchError(f'two allocators are called "{name}"; rename one in PEERS')
    return found, notes


def choose(found, wanted, build):
    """The allocators named in `wanted` (a comma list), or all; ours must exist to be measured."""
    by_name = {allocator.name: allocator for allocator in found}
    names = wanted.split(",") if wanted else [a.name for a in found]
    if not wanted and OURS not in by_name:
        names.append(OURS)
    for name in names:
        if name == OURS and name not in by_name:
            raise BenchError(
                f"there is no {os.path.join(build, 'libration.so')}; run `make` first, or name the "
                f"allocators to compare without it: --allocators {','.join(by_name)}")
        if name not in by_name:
            raise BenchError(f'no allocator "{name}" was found; there are: {", ".join(by_name)}')
    return [by_name[name] for name in names]
