"""Every way into a process: static, linked, dlopen, beside other copies, early, with little address
space. The programs are in native/."""
import os
import re

from harness import Skip, expect, need

NOBODY = 65534


def native(case, name):
    path = os.path.join(case.native, 'programs_' + name)
    if not os.path.exists(path):
        raise Skip('%s was not built (no static libc, or no such target)' % name)
    return path


def check_identity(out):
    expect('allocator: libration' in out, 'expected libration to serve malloc, got: %s', out)
    expect('work: ok' in out, 'expected the workload to succeed, got: %s', out)


def static_binary(case):
    check_identity(case.plain.run([native(case, 'static')]).stdout)
    check_identity(case.plain.run([native(case, 'static_cxx')]).stdout)


def linked_with_library(case):
    check_identity(case.plain.run([native(case, 'linked')]).stdout)


def preloaded(case):
    check_identity(case.under.run([native(case, 'plain')]).stdout)
    out = case.plain.run([native(case, 'plain')]).stdout
    expect('allocator: other' in out, 'without preload expected another allocator, got: %s', out)


def dlopen_after_start(case):
    out = case.plain.run([native(case, 'dlopen'), case.library]).stdout
    expect('own heap: ok' in out and 'closed: ok' in out, 'dlopen: got %s', out)


def dlopen_many_times(case):
    out = case.plain.run([native(case, 'dlopen'), case.library, '1000'], seconds=120).stdout
    expect('closed: ok' in out, 'dlopen 1000 times: got %s', out)


def deepbind_plugin(case):
    out = case.under.run([native(case, 'deepbind'), os.path.basename(native(case, 'plugin.so'))]).stdout
    expect('plugin: ok' in out, 'deepbind: got %s', out)


def deepbind_kept(case):
    out = case.under.run([native(case, 'deepbind'), native(case, 'plugin.so'), 'apart'],
                         env={'RATION': 'deepbind=keep'}).stdout
    expect('plugin: ok' in out and 'foreign block: reported' in out, 'deepbind=keep: got %s', out)


def early_constructors(case):
    case.same_output([native(case, 'early')])


def two_copies(case):
    """The library preloaded and a second copy of it opened by the program."""
    copy = case.under.path('copy.so')
    with open(case.library, 'rb') as source, open(copy, 'wb') as target:
        target.write(source.read())
    out = case.under.run([native(case, 'dlopen'), copy]).stdout
    expect('own heap: ok' in out and 'closed: ok' in out, 'two copies: got %s', out)
    preload = case.library + ':' + copy
    check_identity(case.plain.run([native(case, 'plain')], env={'LD_PRELOAD': preload}).stdout)


def little_address_space(case):
    """ulimit -v 65536, as every program must bear it that glibc serves."""
    hello = {'python3': ['-S', '-c', 'print("hello")'], 'perl': ['-e', 'print "hello\n"'],
             'bash': ['-c', 'echo hello; x=$(echo a); for i in {1..100}; do y+=$i; done'],
             'lua5.4': ['-e', 'print("hello")'], 'ls': ['/']}
    for program, arguments in hello.items():
        try:
            path = need(program)
        except Skip:
            continue
        case.same_output(['bash', '-c', 'ulimit -v 65536; exec "$0" "$@"', path] + arguments)
    out = case.under.run(['bash', '-c', 'ulimit -v 65536; exec "$0"', native(case, 'plain')]).stdout
    check_identity(out)


def exhausted_address_space(case):
    """malloc until NULL, free all, and again: nothing may crash or get lost."""
    out = case.under.run(['bash', '-c', 'ulimit -v 200000; exec "$0" exhaust', native(case, 'plain')],
                         seconds=120).stdout
    counts = [int(n) for n in re.findall(r'got (\d+) KiB', out)]
    expect(len(counts) == 3 and min(counts) > 100000,
           'ulimit -v 200000: expected three rounds of more than 100000 KiB, got %s', out)
    expect(counts[2] >= counts[0] * 0.9, 'memory got lost between rounds: %s', out)


