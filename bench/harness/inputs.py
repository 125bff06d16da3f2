"""Inputs for the real programs, made from fixed seeds: scripts as they are, and generated texts."""

import random

PYTHON_SCRIPT = '''\
import json, random, sys
count = int(sys.argv[1])
draw = random.Random(1)
records = [{"id": i, "name": "user%d" % draw.randrange(count), "tags": [str(draw.random())[:6] for _ in
           range(draw.randrange(6))], "score": draw.random()} for i in range(count)]
text = json.dumps(records)
back = json.loads(text)
groups = {}
for record in back:
    groups.setdefault(record["name"], []).append((record["score"], record["id"]))
ranked = sorted(groups.items(), key=lambda pair: (len(pair[1]), pair[0]))
words = text.replace('"', " ").split()
counts = {}
for word in words:
    counts[word] = counts.get(word, 0) + 1
total = 0
for round in range(4):
    copies = [dict(record, round=round) for record in back[round::4]]
    total += sum(len(str(copy)) for copy in copies)
print(len(text), len(ranked), len(counts), total)
'''

PERL_SCRIPT = r'''
use strict; use warnings;
my ($count, $state, %seen, @lines) = ($ARGV[0], 1);
sub draw { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return ($state >> 8) % $_[0]; }
for my $i (1 .. $count) {
    my $line = join ' ', map { 'w' . draw(20000) . 'x' x draw(20) } 1 .. 6;
    push @lines, $line;
    $seen{$_}++ for split / /, $line;
}
my @order = sort { $seen{$b} <=> $seen{$a} || $a cmp $b } keys %seen;
my %by_length;
push @{ $by_length{length $_} }, $_ for @order;
my $changed = 0;
for my $line (@lines) { $changed++ if $line =~ s/w(\d+)x+ (\w+)/$2-$1/g; }
print scalar(@order), ' ', scalar(keys %by_length), ' ', $changed, ' ', length(join '', @lines), "\n";
'''

LUA_SCRIPT = '''\
local count, state = tonumber(arg[1]), 1
local function draw(n)
  state = (state * 1103515245 + 12345) & 0x7fffffff
  return (state >> 8) % n
end
local items, index = {}, {}
for i = 1, count do
  local item = { id = i, name = "item" .. draw(count), size = draw(1000), links = {} }
  for k = 1, draw(4) do item.links[k] = draw(count) end
  items[i] = item
  index[item.name] = (index[item.name] or 0) + 1
end
table.sort(items, function(a, b)
  if a.size ~= b.size then return a.size < b.size end
  return a.id < b.id
end)
local total = 0
for round = 1, 6 do
  local parts = {}
  for i = round, count, 6 do
    parts[#parts + 1] = items[i].name .. ":" .. items[i].size
  end
  local text = table.concat(parts, ",")
  for word in text:gmatch("[^,]+") do total = total + #word:upper() end
end
local names = 0
for _ in pairs(index) do names = names + 1 end
print(names, total)
'''

RUBY_SCRIPT = '''\
count = ARGV[0].to_i
draw = Random.new(1)
Item = Struct.new(:id, :name, :words, :score)
items = Array.new(count) do |i|
  Item.new(i, "item#{draw.rand(count)}", Array.new(draw.rand(5)) { "word#{draw.rand(5000)}" * 3 }, draw.rand)
end
groups = items.group_by(&:name)
words = Hash.new(0)
items.each { |item| item.words.each { |word| words[word.upcase] += 1 } }
ranked = items.sort_by { |item| [-item.words.size, item.score] }
text = ranked.map { |item| "#{item.id}:#{item.words.join('+')}" }.join(",")
total = text.split(",").map { |part| part.gsub(/[0-9]+/) { |digits| digits.reverse }.length }.sum
puts groups.size, words.size, total
'''

NODE_SCRIPT = '''\
const count = Number(process.argv[2]);
let state = 1;
function draw(n) { state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff; return (state >> 8) % n; }
const records = [];
for (let i = 0; i < count; i++) {
  records.push({ id: i, name: 'user' + draw(count), tags: [draw(99), draw(99)], note: 'x'.repeat(draw(60)) });
}
const text = JSON.stringify(records);
const back = JSON.parse(text);
const groups = new Map();
for (const record of back) {
  if (!groups.has(record.name)) groups.set(record.name, []);
  groups.get(record.name).push(record.id);
}
const kept = new Array(500);
let total = 0;
for (let i = 0; i < count * 2; i++) {
  const buffer = Buffer.alloc(4096 + draw(20000), i & 255);
  total += buffer[draw(buffer.length)];
  kept[draw(500)] = buffer;
}
console.log(text.length, groups.size, total);
'''

C_FUNCTION = """
struct s%(n)d { int a, b; double x[%(w)d]; struct s%(n)d *next; };
static int step%(n)d(struct s%(n)d *s, int k)
{
    int total = %(a)d;
    for (int i = 0; i < %(w)d; i++) {
        if (s->x[i] > k) { total += (int)(s->x[i] * %(b)d) ^ (total << 3); }
        else { s->x[i] += s->b - k * i; total -= s->a; }
    }
    switch (total & 7) {
    case 0: return total * %(b)d;
    case 1: s->a ^= total; break;
    case 2: for (int i = 1; i < %(w)d; i++) s->x[i] = s->x[i - 1] * 0.5 + i; break;
    case 3: return s->next ? step%(n)d(s->next, k - 1) : k;
    default: s->b += total %% %(c)d;
    }
    return total + s->b;
}
int run%(n)d(int n)
{
    struct s%(n)d items[%(c)d] = {0};
    int sum = 0;
    for (int i = 0; i < n; i++) {
        struct s%(n)d *item = &items[(i * %(a)d) %% %(c)d];
        item->next = &items[(i + 1) %% %(c)d];
        sum += step%(n)d(item, i & %(b)d);
    }
    return sum;
}
"""


