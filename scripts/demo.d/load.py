"""The load of `make demo` where perl is missing; the same as load.pl. Run it with PYTHONMALLOC=malloc.

Prints "done" when the work is over, and stays until its standard input ends.
"""
import random
import sys

n_sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
random.seed(1)
below = lambda n: int(random.random() * n)
words = ['word%d' % i for i in range(500)]


def new_session(name):
    return {'user': 'user%d' % name, 'page': 'x' * (200 + below(3000)),
            'seen': ' '.join(words[below(500)] for _ in range(4 + below(8)))}


session = {}
for name in range(n_sessions):
    session[name] = new_session(name)
    if name % 3 == 0:
        other = session[below(name + 1)]
        other['page'] += 'y' * below(400)
        other['seen'] += ' %s:%d' % (session[name]['user'], name)
for _ in range(2):
    for name in range(n_sessions):
        if random.random() >= 0.5:
            del session[name]
            session[name] = new_session(name)
n_words = sum(len(s['seen'].split()) for s in session.values())
for name in range(n_sessions):
    if random.random() < 0.95:
        del session[name]
print('done', flush=True)
sys.stdin.readline()
if len(session) < 0.04 * n_sessions or n_words < 5 * n_sessions:
    sys.exit('demo: lost sessions')
