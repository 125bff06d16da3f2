"""What the cases share: fresh folders, time limits, runs with and without the library."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# Nothing in the environment may make two runs of a program differ.
BASE_ENV = {
    'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games',
    'LANG': 'C.UTF-8', 'LC_ALL': 'C.UTF-8', 'TZ': 'UTC', 'TERM': 'dumb',
    'GIT_CONFIG_NOSYSTEM': '1', 'GIT_AUTHOR_NAME': 'A', 'GIT_AUTHOR_EMAIL': 'a@example.org',
    'GIT_COMMITTER_NAME': 'A', 'GIT_COMMITTER_EMAIL': 'a@example.org',
    'GIT_AUTHOR_DATE': '2020-01-01T00:00:00Z', 'GIT_COMMITTER_DATE': '2020-01-01T00:00:00Z',
    'PYTHONHASHSEED': '0', 'PYTHONDONTWRITEBYTECODE': '1',
}


LEDGER = 'ration: the heap, in bytes'


class Skip(Exception):
    """The case cannot run here; the text says what is missing."""


class Failure(Exception):
    """The text says what was expected and what came."""


def need(*programs):
    """The paths of programs; skips the case when one is absent."""
    paths = [shutil.which(p, path=BASE_ENV['PATH']) for p in programs]
    for program, path in zip(programs, paths):
        if path is None:
            raise Skip('%s is not installed' % program)
    return paths[0] if len(paths) == 1 else paths


def expect(condition, text, *values):
    if not condition:
        raise Failure(text % values if values else text)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_for_port(port, process, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        if process.poll() is not None:
            raise Failure('server ended with status %s before it listened' % process.returncode)
        try:
            socket.create_connection(('127.0.0.1', port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failure('expected a listener on port %d within %d s' % (port, seconds))


class Side:
    """One way of running programs, plain or under the library, in a folder of its own."""

    def __init__(self, folder, library):
        self.folder = folder
        self.library = library
        self.processes = []
        self.n_logs = 0

    def environment(self, extra=None):
        env = dict(BASE_ENV, HOME=self.folder, TMPDIR=self.folder, **(extra or {}))
        if self.library:
            env['LD_PRELOAD'] = self.library
        return env

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)
        return self.path(name)

    def run(self, command, seconds=60, status=0, env=None, stdin=None, **more):
        """Runs to the end; checks status and that no misuse was reported. Gives CompletedProcess."""
        process = subprocess.Popen(command, env=self.environment(env), text=True, errors='replace',
                                   cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                   start_new_session=True, **more)
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise Failure('%s: expected an end within %d s, got a hang'
                          % (' '.join(map(str, command))[:200], seconds)) from None
        self.check_report(command, err)
        expect(status is None or process.returncode == status,
               '%s: expected status %s, got %s; stderr ends: %s', ' '.join(map(str, command))[:200],
               status, process.returncode, err[-500:])
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def check_report(self, command, text):
        """A report of misuse, or any message that the library did not print before, is a failure."""
        lines = [line for line in text.splitlines()
                 if line.startswith('ration: ') and not line.startswith(LEDGER)]
        expect(not lines, '%s: %s', ' '.join(map(str, command))[:100], lines[:1])

    def start(self, command, env=None, **more):
        """Starts a server that close() ends; its output goes to a log file."""
        self.n_logs += 1
        with open(self.path('log%d.txt' % self.n_logs), 'w') as log:
            process = subprocess.Popen(command, env=self.environment(env), cwd=self.folder,
                                       stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                       start_new_session=True, **more)
        self.processes.append(process)
        return process

    def check_mapped(self, pid):
        """Under the library, it must really be in that process."""
        if self.library:
            with open('/proc/%d/maps' % pid) as maps:
                expect(self.library in maps.read(), 'process %d does not have the library mapped',
                       pid)

    def check_logs(self):
        for i in range(1, self.n_logs + 1):
            with open(self.path('log%d.txt' % i), errors='replace') as log:
                self.check_report(['server log %d' % i], log.read())

    def close(self):
        for process in self.processes:
            kill_group(process)


def kill_group(process):
    """Ends a process that this runner started, with its children; first politely."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(seconds)
            if number == signal.SIGTERM:
                continue
        except subprocess.TimeoutExpired:
            continue


class Case:
    """Two sides of one program: plain and under the library."""

    def __init__(self, library, native):
        self.root = tempfile.mkdtemp(prefix='ration-programs-')
        os.chmod(self.root, 0o755)
        # A copy that any user may read, whatever the modes of the build folder are.
        self.library = shutil.copy(library, os.path.join(self.root, 'libration.so'))
        os.chmod(self.library, 0o755)
        self.native = native
        self.sides = []
        self.plain = self.new_side('plain', None)
        self.under = self.new_side('under', self.library)

    def new_side(self, name, library):
        folder = os.path.join(self.root, name)
        os.mkdir(folder)
        side = Side(folder, library)
        self.sides.append(side)
        return side

    def same(self, action, what='output'):
        """action(side) must give the same on both sides."""
        plain, under = action(self.plain), action(self.under)
        if plain != under:
            raise Failure('%s differs under the library: %s' % (what, first_difference(plain, under)))
        return under

    def same_output(self, command, **more):
        return self.same(lambda side: side.run(command, **more).stdout)

    def close(self):
        for side in self.sides:
            side.close()
        shutil.rmtree(self.root, ignore_errors=True)


def first_difference(plain, under):
    if isinstance(plain, str) and isinstance(under, str):
        left, right = plain.splitlines(), under.splitlines()
        for i, (a, b) in enumerate(zip(left, right)):
            if a != b:
                return 'line %d: "%s" became "%s"' % (i + 1, a[:150], b[:150])
        return '%d lines became %d' % (len(left), len(right))
    return '%.200r became %.200r' % (plain, under)
