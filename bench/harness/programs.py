"""Real programs as rows. The inputs are made here, from fixed seeds, when a row is run."""

import os
import shutil
import subprocess
import sys
import time

import inputs as make


class Program:
    def __init__(self, name, what, arrange, find=None):
        self.name = name
        self.what = what
        self.arrange = arrange
        self.find = find or (lambda: shutil.which(name))

    def make(self, path, inputs, scale):
        """The arguments of a Job."""
        return self.arrange(path, inputs, scale)


def write(inputs, name, text):
    path = os.path.join(inputs, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def find_python():
    for path in ("/usr/bin/python3", sys.executable):
        if path and os.path.exists(path):
            return path
    return None


def arrange_python(path, inputs, scale):
    script = write(inputs, "records.py", make.PYTHON_SCRIPT)
    return {"command": [path, "-I", "-S", script, str(int(45000 * scale) + 1)],
            "environment": {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}}


def arrange_gcc(path, inputs, scale):
    source = write(inputs, "functions.c", make.c_source(int(75 * scale) + 1))
    return {"command": [path, "-O2", "-w", "-S", "-o", "-", source]}


def arrange_gxx(path, inputs, scale):
    source = write(inputs, "containers.cc", make.cxx_source(int(2 * scale) + 1))
    return {"command": [path, "-std=c++17", "-O1", "-w", "-S", "-o", "-", source]}


def arrange_perl(path, inputs, scale):
    script = write(inputs, "words.pl", make.PERL_SCRIPT)
    return {"command": [path, script, str(int(45000 * scale) + 1)],
            "environment": {"PERL_HASH_SEED": "0"}}


def arrange_sqlite(path, inputs, scale):
    script = write(inputs, "orders.sql", make.sql_script(int(300000 * scale) + 1))
    return {"command": [path, "-batch", ":memory:", f".read {script}"]}


def arrange_lua(path, inputs, scale):
    script = write(inputs, "tables.lua", make.LUA_SCRIPT)
    return {"command": [path, script, str(int(140000 * scale) + 1)]}


def arrange_ruby(path, inputs, scale):
    script = write(inputs, "objects.rb", make.RUBY_SCRIPT)
    return {"command": [path, "--disable=gems", script, str(int(80000 * scale) + 1)]}


def arrange_z3(path, inputs, scale):
    problem = write(inputs, "colours.smt2", make.smt_problem(int(150 * scale) + 8))
    return {"command": [path, "sat.random_seed=1", "smt.random_seed=1", problem]}


def arrange_ghostscript(path, inputs, scale):
    page = write(inputs, "pages.ps", make.postscript(int(10 * scale) + 1))
    return {"command": [path, "-q", "-dSAFER", "-dNOPAUSE", "-dBATCH", "-sDEVICE=pnggray", "-r110",
                        "-sOutputFile=/dev/null", page]}


def arrange_git(path, inputs, scale):
    repository = os.path.join(inputs, "history.git")
    shutil.rmtree(repository, ignore_errors=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    subprocess.run([path, "init", "--bare", "-q", repository], **quiet)
    subprocess.run([path, "-C", repository, "fast-import", "--quiet"],
                   input=make.git_history(int(500 * scale) + 5).encode(), **quiet)
    return {"command": [path, "-C", repository, "-c", "pack.threads=1", "pack-objects", "--all",
                        "--no-reuse-delta", "--window=30", "--stdout", "-q"]}


def arrange_node(path, inputs, scale):
    script = write(inputs, "buffers.js", make.NODE_SCRIPT)
    return {"command": [path, script, str(int(60000 * scale) + 1)]}


def find_redis():
    tools = [shutil.which(name) for name in ("redis-server", "redis-benchmark", "redis-cli")]
    return tools[0] if all(tools) else None


def arrange_redis(path, inputs, scale):
    socket = os.path.join(inputs, "redis.sock")
    requests = int(60000 * scale) + 1000
    return {
        "command": [path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no",
                    "--dir", inputs, "--daemonize", "no", "--logfile", "/dev/null"],
        "drive": lambda process: drive_redis(process, socket, requests),
        "compare_output": False,
    }


def redis_cli(socket, *words):
    done = subprocess.run(["redis-cli", "-s", socket, *words], capture_output=True, text=True,
                          timeout=30)
    return done.stdout


def drive_redis(process, socket, requests):
    """Loads the server from outside, empties it, waits, reads its resident memory, ends it. The
    clients run without preload. Returns figures and, where something went wrong, what."""
    for _ in range(200):
        if os.path.exists(socket) and "PONG" in redis_cli(socket, "ping"):
            break
        if process.poll() is not None:
            return {}, ""
        time.sleep(0.02)
    else:
        process.terminate()
        return {}, "redis-server did not answer within 4 s"
    done = subprocess.run(
        ["redis-benchmark", "-s", socket, "-q", "-n", str(requests), "-r", "30000", "-d", "200",
         "-P", "8", "-t", "set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        process.terminate()
        return {}, f"redis-benchmark: {done.stderr.strip()[-160:]}"
    redis_cli(socket, "flushall", "sync")
    time.sleep(2)
    memory = dict(line.split(":", 1) for line in redis_cli(socket, "info", "everything").splitlines()
                  if ":" in line)
    with open(f"/proc/{memory['process_id']}/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
    redis_cli(socket, "shutdown", "nosave")
    return {"idle_ms": "2000", "rss_after_kib": str(resident),
            "live_kib": str(int(memory["used_memory"]) // 1024)}, ""


PROGRAMS = [
    Program("gcc", "gcc -O2 on a generated C file", arrange_gcc),
    Program("g++", "g++ -O1 on generated code full of standard containers", arrange_gxx),
    Program("clang++", "clang++ -O1 on the same C++ file", arrange_gxx),
    Program("python3", "JSON, dictionaries and sorting, with PYTHONMALLOC=malloc", arrange_python,
            find_python),
    Program("perl", "hashes of words, regular expressions, sorting", arrange_perl),
    Program("lua5.4", "tables, strings and closures", arrange_lua),
    Program("ruby", "objects, strings, hashes and sorting", arrange_ruby),
    Program("node", "JSON, maps and many small buffers", arrange_node),
    Program("sqlite3", "inserts, an index and GROUP BY, in memory", arrange_sqlite),
    Program("redis-server", "redis-benchmark's commands over a socket, then FLUSHALL", arrange_redis,
            find_redis),
    Program("z3", "colouring a random graph and a few linear constraints", arrange_z3),
    Program("gs", "pages of generated PostScript at 110 dpi", arrange_ghostscript),
    Program("git", "pack-objects over a generated history", arrange_git),
]
