#!/usr/bin/env python3
"""The model of many cores: invariants, repetition, and what must follow from its costs.

usage: manycore_test.py PATH/manycore
"""
import json
import subprocess
import sys

MODEL = sys.argv[1]
FREE = ['near=0', 'mid=0', 'far=0', 'memory=0', 'atomic=0', 'create=0']


def run(*words, status=0):
    done = subprocess.run([MODEL, *words], capture_output=True, text=True)
    if done.returncode != status:
        sys.exit('FAIL %s: expected status %d, got %d: %s' % (words, status, done.returncode, done.stderr.strip()))
    return done.stdout


def one(design, workload, cores, *costs):
    return json.loads(run('one', design, workload, str(cores), *costs))


def expect(what, holds):
    if not holds:
        sys.exit('FAIL ' + what)
    print('ok', what)


def transfers(row):
    return sum(row[kind] for kind in ('block', 'state', 'header', 'remote', 'lock', 'map', 'list'))


# Each block once, lists and lines as they should be, clocks forward: asserted inside, status 1 otherwise.
first = run('check')
expect('two runs give the same bytes', first == run('check'))
expect('other costs give other figures', first != run('check', 'mid=300'))
rows = json.loads(first)
expect('every design and workload with 1, 4 and 16 cores', len(rows) == 12 * 4 * 3)
alone = [r for r in rows if r['cores'] == 1]
expect('one core waits for nobody', all(r['waited_ns'] == 0 for r in alone))
expect('one core shares no line with anybody',
       all(r['header'] == r['remote'] == 0 for r in alone
           if r['workload'] != 'replace'))  # there slabs are still touched for the first time

for design in ('ration', 'lists', 'messages', 'central'):
    alone = one(design, 'local', 1, *FREE)['pairs_per_us']
    many = one(design, 'local', 16, *FREE)['pairs_per_us']
    expect('%s: where lines cost nothing 16 cores do 16 times the work: %.1f' % (design, many / alone),
           15.2 < many / alone < 16.4)
locked = [one('one-lock', 'local', n)['pairs_per_us'] for n in (1, 4, 16)]
expect('one lock gets slower with more cores: %s' % locked, locked[0] > locked[1] > locked[2])

near, far = (one('ration', 'handover', 16, 'mid=%d' % mid)['pairs_per_us'] for mid in (23, 400))
expect('dearer lines, less work: %.1f, %.1f' % (near, far), near > 1.5 * far)
designs = ('ration-shelves', 'ration-eight', 'ration-half', 'ration')
speeds = [one(design, 'replace', 32)['pairs_per_us'] for design in designs]
expect('the more slabs threads keep, the fewer change hands: %s' % speeds, speeds == sorted(speeds))
today, ahead = one('ration', 'handover', 8), one('ration+ahead', 'handover', 8)
expect('asking to write at once saves transfers: %.2f, %.2f' % (transfers(today), transfers(ahead)),
       transfers(ahead) < 0.9 * transfers(today))

run('nonsense', status=2)
run('near=-1', status=2)
run('near=', status=2)
run('one', 'ration', 'local', '129', status=2)
print('ok wrong words end with status 2')
