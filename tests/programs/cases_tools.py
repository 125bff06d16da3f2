"""Shells, small tools, git, editors, compilers, debuggers."""
import os

from harness import Skip, expect, need

BASH = r'''
declare -A seen; words=()
for i in {1..4000}; do k=$((i * 7919 % 1009)); seen[$k]+="x$i"; words+=("w$k"); done
echo ${#seen[@]} ${#words[@]} "${seen[5]}"
s=""; for i in {1..2000}; do s+="$i,"; done; echo ${#s} "${s//1/one}" | cksum
f() { local x=$1; ((x > 0)) && f $((x - 1)); echo -n "$x "; }; f 50; echo
for i in {1..60}; do x=$(echo "$i" | sed s/1/2/ ; true); done; echo "$x"
cat <(seq 1 1000) <(seq 5 10) | sort -n | tail -3
mapfile -t lines < <(seq 1 20000); echo ${#lines[@]} ${lines[19999]}
trap 'echo bye' EXIT; (exit 3); echo $?
'''


def bash(case):
    case.same_output([need('bash'), '-c', BASH])


def coreutils(case):
    need('ls', 'sort', 'find', 'tar', 'awk')
    case.same_output(['ls', '-lR', '/usr/include'])
    case.same_output(['sh', '-c', 'seq 1 300000 | sort -R --random-source=/bin/sh | sort -n '
                                  '--parallel=4 -S 8M | md5sum'])
    case.same_output(['sh', '-c', 'find /usr/share/doc -type f | grep -E "[aeiou]{2}" | sort | md5sum'])
    case.same_output(['sh', '-c', 'tar cf - /usr/include 2>/dev/null | gzip -n | md5sum'])
    case.same_output(['awk', 'BEGIN { for (i = 0; i < 200000; i++) a[i % 5003] = a[i % 5003] i; '
                             'n = 0; for (k in a) n += length(a[k]); print n }'])


def xz_threads(case):
    need('xz')
    case.same_output(['sh', '-c', 'seq 1 2000000 | xz -1 -T2 --block-size=1MiB | xz -d -T2 | md5sum'])


def make_commits(side):
    """300 commits; the hash of the last one proves that all went well."""
    git = need('git')
    script = ['set -e', 'git init -q -b main r', 'cd r', 'git config gc.auto 0', 'seq 1 500 > a',
              'git add a', 'git commit -q -m 0']
    script += ['for i in $(seq 1 300); do echo line $i >> a; echo $i > f$((i % 40)); git add -A; '
               'git commit -q -m "commit $i"; done',
               'git gc -q --prune=now', 'git fsck --strict 2>&1', 'git log --stat | md5sum',
               'git rev-parse HEAD', 'git blame a | md5sum', 'git count-objects -v | grep -v size',
               'git checkout -q -b side HEAD~50', 'echo x > side', 'git add side',
               'git commit -q -m side', 'git merge -q -m merged main', 'git rev-parse HEAD^{tree}',
               'git grep -c line HEAD | tail -2', 'git archive HEAD | md5sum']
    del git
    return side.run(['sh', '-c', '\n'.join(script)], seconds=240).stdout


def git(case):
    case.same(make_commits)


def git_of_a_real_repository(case):
    """A clone of the repository that these tests live in: packed anew with threads, then checked."""
    need('git')
    here = os.path.dirname(os.path.abspath(__file__))
    top = os.path.join(here, '..', '..')
    if not os.path.isdir(os.path.join(top, '.git')):
        raise Skip('the tests are not in a git repository')
    script = ('git -c safe.directory="*" clone -q --no-local --bare "file://$0" r && cd r && '
              'git repack -q -a -d -f --depth=50 --window=50 --threads=4 && git gc -q && '
              'git fsck --full && git log --all --stat -p | md5sum && git rev-list --all | wc -l')
    case.same(lambda side: side.run(['sh', '-c', script, os.path.abspath(top)], seconds=120,
                                    env={'GIT_CONFIG_COUNT': '1',
                                         'GIT_CONFIG_KEY_0': 'safe.directory',
                                         'GIT_CONFIG_VALUE_0': '*'}).stdout)


def c_source(n):
    """A large C file: n functions with switches, structures, string tables."""
    parts = ['#include <stdio.h>\n#include <string.h>\n']
    for i in range(n):
        parts.append('struct s%d { int a[%d]; double d; char *p; };\n'
                     'static int f%d(struct s%d *s, int n)\n{\n    int r = %d;\n'
                     '    for (int i = 0; i < n; i++) switch ((i * %d) & 15) {\n%s'
                     '    default: r ^= s->a[i %% %d];\n    }\n    return r + (int)strlen(s->p);\n}\n'
                     % (i, i % 7 + 1, i, i, i, i | 1,
                        ''.join('    case %d: r += s->a[%d %% %d] * %d; break;\n'
                                % (k, k, i % 7 + 1, k + i) for k in range(12)), i % 7 + 1))
    parts.append('int main(void)\n{\n    long sum = 0;\n')
    parts += ['    { struct s%d s = {{%d}, 1.5, "text%d"}; sum += f%d(&s, %d); }\n'
              % (i, i, i, i, i % 50) for i in range(n)]
    parts.append('    printf("%ld\\n", sum);\n    return 0;\n}\n')
    return ''.join(parts)