def seccomp_filters(case):
    """Sandboxes that refuse what an allocator can do without: nothing may end or change."""
    seccomp, plain = native(case, 'seccomp'), native(case, 'plain')
    probe = case.plain.run([seccomp, 'eperm', 'true'], status=None)
    if probe.returncode == 77:
        raise Skip(probe.stdout.strip())
    for mode in ('eperm', 'enosys', 'tight'):
        for setting in ('purge_delay=500', 'purge_delay=0'):
            out = case.under.run([seccomp, mode, plain], env={'RATION': setting}).stdout
            check_identity(out)
        case.same_output([seccomp, mode, need('perl'), '-e',
                          'push @a, "x" x $_ for 1..9000; @a = (); my $b = "y" x 9e6; '
                          '$b .= $b; print length($b), "\n"'])
        case.same_output([seccomp, mode, need('bash'), '-c',
                          'for i in {1..20000}; do x[i]=$i$i$i; done; unset x; echo $(echo $i)'])


def write_file(path, text):
    with open(path, 'w') as f:
        f.write(text)


def check_strict_overcommit(case):
    check_identity(case.under.run([native(case, 'plain')]).stdout)
    committed = [int(case.plain.run(['sh', '-c', 'grep VmData /proc/self/status'],
                                    env={'LD_PRELOAD': library}).stdout.split()[1])
                 for library in ('', case.library)]
    expect(committed[1] < committed[0] + 4096, 'expected at most 4096 KiB more of private writable '
           'memory than without the library (%d KiB), got %d', *committed)


def strict_overcommit(case):
    """vm.overcommit_memory=2 counts every writable private page that is mapped, touched or not."""
    setting = '/proc/sys/vm/overcommit_memory'
    with open(setting) as f:
        before = f.read()
    if before.strip() == '2':
        check_strict_overcommit(case)
        return
    if os.environ.get('RATION_TEST_OVERCOMMIT') != '1':
        raise Skip('changes the whole machine for a second; RATION_TEST_OVERCOMMIT=1 allows it')
    if os.getuid() != 0 or not os.access(setting, os.W_OK):
        raise Skip('vm.overcommit_memory cannot be set here')
    try:
        write_file(setting, '2')
        check_strict_overcommit(case)
    finally:
        write_file(setting, before)


def statistics_at_exit(case):
    done = case.under.run([native(case, 'plain')], env={'RATION': 'stats=1'}, status=0)
    expect('ration: the heap, in bytes' in done.stderr, 'RATION=stats=1: expected a ledger on stderr, got "%s"', done.stderr)


def privileged_programs_ignore_settings(case):
    """Under AT_SECURE the variable is ignored. A capability on the file of a linked program brings
    AT_SECURE about, for users other than root."""
    if os.getuid() != 0:
        raise Skip('needs root to give a file a capability')
    setcap = need('setcap')
    target = case.plain.path('secured')
    case.plain.run(['cp', native(case, 'linked'), target])
    if case.plain.run([setcap, 'cap_net_raw+ep', target], status=None).returncode != 0:
        raise Skip('setcap is refused here')
    settings = {'RATION': 'stats=1,colour=blue'}
    done = case.plain.run([target], env=settings, status=None, user=NOBODY, group=NOBODY,
                          extra_groups=[])
    if done.returncode == 127 or done.returncode == 126:
        raise Skip('the library is not in a place that every user may load from')
    expect('libration' in done.stdout and done.returncode == 0 and not done.stderr,
           'AT_SECURE: expected RATION ignored, got status %s and on stderr "%s"', done.returncode,
           done.stderr[:300])


CASES = {f.__name__: f for f in (static_binary, linked_with_library, preloaded, dlopen_after_start,
                                 dlopen_many_times, deepbind_plugin, deepbind_kept, early_constructors, two_copies,
                                 little_address_space, exhausted_address_space, seccomp_filters,
                                 strict_overcommit, statistics_at_exit,
                                 privileged_programs_ignore_settings)}
