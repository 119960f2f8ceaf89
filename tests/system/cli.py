#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The command line against a running router: every view as text and as JSON, changes, refusals, exit codes.

    world --- rx --- dcx --- vm, other        only rx's unix socket matters here
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lab'))
from check import case, expect, finish
from lab import program, run, wait_for
from onesite import HOSTS, OneSite

VIEWS = 'status vms nat segments peers routes neighbours ports moves sessions macs drops stages'.split()
lab = OneSite('cli')
router = lab.start()
cli = router.cli

with case('every view is text for people and JSON for programs'):
    for view in VIEWS:
        expect(cli('show', view).stdout.strip(), f'{view}: no text')
        reply = json.loads(cli('--json', 'show', view).stdout)
        expect(isinstance(reply, (dict, list)), f'{view}: {reply}')


def doctor(check, of):
    """(verdict, what was found) of a thing, the worst first."""
    rows = json.loads(cli('--json', 'doctor').stdout)['rows']
    expect([row['verdict'] for row in rows] == sorted((row['verdict'] for row in rows), key='fault warning ok'.split().index),
           f'the worst is not first: {rows}')
    return [(row['verdict'], row['found']) for row in rows if (row['check'], row['of']) == (check, of)]


with case('the doctor tells what is not as it should be, and what to do'):
    expect(doctor('memory', 'tables')[0][0] == 'warning', doctor('memory', 'tables'))
    expect(doctor('port', 'dc0')[0][0] == 'warning' and 'net_af_packet' in doctor('port', 'dc0')[0][1], doctor('port', 'dc0'))
    expect(doctor('store', f'{router.dir}/state.db')[0][0] == 'ok', json.loads(cli('--json', 'doctor').stdout))
    lab.ip('dcx', 'link set r down')
    wait_for('a fault', lambda: doctor('port', 'dc0')[0] == ('fault', 'the link is down'), 5)
    text = cli('doctor').stdout.splitlines()
    expect(text[0] == 'fault    port dc0: the link is down' and 'cable' in text[1], text)
    lab.ip('dcx', 'link set r up')
    wait_for('no fault', lambda: doctor('port', 'dc0')[0][0] == 'warning', 5)

with case('a VM that is registered by words is in the listing and reachable'):
    ip, mac, glob = HOSTS['other']
    cli('vm', 'unregister', 'segment', 'blue', 'mac', mac)
    expect(mac not in cli('show', 'vms').stdout, 'still listed')
    cli('vm', 'register', 'segment', 'blue', 'mac', mac, 'addresses', f'{ip}={glob}')
    expect(mac in cli('show', 'vms').stdout and glob in cli('show', 'nat').stdout, cli('show', 'nat').stdout)
    expect(lab.ping('world', glob, 3) == 3, 'not reachable')

with case('a route is set and taken back by words'):
    cli('route', 'replace', 'prefix', '198.18.0.0/15', 'blackhole', 'on')
    expect('198.18.0.0/15' in cli('show', 'routes').stdout, 'not listed')
    cli('route', 'delete', 'prefix', '198.18.0.0/15')
    expect('198.18.0.0/15' not in cli('show', 'routes').stdout, 'still listed')

with case('what the router refuses ends with 1 and says why'):
    p = cli('vm', 'register', 'segment', 'green', 'mac', '52:54:00:00:00:77', 'addresses', '10.1.0.77', check=False)
    expect(p.returncode == 1 and 'green' in p.stderr + p.stdout, f'{p.returncode} {p.stderr}')
    p = cli('vm', 'register', 'segment', 'blue', 'mac', '52:54:00:00:00:77', 'addresses', '10.9.0.77', check=False)
    expect(p.returncode == 1 and '10.9.0.77' in p.stderr + p.stdout, f'{p.returncode} {p.stderr}')

with case('what is no command ends with 2'):
    for words in (('shwo', 'vms'), ('show', 'everything'), ('vm', 'register', 'colour', 'blue')):
        p = cli(*words, check=False)
        expect(p.returncode == 2 and p.stderr, f'{words}: {p.returncode} {p.stderr}')

with case('no router ends with 3 and names the socket'):
    p = run([program('nearway'), '-s', '/nonexistent/sock', 'show', 'status'], check=False)
    expect(p.returncode == 3 and '/nonexistent/sock' in p.stderr, f'{p.returncode} {p.stderr}')

with case('the unix socket is its owner\'s and root\'s: another user is turned away, even where the file lets him in'):
    status = os.stat(router.socket)
    expect(status.st_mode & 0o777 == 0o600, f'mode {status.st_mode:o}')
    for path, mode in ((lab.dir, 0o711), (router.dir, 0o711), (router.socket, 0o666)):
        os.chmod(path, mode)
    stranger = 65534
    ask = [sys.executable, '-c', f"""
import socket
s = socket.socket(socket.AF_UNIX)
s.connect('{router.socket}')
text = b'{{"jsonrpc": "2.0", "id": 1, "method": "show.status", "params": {{}}}}'
try:
    s.sendall(len(text).to_bytes(4, 'big') + text)
    print(len(s.recv(4)))
except ConnectionError:
    print(0)
"""]
    answers = [subprocess.run(ask, user=user, stdout=subprocess.PIPE, text=True, timeout=20, check=True).stdout.strip()
               for user in (0, stranger)]
    os.chmod(router.socket, 0o600)
    expect(answers == ['4', '0'], f'root reads {answers[0]} bytes, uid {stranger} {answers[1]}')
    expect(f'uid={stranger}' in router.process.output(), router.process.output()[-500:])

with case('commands come from a pipe, one a line'):
    p = subprocess.run([program('nearway'), '-s', router.socket], input='# two views\nshow segments\nshow ports\n', text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=False)
    expect(p.returncode == 0 and 'blue' in p.stdout and 'wan0' in p.stdout, f'{p.returncode} {p.stdout} {p.stderr}')

finish(router.process)