CXX_SOURCE = '''
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct deep { static constexpr long value = deep<N - 1>::value + N; };
template <> struct deep<0> { static constexpr long value = 0; };
template <int... I> long sum(std::integer_sequence<int, I...>) { return (deep<I>::value + ... + 0); }
template <int N> struct node { std::map<std::string, std::variant<int, double, std::string>> m;
    std::vector<std::tuple<int, std::string, node<N - 1> *>> v; int go() { for (int i = 0; i < N; i++)
    m[std::to_string(i)] = std::string(static_cast<unsigned>(i), 'x'); return static_cast<int>(m.size()); } };
template <> struct node<0> { int go() { return 0; } };
template <int N> int all() { return node<N>().go() + all<N - 1>(); }
template <> int all<0>() { return 0; }
int main()
{
    std::cout << sum(std::make_integer_sequence<int, 250>()) << ' ' << all<60>() << '\\n';
    std::regex r("(a|b)+c[0-9]{2,}");
    std::cout << std::regex_search(std::string("xxababc123"), r) << '\\n';
}
'''


def compile_and_run(side, compiler, name, text, flags):
    """The assembly and what the program prints; no path or random name may get into them."""
    side.write(name, text)
    same = ['-ffile-prefix-map=%s=.' % side.folder]
    side.run([compiler] + flags + same + ['-S', '-o', 'out.s', name], seconds=180)
    side.run([compiler] + flags + ['-o', 'out', 'out.s'], seconds=180)
    with open(side.path('out.s')) as f:
        return f.read() + side.run(['./out']).stdout


def gcc(case):
    compiler = need('gcc')
    case.same(lambda side: compile_and_run(side, compiler, 'large.c', c_source(700), ['-O2']))


def gxx(case):
    compiler = need('g++')
    case.same(lambda side: compile_and_run(side, compiler, 'large.cpp', CXX_SOURCE,
                                           ['-O1', '-std=c++17', '-g']))


def gcc_lto(case):
    """Two compilers in parallel at link time. The objects hold paths, compressed: compare results."""
    compiler = need('gcc')
    def build(side):
        side.write('lto.c', c_source(150))
        side.run([compiler, '-O2', '-flto=2', '-o', 'out', 'lto.c'], seconds=180)
        return side.run(['./out']).stdout
    case.same(build)


def clang(case):
    compiler = need('clang')
    case.same(lambda side: compile_and_run(side, compiler, 'large.c', c_source(300), ['-O2']))
    if os.path.exists(compiler + '++'):
        case.same(lambda side: compile_and_run(side, compiler + '++', 'large.cpp', CXX_SOURCE,
                                               ['-O1', '-std=c++17']))


SANITIZED = '''
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    char *p = malloc(20);
    memset(p, argc, argc > 1 ? 21 : 20);
    int bad = p[3] != argc;
    free(p);
    return bad;
}
'''


def sanitized_program(case):
    """A program built with ASan keeps ASan's malloc, and ASan still finds what it is for."""
    compiler = need('gcc')
    side = case.under
    side.write('p.c', SANITIZED)
    built = case.plain.run([compiler, '-g', '-O1', '-fsanitize=address', '-static-libasan', '-o',
                            side.path('p'), side.path('p.c')], status=None)
    if built.returncode != 0:
        raise Skip('gcc has no libasan.a here')
    options = {'ASAN_OPTIONS': 'verify_asan_link_order=0'}
    side.run([side.path('p')], env=options)
    done = side.run([side.path('p'), 'overflow'], env=options, status=None)
    expect(done.returncode != 0 and 'heap-buffer-overflow' in done.stderr,
           'ASan: expected heap-buffer-overflow, got status %s and %s', done.returncode,
           done.stderr[:300])


def vim(case):
    editor = need('vim')
    def edit(side):
        side.write('in.txt', ''.join('line %d of a text\n' % i for i in range(20000)))
        side.run([editor, '-N', '-u', 'NONE', '-es', '-c', '%s/of a/of the/g', '-c', 'g/7$/m0',
                  '-c', '%sort! n', '-c', 'normal! ggdd', '-c', 'undo', '-c', 'redo',
                  '-c', 'w! out.txt', '-c', 'qa!', 'in.txt'], status=None)
        with open(side.path('out.txt')) as f:
            return f.read()
    case.same(edit)


def ssh(case):
    need('ssh', 'ssh-keygen')
    version = case.same(lambda side: side.run(['ssh', '-V']).stderr)
    expect('OpenSSH' in version, 'ssh -V: expected a version, got %s', version)
    case.under.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', 'key'])
    case.under.run(['ssh-keygen', '-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', 'key2'])
    case.same_output(['ssh', '-G', 'example.org'], env={'USER': 'x'})


def gdb(case):
    need('gdb', 'gcc')
    def debug(side):
        side.write('p.c', '#include <stdlib.h>\nint twice(int x)\n{\n    char *p = malloc(10);\n'
                          '    p[0] = 1;\n    free(p);\n    return 2 * x;\n}\n'
                          'int main(void)\n{\n    return twice(21) - 42;\n}\n')
        side.run(['gcc', '-g', '-O0', '-o', 'p', 'p.c'])
        out = side.run(['gdb', '-nx', '-batch', '-ex', 'set debuginfod enabled off',
                        '-ex', 'break twice', '-ex', 'run', '-ex', 'bt', '-ex', 'finish',
                        '-ex', 'info functions twice', '-ex', 'python print(sum(range(100000)))',
                        '-ex', 'continue', './p'], seconds=90).stdout
        wanted = ['Value returned is $1 = 42', '#1 ', 'in main', '4999950000', 'exited normally']
        missing = [text for text in wanted if text not in out]
        expect(not missing, 'gdb: expected %s in its output, got: %s', missing, out[-800:])
        return wanted
    case.same(debug)


CASES = {f.__name__: f for f in (bash, coreutils, xz_threads, git, git_of_a_real_repository, gcc,
                                 gxx, gcc_lto, clang, sanitized_program, vim, ssh, gdb)}
