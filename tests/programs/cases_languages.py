"""Interpreters and virtual machines."""
import os
import sys

from harness import Skip, expect, need

PYTHON = r'''
import collections, json, re, threading, zlib
d = {str(i): [j for j in range(i % 50)] for i in range(60000)}
text = json.dumps(d, sort_keys=True); print(len(text), zlib.crc32(text.encode()))
assert json.loads(text) == d
words = collections.Counter(re.findall(r"[0-9]{2}", text)); print(words.most_common(5))
class Node:
    def __init__(self, left, right): self.left, self.right, self.me = left, right, self
def tree(n): return Node(tree(n - 1), tree(n - 1)) if n else None
for _ in range(6): t = tree(12)
results = [None] * 8
def work(k): results[k] = sum(len(str(i) * (i % 90)) for i in range(20000 * k, 20000 * k + 20000))
threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
[x.start() for x in threads]; [x.join() for x in threads]; print(results)
s = ""
for i in range(50000): s += chr(97 + i % 26)
print(len(s), zlib.crc32(s.encode())); b = bytearray()
for i in range(300): b += bytes(i * 37)
print(len(b))
'''

PYTHON_TESTS = ['test_list', 'test_dict', 'test_set', 'test_bytes', 'test_unicode', 'test_json',
                'test_re', 'test_deque', 'test_array', 'test_collections', 'test_itertools',
                'test_heapq', 'test_gc', 'test_zlib', 'test_struct', 'test_weakref', 'test_thread']


def python_malloc(case):
    python = need('python3')
    case.same_output([python, '-I', '-c', PYTHON], env={'PYTHONMALLOC': 'malloc'}, seconds=120)


def python(case):
    case.same_output([need('python3'), '-I', '-c', PYTHON], seconds=120)


def python_tests(case):
    """CPython's own tests, with every object from malloc."""
    for interpreter in (sys.executable, '/usr/bin/python3'):
        if interpreter and os.path.exists(interpreter):
            probe = case.plain.run([interpreter, '-c', 'import test.libregrtest, test.test_list'],
                                   status=None)
            if probe.returncode == 0:
                break
    else:
        raise Skip('no python3 with its test package (Debian: libpython3-testsuite)')
    done = case.under.run([interpreter, '-m', 'test', '-j2', '--timeout', '200'] + PYTHON_TESTS,
                          seconds=400, env={'PYTHONMALLOC': 'malloc'}, status=None)
    if done.returncode != 0:
        plain = case.plain.run([interpreter, '-m', 'test', '-j2'] + PYTHON_TESTS, seconds=400,
                               env={'PYTHONMALLOC': 'malloc'}, status=None)
        expect(plain.returncode == done.returncode, 'python -m test: %s', done.stdout[-1500:])


PERL = r'''
my (%h, @a); for my $i (1..200000) { $h{$i % 7001} .= "x$i"; push @a, [$i, "s" x ($i % 40)]; }
my $n = 0; $n += length for values %h; print "$n ", scalar(@a), "\n";
my $t = join ",", map { $_->[1] } @a[0..5000]; $t =~ s/(s{3,9})/<$1>/g; print length($t), "\n";
@a = sort { $b->[0] <=> $a->[0] } @a; print $a[0][0], "\n"; undef @a;
for (1..20) { my $pid = fork; if (!$pid) { my @x = (1) x 10000; exit 0 } waitpid $pid, 0; die if $?; }
print "done\n";
'''


def perl(case):
    case.same_output([need('perl'), '-e', PERL])


RUBY = r'''
h = Hash.new { |x, k| x[k] = [] }
200_000.times { |i| h[i % 5003] << "v#{i}" * (i % 7) }
puts h.size, h.values.sum { |v| v.sum(&:size) }
t = 8.times.map { |k| Thread.new { (1..20_000).map { |i| (i * k).to_s.reverse }.join.size } }
p t.map(&:value)
s = +""; 100_000.times { |i| s << (97 + i % 26).chr }; puts s.gsub(/[aeiou]+/) { |m| m.upcase }.hash == 0 ? 1 : s.size
5.times { GC.start; GC.compact if GC.respond_to?(:compact) rescue nil }
puts (1..300).reduce(:*).to_s.size
pid = fork { exit 0 }; Process.wait pid; puts $?.exitstatus
'''


def ruby(case):
    case.same_output([need('ruby'), '-e', RUBY], seconds=120)


