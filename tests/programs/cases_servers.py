"""Servers under load, a database, a browser."""
import os
import pwd
import re
import urllib.request

from harness import Skip, expect, free_port, need, wait_for_port

SQL = '''
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
  insert into t select i, hex(i * 7919) || substr('abcdefghijklmnopqrstuvwxyz', i % 20, 6), i / 3.0 from n;
create index tb on t(b); create index tc on t(c, b);
select count(*), sum(length(b)), round(avg(c), 3) from t;
select b, count(*) from t group by substr(b, 1, 2) order by 2 desc, 1 limit 5;
select x.a, y.a from t x join t y on x.b = y.b and x.a < y.a limit 3;
update t set b = b || b where a % 3 = 0; delete from t where a % 7 = 0; vacuum;
select count(*), sum(length(b)) from t; pragma integrity_check;
'''


def sqlite3(case):
    case.same_output([need('sqlite3'), ':memory:'], stdin=SQL)
    case.same_output([need('sqlite3'), 'file.db'], stdin=SQL)


def redis(case):
    need('redis-server', 'redis-benchmark', 'redis-cli')
    side, port = case.under, free_port()
    server = side.start(['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--save', '',
                         '--dir', side.folder, '--appendonly', 'yes'])
    wait_for_port(port, server)
    side.check_mapped(server.pid)
    cli = ['redis-cli', '-h', '127.0.0.1', '-p', str(port)]
    out = side.run(['redis-benchmark', '-h', '127.0.0.1', '-p', str(port), '-q', '-n', '20000',
                    '-c', '20', '-P', '4', '-r', '5000', '-d', '300',
                    '-t', 'set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset'],
                   seconds=120).stdout
    expect(out.count('requests per second') >= 10, 'redis-benchmark: unexpected output %s', out[-500:])
    side.run(cli + ['bgsave'])
    side.run(cli + ['bgrewriteaof'], status=None)
    count = side.run(cli + ['eval', 'for i=1,20000 do redis.call("set","k"..i,string.rep("v",i%400)) '
                                    'end return redis.call("dbsize")', '0']).stdout
    expect(int(re.sub(r'\D', '', count)) >= 20000, 'redis: expected 20000 keys, got %s', count)
    expect(side.run(cli + ['get', 'k399']).stdout.strip() == 'v' * 399, 'redis: value of k399 lost')
    side.run(cli + ['flushall'])
    expect(side.run(cli + ['ping']).stdout.strip() == 'PONG', 'redis does not answer any more')
    side.run(cli + ['shutdown', 'nosave'], status=None)
    expect(server.wait(30) == 0, 'redis-server: expected status 0, got %s', server.returncode)
    side.check_logs()


NGINX = '''
daemon off; worker_processes 2; pid %(dir)s/nginx.pid; error_log stderr warn; %(user)s
events { worker_connections 512; }
http { access_log off; client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p;
  fastcgi_temp_path %(dir)s/f; uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s; gzip on;
  gzip_types text/plain; gzip_min_length 10;
  server { listen 127.0.0.1:%(port)d; root %(dir)s/www;
    location /proxied/ { proxy_pass http://127.0.0.1:%(port)d/; } } }
'''


def nginx(case):
    need('nginx', 'wrk')
    side, port = case.under, free_port()
    os.mkdir(side.path('www'))
    text = ''.join('line %d\n' % i for i in range(3000))
    side.write('www/file.txt', text)
    side.write('nginx.conf', NGINX % {'dir': side.folder, 'port': port,
                                      'user': 'user root;' if os.getuid() == 0 else ''})
    server = side.start(['nginx', '-p', side.folder, '-c', side.path('nginx.conf')])
    wait_for_port(port, server)
    side.check_mapped(server.pid)
    url = 'http://127.0.0.1:%d/' % port
    for part in ('file.txt', 'proxied/file.txt'):
        out = case.plain.run(['wrk', '-t2', '-c40', '-d3s', '-H', 'Accept-Encoding: gzip',
                              url + part]).stdout
        expect('Requests/sec' in out and 'Non-2xx' not in out and 'Socket errors' not in out,
               'wrk on %s: %s', part, out)
        with urllib.request.urlopen(url + part, timeout=10) as answer:
            expect(answer.read().decode() == text, '%s: expected the file, got something else', part)
    case.under.run(['nginx', '-p', side.folder, '-c', side.path('nginx.conf'), '-s', 'reload'])
    with urllib.request.urlopen(url + 'file.txt', timeout=10) as answer:
        expect(answer.status == 200, 'after a reload: expected 200, got %d', answer.status)
    case.under.run(['nginx', '-p', side.folder, '-c', side.path('nginx.conf'), '-s', 'quit'])
    expect(server.wait(30) == 0, 'nginx: expected status 0, got %s', server.returncode)
    side.check_logs()