def c_source(functions):
    draw = random.Random(1)
    return "".join(
        C_FUNCTION % {"n": n, "w": draw.randrange(4, 24), "a": draw.randrange(3, 99),
                      "b": draw.randrange(3, 31), "c": draw.randrange(5, 40)}
        for n in range(functions))


CXX_HEAD = """
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Key { int v; bool operator<(const Key &o) const { return v % (N + 2) < o.v % (N + 2); } };
"""

CXX_UNIT = """
namespace u%(n)d {
using Value = std::variant<int, std::string, std::vector<Key<%(n)d>>, std::tuple<double, Key<%(n)d>>>;
struct Node { std::map<Key<%(n)d>, Value> fields; std::vector<std::unique_ptr<Node>> children; };
int walk(const Node &node, const std::function<int(const Value &)> &visit)
{
    int sum = 0;
    for (auto &[key, value] : node.fields) sum += key.v * visit(value);
    for (auto &child : node.children) sum += walk(*child, visit);
    return sum;
}
int run(int count)
{
    Node root;
    std::unordered_map<std::string, std::set<Key<%(n)d>>> index;
    for (int i = 0; i < count; i++) {
        auto child = std::make_unique<Node>();
        child->fields[Key<%(n)d>{i}] = std::to_string(i * %(a)d);
        child->fields[Key<%(n)d>{i + %(a)d}] = std::vector<Key<%(n)d>>(i %% 9, Key<%(n)d>{i});
        index[std::to_string(i %% 17)].insert(Key<%(n)d>{i});
        root.children.push_back(std::move(child));
    }
    std::sort(root.children.begin(), root.children.end(),
              [](auto &a, auto &b) { return a->fields.begin()->first < b->fields.begin()->first; });
    return walk(root, [](const Value &value) {
        return std::visit([](auto &v) -> int {
            using T = std::decay_t<decltype(v)>;
            if constexpr (std::is_same_v<T, int>) return v;
            else if constexpr (std::is_same_v<T, std::string>) return (int)v.size();
            else if constexpr (std::is_same_v<T, std::tuple<double, Key<%(n)d>>>) return std::get<1>(v).v;
            else return (int)v.size();
        }, value);
    }) + (int)index.size();
}
}
"""


def cxx_source(units):
    return CXX_HEAD + "".join(CXX_UNIT % {"n": n, "a": 3 + 2 * n} for n in range(units))


def sql_script(rows):
    return f"""
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, amount INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO orders SELECT i, (i * 7919) % 5003, 'item' || ((i * 104729) % 997), (i * 31) % 1009 FROM n;
CREATE INDEX by_customer ON orders(customer, amount);
CREATE TABLE totals AS SELECT customer, count(*) AS n, sum(amount) AS total FROM orders GROUP BY customer;
SELECT count(*), sum(n), max(total) FROM totals;
SELECT item, count(*) AS n, group_concat(amount) FROM orders GROUP BY item ORDER BY n DESC, item LIMIT 3;
SELECT count(*) FROM orders AS a JOIN totals AS t ON t.customer = a.customer WHERE t.total > 20000;
DELETE FROM orders WHERE id % 3 = 0;
SELECT count(*), sum(length(item)) FROM orders;
"""


def smt_problem(nodes):
    """Colours a random graph of `nodes` with four colours, and orders numbers along its edges."""
    draw = random.Random(2)
    lines = []
    for n in range(nodes):
        lines += [f"(declare-const c{n} Int)", f"(declare-const x{n} Int)",
                  f"(assert (and (>= c{n} 0) (< c{n} 4) (>= x{n} 0) (<= x{n} {nodes * 6})))"]
    for n in range(1, nodes):
        for other in draw.sample(range(n), min(n, 3)):
            lines.append(f"(assert (not (= c{n} c{other})))")
            lines.append(f"(assert (or (> x{n} (+ x{other} c{n} 1)) (> x{other} (+ x{n} c{other} 2))))")
    lines.append(f"(assert (> (+ {' '.join(f'(* {n % 5 + 1} x{n})' for n in range(nodes))}) {nodes * 20}))")
    return "\n".join(lines) + "\n(check-sat)\n"


def postscript(pages):
    draw = random.Random(3)
    lines = ["%!PS", "/Helvetica findfont 9 scalefont setfont"]
    for page in range(pages):
        for _ in range(2500):
            x, y = draw.randrange(560), draw.randrange(780)
            lines.append(f"{draw.random():.2f} setgray newpath {x} {y} moveto {draw.randrange(80)} "
                         f"{draw.randrange(80)} {draw.randrange(80)} {draw.randrange(80)} 40 40 rcurveto "
                         f"closepath fill")
            lines.append(f"0 setgray {x} {y} moveto (page {page} at {x} {y}) show")
        lines.append("showpage")
    return "\n".join(lines) + "\n"


def git_history(commits):
    """A stream for git fast-import: files that change a few lines at a time."""
    draw = random.Random(4)
    files = [[f"line {n} of file {f} {draw.random()}" for n in range(400)] for f in range(20)]
    out = []
    for commit in range(commits):
        message = f"change {commit}"
        out += ["commit refs/heads/main", f"committer A <a@example.org> {1000000000 + commit} +0000",
                f"data {len(message)}", message]
        for f in draw.sample(range(20), 3):
            for _ in range(4):
                files[f][draw.randrange(400)] = f"changed in {commit} to {draw.random()}"
            text = "\n".join(files[f])
            out += [f"M 100644 inline dir{f % 4}/file{f}.txt", f"data {len(text)}", text]
    return "\n".join(out) + "\n"