LUA = r'''
local t = {} for i = 1, 300000 do t[i % 9973] = (t[i % 9973] or "") .. (i % 10) end
local n = 0 for _, s in pairs(t) do n = n + #s end print(n)
local parts = {} for i = 1, 100000 do parts[#parts + 1] = tostring(i) end
local s = table.concat(parts, ",") print(#s, select(2, s:gsub("7+", "<%0>")))
for r = 1, 10 do local x = {} for i = 1, 20000 do x[i] = {i, {i}} end collectgarbage() end print("done")
'''


def lua(case):
    case.same_output([need('lua5.4'), '-e', LUA])


PHP = r'''
$h = []; for ($i = 0; $i < 200000; $i++) { $k = $i % 5003; $h[$k] = ($h[$k] ?? "") . "v$i"; }
echo count($h), " ", array_sum(array_map("strlen", $h)), "\n";
$o = []; for ($i = 0; $i < 50000; $i++) { $o[] = (object)["n" => $i, "s" => str_repeat("x", $i % 60)]; }
usort($o, fn($a, $b) => $b->n <=> $a->n); echo $o[0]->n, "\n"; unset($o); gc_collect_cycles();
echo strlen(json_encode($h)), " ", strlen(preg_replace("/v(\d)/", "<$1>", implode(",", $h))), "\n";
foreach (["ctype", "tokenizer", "pdo", "phar", "fileinfo"] as $e) echo $e, extension_loaded($e) ? " is there\n" : " is missing\n";
echo count(token_get_all("<?php " . str_repeat('$a = foo($b);', 2000))), "\n";
'''


def php(case):
    """It opens its extensions with RTLD_DEEPBIND, and frees what they allocate."""
    program = need('php')
    for env in ({}, {'USE_ZEND_ALLOC': '0'}):
        case.same(lambda side, e=env: side.run(
            [program, side.write('work.php', '<?php ' + PHP)], env=e, seconds=120).stdout)


NODE = r'''
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
function churn(seed) {
  const m = new Map(); let sum = 0;
  for (let i = 0; i < 200000; i++) {
    const k = (i * 7919 + seed) % 5003; m.set(k, { k, s: 'x'.repeat(i % 60), b: Buffer.alloc(i % 500) });
    if (i % 3 == 0) m.delete((i * 31) % 5003);
  }
  for (const v of m.values()) sum += v.k + v.s.length + v.b.length;
  const text = JSON.stringify([...m.values()].map(v => v.k)); return [sum, JSON.parse(text).length];
}
if (isMainThread) {
  const results = []; let left = 4;
  for (let w = 0; w < 4; w++) {
    const worker = new Worker(__filename, { workerData: w });
    worker.on('message', r => { results[w] = r; });
    worker.on('exit', () => { if (--left == 0) {
      const z = require('zlib'), c = require('crypto');
      const big = Buffer.from('abc'.repeat(500000));
      console.log(JSON.stringify(results), z.inflateSync(z.deflateSync(big)).length,
                  c.createHash('sha256').update(big).digest('hex')); } });
  }
} else parentPort.postMessage(churn(workerData));
'''


def node(case):
    program = need('node')
    case.same(lambda side: side.run([program, side.write('work.js', NODE)], seconds=120).stdout)


JAVA = r'''
import java.util.*;
import java.util.concurrent.*;
public class Churn {
    static long work(int seed) {
        Map<Integer, byte[]> live = new HashMap<>();
        Random random = new Random(seed);
        long sum = 0;
        for (int i = 0; i < 300000; i++) {
            live.put(random.nextInt(3000), new byte[random.nextInt(900)]);
            if (i % 5 == 0) live.remove(random.nextInt(3000));
        }
        for (byte[] b : live.values()) sum += b.length;
        return sum;
    }
    public static void main(String[] a) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> results = new ArrayList<>();
        for (int i = 0; i < 8; i++) { final int k = i; results.add(pool.submit(() -> work(k))); }
        for (Future<Long> f : results) System.out.println(f.get());
        pool.shutdown();
        java.util.zip.Deflater d = new java.util.zip.Deflater();
        d.setInput(new byte[1000000]); d.finish();
        System.out.println(d.deflate(new byte[100000])); d.end();
    }
}
'''


def java(case):
    program = need('java')
    version = case.same(lambda side: side.run([program, '-version']).stderr)
    expect('version' in version, 'java -version: expected a version, got %s', version)
    if os.path.exists(os.path.join(os.path.dirname(os.path.realpath(program)), 'javac')):
        for collector in ('-XX:+UseG1GC', '-XX:+UseSerialGC'):
            case.same(lambda side, c=collector: side.run(
                [program, '-Xmx256m', c, side.write('Churn.java', JAVA)], seconds=120).stdout)


CASES = {f.__name__: f for f in (python, python_malloc, python_tests, perl, ruby, lua, php, node, java)}