def find_postgres():
    root = '/usr/lib/postgresql'
    versions = sorted(os.listdir(root)) if os.path.isdir(root) else []
    for version in reversed(versions):
        folder = os.path.join(root, version, 'bin')
        if os.path.exists(os.path.join(folder, 'pgbench')):
            return folder
    raise Skip('PostgreSQL with pgbench is not installed')


def other_user():
    """How to become a user who may run PostgreSQL, and who that is."""
    if os.getuid() != 0:
        return {}, os.getuid(), os.getgid()
    for name in ('postgres', 'nobody'):
        try:
            entry = pwd.getpwnam(name)
            return {'user': entry.pw_uid, 'group': entry.pw_gid, 'extra_groups': []}, \
                entry.pw_uid, entry.pw_gid
        except KeyError:
            continue
    raise Skip('no unprivileged user to run PostgreSQL as')


def postgresql(case):
    folder = find_postgres()
    become, uid, gid = other_user()
    side, port = case.under, free_port()
    os.chown(side.folder, uid, gid)
    data, program = side.path('data'), lambda name: os.path.join(folder, name)
    side.run([program('initdb'), '-D', data, '-A', 'trust', '-U', 'tester', '--no-sync'],
             seconds=120, **become)
    server = side.start([program('postgres'), '-D', data, '-p', str(port), '-k', side.folder,
                         '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off',
                         '-c', 'shared_buffers=16MB'], **become)
    wait_for_port(port, server)
    side.check_mapped(server.pid)
    to = ['-h', '127.0.0.1', '-p', str(port), '-U', 'tester']
    side.run([program('pgbench')] + to + ['-i', '-q', '-s', '2', 'postgres'], seconds=120)
    out = side.run([program('pgbench')] + to + ['-c', '8', '-j', '2', '-T', '5', 'postgres'],
                   seconds=120).stdout
    expect(re.search(r'tps = \d', out) and 'number of failed transactions: 0' in out,
           'pgbench: unexpected output %s', out)
    query = ('select count(*), sum(length(repeat(x::text, 20))) from generate_series(1, 200000) x; '
             'select md5(string_agg(x::text, \',\' order by x desc)) from generate_series(1, 50000) x')
    out = side.run([program('psql')] + to + ['-At', '-c', query, 'postgres'], seconds=60).stdout
    expect(out.startswith('200000|21777900\n'), 'psql: expected 200000|21777900, got %s', out)
    os.kill(server.pid, 2)
    expect(server.wait(60) == 0, 'postgres: expected status 0, got %s', server.returncode)
    side.check_logs()


PAGE = '''<!doctype html><title>page</title><body><div id="out"></div><canvas id="c" width="300" height="200"></canvas>
<script>
const rows = []; for (let i = 0; i < 3000; i++) rows.push({ i, s: 'row ' + i * 7 % 1000 });
rows.sort((a, b) => a.s < b.s ? -1 : 1);
const table = document.createElement('table');
for (const r of rows.slice(0, 400)) { const tr = table.insertRow(); tr.insertCell().textContent = r.i;
  tr.insertCell().textContent = r.s; }
document.body.appendChild(table);
const g = document.getElementById('c').getContext('2d');
for (let i = 0; i < 500; i++) { g.fillStyle = 'hsl(' + i + ',80%,50%)'; g.fillRect(i % 300, i % 200, 9, 9); }
document.getElementById('out').textContent = 'sum ' + rows.reduce((n, r) => n + r.i, 0) + ' rows ' + table.rows.length;
</script></body>'''


def chromium(case):
    browser = need('chromium')
    flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
             '--disable-background-networking', '--disable-component-update', '--disable-sync']
    def render(side):
        page = side.write('page.html', PAGE)
        done = side.run([browser] + flags + ['--user-data-dir=' + side.path('profile'),
                                             '--virtual-time-budget=3000', '--dump-dom',
                                             'file://' + page], seconds=120)
        expect('sum 4498500 rows 400' in done.stdout, 'chromium: expected the rendered page, got %s',
               done.stdout[:300] + done.stderr[-500:])
        return done.stdout
    case.same(render)


CASES = {f.__name__: f for f in (sqlite3, redis, nginx, postgresql, chromium)}
