# SPDX-License-Identifier: BSD-3-Clause
"""The program nearwayd from outside: its words, exit codes, files, readiness, lock and stop. Ports that go nowhere."""
import ctypes
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest

NEARWAYD = sys.argv.pop(1)
SANITIZED = 'NEARWAY_SANITIZED' in os.environ

CONFIG = """\
router: {{name: r-x, site: x, mac: 02:00:5e:10:00:0a}}
dataplane: {{cpus: "{cpus}", control-cpu: 0, poll: adaptive, memory: no-huge}}
limits: {{vms: 100, routes: 100, neighbours: 16, macs: 100, sessions: 1024, rx-ring: 64}}
control: {{key-file: {dir}/key, socket: {dir}/sock, state: {dir}/state.db, runtime: {dir}/run}}
ports:
  - {{name: wan0, device: "net_null0", role: wan, address: 192.0.2.1/24}}
  - {{name: dc0, device: "{dc}", role: dc, mtu: {mtu}}}
"""


def refuse_random():
    """In a child before exec: getrandom() is refused, and so is openat() without O_CLOEXEC, as libsodium opens /dev/urandom."""
    enosys, eacces, x86, flags = 0x50000 | 38, 0x50000 | 13, 0xc000003e, 16 + 2 * 8
    code = [(0x20, 0, 0, 4), (0x15, 0, 6, x86),                   # of another machine: allowed
            (0x20, 0, 0, 0), (0x15, 5, 0, 318), (0x15, 0, 3, 257),  # getrandom; openat
            (0x20, 0, 0, flags), (0x45, 1, 0, os.O_CLOEXEC), (0x06, 0, 0, eacces),
            (0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, enosys)]
    program = b''.join(struct.pack('HBBI', *c) for c in code)
    text = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(fprog), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), 'seccomp')


def nearwayd(*args):
    return subprocess.run([NEARWAYD, *args], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


class Program(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory(prefix='nearway-')
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name
        self.key = f'{self.dir}/key'
        self.config = f'{self.dir}/nearway.yaml'
        self.write('net_null1')

    def write(self, dc, cpus='0', mtu=1500):
        with open(self.config, 'w') as f:
            f.write(CONFIG.format(dir=self.dir, dc=dc, cpus=cpus, mtu=mtu))

    def start(self):
        """A running router that has told us that it is ready."""
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(f'{self.dir}/notify')
        ready.settimeout(20)
        p = subprocess.Popen([NEARWAYD, '-c', self.config], stderr=subprocess.PIPE, text=True,
                             env={**os.environ, 'NOTIFY_SOCKET': f'{self.dir}/notify'})
        self.addCleanup(p.stderr.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.addCleanup(ready.close)
        self.assertEqual(ready.recv(100), b'READY=1')
        return p

    def call(self, method):
        reply = self.answer(method)
        self.assertIn('result', reply)
        return reply['result']

    def answer(self, method):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(f'{self.dir}/sock')
        text = json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': method, 'params': {}}).encode()
        s.sendall(struct.pack('>I', len(text)) + text)
        with s.makefile('rb') as f:
            reply = f.read(struct.unpack('>I', f.read(4))[0])
        s.close()
        return json.loads(reply)

    def test_wrong_usage_prints_help_and_exits_2(self):
        for args in ([], ['-x'], ['-c'], ['keygen'], ['--check']):
            p = nearwayd(*args)
            self.assertEqual(p.returncode, 2, args)
            self.assertIn('usage:', p.stderr)
        self.assertIn('Exit status', nearwayd('--help').stdout)
        self.assertRegex(nearwayd('--version').stdout, r'^nearwayd \d+\.\d+')

    def test_keygen_makes_a_private_file_once(self):
        p = nearwayd('keygen', self.key)
        self.assertEqual(p.returncode, 0)
        self.assertEqual(stat.S_IMODE(os.stat(self.key).st_mode), 0o600)
        self.assertEqual(nearwayd('pubkey', self.key).stdout, p.stdout)
        self.assertRegex(p.stdout, r'^[A-Za-z0-9+/]{43}=\n$')
        again = nearwayd('keygen', self.key)
        self.assertEqual(again.returncode, 1)
        self.assertIn(self.key, again.stderr)

    def test_check_prints_the_plan(self):
        p = nearwayd('--check', self.config)
        self.assertEqual((p.returncode, p.stderr), (0, ''))
        self.assertRegex(p.stdout, r'(?m)^memory +no hugepages, \d+ MB: --no-huge --no-shconf$')
        self.assertRegex(p.stdout, r'(?m)^mbufs +\d+ of 2048 bytes$')
        self.assertRegex(p.stdout, r'(?m)^port +dc0 \(dc, MTU 1500\): net_null1$')

    def test_check_names_the_place_of_a_device_fault(self):
        self.write('net_af_packet0,iface=eth9,framesz=1024')
        p = nearwayd('--check', self.config)
        self.assertEqual(p.returncode, 3)
        self.assertRegex(p.stderr, r'nearway\.yaml:7:25: ports\[1\]\.device: framesz=1024 cuts frames')

    def test_faulty_file_is_not_run(self):
        with open(self.config, 'a') as f:
            f.write('colour: red\n')
        p = nearwayd('-c', self.config)
        self.assertEqual(p.returncode, 3)
        self.assertRegex(p.stderr, r':8:1: colour: ')

    def test_missing_key_is_said_and_nothing_is_started(self):
        p = nearwayd('-c', self.config)
        self.assertEqual(p.returncode, 1)
        self.assertIn(self.key, p.stderr)
        self.assertNotIn('dpdk', p.stderr)

    def test_missing_interface_is_said(self):
        nearwayd('keygen', self.key)
        self.write('net_af_packet0,iface=nosuchif')
        p = nearwayd('-c', self.config)
        self.assertEqual(p.returncode, 1)
        self.assertIn('error', p.stderr)

    def test_missing_cpu_is_said_in_one_line(self):
        nearwayd('keygen', self.key)
        self.write('net_null1', cpus='1023')
        p = nearwayd('-c', self.config)
        self.assertEqual((p.returncode, p.stdout), (1, ''))
        self.assertRegex(p.stderr, r'^\S+ error dataplane\.cpus: this machine has no CPU 1023\n$')

    def test_memif_port_takes_frames_of_an_underlay_that_carries_vxlan(self):
        nearwayd('keygen', self.key)
        self.write(f'net_memif0,role=server,socket={self.dir}/memif,socket-abstract=no', mtu=1600)
        p = self.start()
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=15), 0)

    # C-28: missing, 0644, 31 bytes, zero, equal to the peer's: no start, the reason, no byte of the key.
    def test_a_private_key_that_is_none_is_refused_with_the_reason(self):
        public = nearwayd('keygen', self.key).stdout.strip()
        with open(self.key) as f:
            good = f.read()
        for text, mode, why in ((None, 0, 'missing'), (good, 0o644, 'chmod 600'), (good[:40] + '\n', 0o600, 'not one line'),
                                ('A' * 43 + '=\n', 0o600, 'zero')):
            os.unlink(self.key)
            if text is not None:
                with open(self.key, 'w') as f:
                    f.write(text)
                os.chmod(self.key, mode)
            p = nearwayd('-c', self.config)
            self.assertEqual(p.returncode, 1)
            self.assertRegex(p.stderr, f'{self.key}.*{why}')
            self.assertNotIn(good[:8], p.stderr)
            open(self.key, 'a').close()
        with open(self.key, 'w') as f:
            f.write(good)
        os.chmod(self.key, 0o600)
        with open(self.config) as f:
            config = f.read()
        with open(self.config, 'w') as f:
            f.write(config.replace('control: {', f'control: {{listen: 127.0.0.1:7411, controllers: '
                                                 f'[{{name: clc, key: "{public}"}}], '))
        p = nearwayd('-c', self.config)
        self.assertEqual(p.returncode, 1)
        self.assertIn("control.controllers[0].key is this router's own public key", p.stderr)
        self.assertNotIn(good[:8], p.stderr)

    # C-27: where the kernel gives no random numbers.
    @unittest.skipUnless(os.uname().machine == 'x86_64', 'numbers of system calls')
    def test_without_random_numbers_it_does_not_start(self):
        for args in (['keygen', self.key], ['--check', self.config], ['-c', self.config]):
            p = subprocess.run([NEARWAYD, *args], capture_output=True, text=True, timeout=30, preexec_fn=refuse_random)
            self.assertEqual(p.returncode, 1, p.stderr)
            self.assertIn('no random numbers', p.stderr)
        self.assertFalse(os.path.exists(self.key))

    def change(self, old, new):
        with open(self.config) as f:
            text = f.read()
        self.assertIn(old, text)
        with open(self.config, 'w') as f:
            f.write(text.replace(old, new))

    def test_reload_takes_what_may_change_and_refuses_the_rest_by_name(self):
        nearwayd('keygen', self.key)
        public = nearwayd('keygen', self.key + '.y').stdout.strip()
        p = self.start()
        with open(self.config, 'a') as f:
            f.write('routes:\n  - {prefix: 10.9.0.0/16, via: 192.0.2.7}\n')
        self.assertEqual(self.call('reload')['changed'], ['routes[10.9.0.0/16] added'])
        self.assertIn('10.9.0.0/16', [r['prefix'] for r in self.call('show.routes')['rows']])
        peer = f'peers:\n  - {{name: r-y, key: "{public}", address: 127.0.0.1:1, vtep: 192.0.2.9, mac: 02:00:5e:10:00:0b}}\n'
        with open(self.config, 'a') as f:
            f.write(peer)
        error = self.answer('reload')['error']['message']  # what a peer needs is no matter of a reload
        self.assertRegex(error, r'control\.listen: missing')
        self.change('name: dc0, ', 'mtu: 1600, name: dc0, ')
        self.change(', mtu: 1500', '')
        self.change(peer, '')
        error = self.answer('reload')['error']['message']
        self.assertRegex(error, r'nearway\.yaml:7:11: ports\[1\]\.mtu: cannot change while .* restart')
        self.assertEqual(len(self.call('show.ports')['rows']), 2)
        self.change('mtu: 1600, ', '')
        self.change('10.9.0.0/16', '10.8.0.0/16')
        p.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while '10.8.0.0/16' not in [r['prefix'] for r in self.call('show.routes')['rows']]:
            self.assertLess(time.monotonic(), deadline)
        os.chmod(self.key, 0o644)
        while 'on its way' in (said := self.answer('reload')['error']['message']):  # SIGHUP's; its routes are seen before it is done
            self.assertLess(time.monotonic(), deadline)
        self.assertRegex(said, 'chmod 600')
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=15), 0)

    def test_a_file_with_a_psk_that_others_can_read_is_warned_of(self):
        public = nearwayd('keygen', f'{self.dir}/other').stdout.strip()
        self.change('control: {', f'control: {{listen: 127.0.0.1:1, controllers: [{{name: clc, key: "{public}", psk: "{public}"}}], ')
        for mode in (0o600, 0o640):
            os.chmod(self.config, mode)
            p = nearwayd('-c', self.config)  # its key is missing: it ends
            self.assertEqual('chmod 600 it' in p.stderr, mode != 0o600, p.stderr)
            self.assertNotIn(public, p.stderr)

    # C-58: each is refused with its line within 1 s and 64 MiB, and the running router stays as it is.
    def test_hostile_files_are_refused_at_once_and_the_running_configuration_stays(self):
        bomb = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
            f'{c}: &{c} [{", ".join(["*" + chr(ord(c) - 1)] * 9)}]\n' for c in 'bcdefghij')
        with open(self.config) as f:
            good = f.read()
        hostile = {
            'alias bomb': bomb.encode(),
            'depth of 10,000': b'a: ' + b'[' * 10000 + b']' * 10000,
            'depth of 10,000 by indentation': b''.join(b' ' * i + b'a:\n' for i in range(1400)),
            'duplicate key': (good + 'router: {name: r-y}\n').encode(),
            'tab': b'router:\n\tname: r-x\n',
            '100 MiB': b'# ' + b'x' * (100 << 20),
            '100 MiB of lines': b'a:\n' * (25 << 20),
            'unknown key': (good + 'colour: red\n').encode(),
            'NUL': good.replace('r-x', 'r\0x').encode(),
        }
        nearwayd('keygen', self.key)
        p = self.start()
        before, room = self.call('show.status')['revision'], self.most_memory(p.pid)
        for name, data in hostile.items():
            with open(self.config, 'wb') as f:
                f.write(data)
            with self.subTest(name):
                self.assertRegex(self.checked(), r'nearway\.yaml:\d+:\d+: ')
                started = self.cpu_seconds(p.pid)
                message = self.answer('reload')['error']['message']
                self.assertLess(self.cpu_seconds(p.pid) - started, 10 if SANITIZED else 1)
                self.assertRegex(message, r'nearway\.yaml:\d+:\d+: ')
                self.assertEqual(self.call('show.status')['revision'], before)
        if not SANITIZED:
            self.assertLess(self.most_memory(p.pid) - room, 64 << 10)
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=15), 0)

    def most_memory(self, pid):
        """Most that it ever had, in KiB."""
        with open(f'/proc/{pid}/status') as f:
            return int(re.search(r'VmHWM:\s+(\d+) kB', f.read())[1])

    def cpu_seconds(self, pid):
        """A busy machine makes it slow, not wrong."""
        with open(f'/proc/{pid}/stat') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def checked(self):
        """What --check says of the file; within 1 s, with 64 MiB of data at most. Sanitizers need more of both."""
        started = os.times()
        p = subprocess.run([NEARWAYD, '--check', self.config], capture_output=True, text=True, timeout=30,
                           preexec_fn=lambda: SANITIZED or resource.setrlimit(resource.RLIMIT_DATA, (64 << 20, 64 << 20)))
        used = os.times()
        if not SANITIZED:
            self.assertLess(used.children_user + used.children_system - started.children_user - started.children_system, 1)
        self.assertEqual(p.returncode, 3)
        self.assertNotIn('memory', p.stderr)
        return p.stderr

    def test_a_second_signal_while_it_stops_changes_nothing(self):
        nearwayd('keygen', self.key)
        p = self.start()
        while p.poll() is None:
            p.send_signal(signal.SIGTERM)
            time.sleep(0.0005)
        self.assertEqual(p.wait(timeout=15), 0)

    # C-76: on the same store and port.
    def test_router_runs_answers_refuses_a_second_and_stops(self):
        nearwayd('keygen', self.key)
        p = self.start()
        status = self.call('show.status')
        self.assertEqual(status['name'], 'r-x')
        self.assertEqual(status['packets']['imbalance'], 0)
        self.assertEqual(len(status['workers']), 1)
        second = nearwayd('-c', self.config)
        self.assertEqual(second.returncode, 1)
        self.assertIn(f'pid {p.pid}', second.stderr)
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=15), 0)

    def test_log_is_verified_and_an_altered_entry_is_found(self):
        self.assertEqual(nearwayd('keygen', self.key).returncode, 0)
        state = f'{self.dir}/state.db'
        for _ in range(2):
            p = self.start()
            r = nearwayd('--check-log', state)
            self.assertEqual(r.returncode, 1)
            self.assertIn('in use by a running router', r.stderr)
            self.assertEqual(self.call('show.log')['rows'][-1]['what'], 'start')  # no commit is on its way any more
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(30), 0)
            os.unlink(f'{self.dir}/notify')
        r = nearwayd('--check-log', state)
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        self.assertIn('the log is whole: entries 1 to 4, the last one\'s hash is ', r.stdout)
        db = sqlite3.connect(state)
        self.assertEqual([json.loads(v)['what'] for v, in db.execute('SELECT value FROM log ORDER BY seq')],
                         ['start', 'stop'] * 2)
        good = db.execute('SELECT value FROM log WHERE seq = 2').fetchone()[0]
        for sql, text, why in (
                ('UPDATE log SET value = ? WHERE seq = 2', good.replace('stop', 'step'), 'entry 2: its hash is not that'),
                ('DELETE FROM log WHERE seq = 2 AND ? IS NOT NULL', good, 'entry 3: entries before it are gone'),
                ('INSERT INTO log VALUES(2, ?)', good, None),
                ('INSERT INTO log VALUES(5, ?)', good, 'entry 5: it stands behind the end that was written'),
                ('DELETE FROM log WHERE seq >= 4 AND ? IS NOT NULL', good, 'entry 4: the log ends before it'),
                ('DELETE FROM rows WHERE key = ? OR kind = \'meta\'', '', 'nothing that says where the log begins')):
            with db:
                db.execute(sql, (text,))
            r = nearwayd('--check-log', state)
            self.assertEqual(r.returncode, 1 if why else 0, r.stderr)
            self.assertIn(why or '', r.stderr)
        db.close()
        self.assertEqual(nearwayd('--check-log', f'{self.dir}/nothing').returncode, 1)

    def test_router_that_was_killed_starts_again(self):
        nearwayd('keygen', self.key)
        p = self.start()
        p.kill()
        p.wait()
        os.unlink(f'{self.dir}/notify')
        p = self.start()
        self.assertTrue(self.call('show.status')['tables']['sessions-taken-up'])
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(timeout=15), 0)


unittest.main(verbosity=2)
