# SPDX-License-Identifier: BSD-3-Clause
"""A real guest under QEMU: Debian's kernel, an initramfs made here, its traffic made by guest.c; and its live migration."""
import glob
import json
import lzma
import os
import select
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

from lab import BUILD, ROOT, LabError, program, run, wait_for

sys.path.insert(0, os.path.join(ROOT, 'scripts/hooks'))
from qmp import Qmp, QmpError

QEMU = '/usr/bin/qemu-system-x86_64'
BUSYBOX = '/bin/busybox'
CACHE = os.path.join(BUILD, 'guest')
MEMORY_MIB = 96
BOOT_S = 60.0
KVM_S = 6.0  # a kernel that boots is up long before; /dev/kvm may open, and the guest hang all the same
MODULES = ['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci', 'failover',
           'net_failover', 'virtio_net']
OFFLOADS = ','.join(f'{o}=off' for o in (
    'csum', 'gso', 'guest_csum', 'guest_tso4', 'guest_tso6', 'guest_ecn', 'guest_ufo', 'host_tso4', 'host_tso6', 'host_ecn',
    'host_ufo', 'mrg_rxbuf'))
INIT = """#!/busybox sh
/busybox mount -t devtmpfs none /dev
for m in {modules}; do /busybox insmod /$m.ko; done
/busybox ip link set lo up
/busybox ip addr add {address} dev eth0
/busybox ip link set eth0 up
/busybox ip route add default via {gateway}
exec /guest /dev/ttyS1
"""


def missing():
    """Why there can be no guest on this machine, or None."""
    for path, package in ((QEMU, 'qemu-system-x86'), (BUSYBOX, 'busybox-static')):
        if not os.access(path, os.X_OK):
            return f'{path} is missing: install {package}'
    try:
        kernel()
    except (LabError, OSError, subprocess.SubprocessError) as e:
        return f"no kernel for the guest: {e}"
    return None


# ---- what it boots ----

def kernel():
    """The folder with vmlinux and the modules of Debian's kernel, of which only these are unpacked and nothing installed."""
    if not all(os.path.exists(os.path.join(CACHE, f)) for f in ('vmlinux', *[f'{m}.ko' for m in MODULES])):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            unpack(work)
            for f in os.listdir(work):
                if f.endswith('.ko'):
                    os.replace(os.path.join(work, f), os.path.join(CACHE, f))
            os.replace(os.path.join(work, 'vmlinux'), os.path.join(CACHE, 'vmlinux'))
    return CACHE


def unpack(work):
    depends = run(['apt-cache', 'depends', 'linux-image-amd64']).stdout
    package = next((line.split()[-1] for line in depends.splitlines() if 'Depends: linux-image-' in line), None)
    if not package:
        raise LabError('apt knows no linux-image-amd64')
    run(['apt-get', 'download', package], cwd=work, timeout=120)
    archive = glob.glob(f'{work}/*.deb')[0]
    with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', archive], stdout=subprocess.PIPE) as p, \
            tarfile.open(fileobj=p.stdout, mode='r|') as tar:
        for member in tar:
            name = os.path.basename(member.name)
            if name.startswith('vmlinuz-') or name in [f'{m}.ko' for m in MODULES]:
                with open(f'{work}/{name}', 'wb') as f:
                    shutil.copyfileobj(tar.extractfile(member), f)
    with open(glob.glob(f'{work}/vmlinuz-*')[0], 'rb') as f:
        image = elf_of(f.read())
    with open(f'{work}/vmlinux', 'wb') as f:
        f.write(image)


def elf_of(vmlinuz):
    """The kernel inside: QEMU boots it as it is, which spares an emulated CPU the unpacking."""
    at = -1
    while (at := vmlinuz.find(b'\xfd7zXZ\0', at + 1)) >= 0:
        try:
            image = lzma.LZMADecompressor().decompress(vmlinuz[at:])
        except lzma.LZMAError:
            continue
        if image.startswith(b'\x7fELF'):
            return image
    raise LabError("no xz-packed ELF in Debian's vmlinuz")


def cpio(entries):
    """An archive as the kernel takes it (newc): (name, mode, bytes)."""
    out = b''
    for inode, (name, mode, data) in enumerate([*entries, ('TRAILER!!!', 0, b'')], 1):
        fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b'070701' + b''.join(b'%08X' % f for f in fields) + name.encode() + b'\0'
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return out


def initramfs(address, gateway):
    def read(path):
        with open(path, 'rb') as f:
            return f.read()

    init = INIT.format(modules=' '.join(MODULES), address=address, gateway=gateway)
    return cpio([('dev', 0o40755, b''), ('init', 0o100755, init.encode()), ('busybox', 0o100755, read(BUSYBOX)),
                 ('guest', 0o100755, read(program('guest'))),
                 *[(f'{m}.ko', 0o100644, read(os.path.join(kernel(), f'{m}.ko'))) for m in MODULES]])


# ---- one QEMU ----

class Qemu:
    """A QEMU in a namespace, its network card on a tap of a switch there. `incoming`: it waits for a guest to arrive."""

    def __init__(self, lab, ns, name, mac, initrd, accel, incoming=None):
        self.lab, self.ns, self.name = lab, ns, name
        self.agent_path, self.qmp_path, self.hook_path = (os.path.join(lab.dir, f'{name}.{s}') for s in ('agent', 'qmp', 'hook'))
        self.tap = f'tap{name}'[:15]
        lab.ip(ns, 'tuntap add dev', self.tap, 'mode tap')
        lab.ip(ns, 'link set dev', self.tap, 'master br0 up')
        argv = [QEMU, '-name', name, '-machine', 'q35', '-accel', accel, *(['-cpu', 'max'] if accel == 'tcg' else []),
                '-m', str(MEMORY_MIB), '-nodefaults', '-display', 'none', '-no-reboot',
                '-kernel', os.path.join(kernel(), 'vmlinux'), '-initrd', initrd,
                '-append', 'console=ttyS0 quiet panic=-1 rdinit=/init',
                '-serial', f'file:{lab.dir}/{name}.console',
                '-chardev', f'socket,id=agent,path={self.agent_path},server=on,wait=off', '-serial', 'chardev:agent',
                '-qmp', f'unix:{self.qmp_path},server=on,wait=off', '-qmp', f'unix:{self.hook_path},server=on,wait=off',
                '-netdev', f'tap,id=net,ifname={self.tap},script=no,downscript=no,vnet_hdr=off',
                '-device', f'virtio-net-pci,netdev=net,mac={mac},romfile=,{OFFLOADS}']
        self.process = lab.spawn(ns, argv + (['-incoming', incoming] if incoming else []), name=f'qemu-{name}')
        self.qmp = wait_for(f'QMP of {name}', self.connected, 20)

    def connected(self):
        if not self.process.alive():
            raise LabError(f'{self.name}: {self.process.output()[-1000:]}')
        try:
            return Qmp(self.qmp_path)
        except QmpError:
            return None

    def console(self):
        with open(f'{self.lab.dir}/{self.name}.console', encoding='utf-8', errors='replace') as f:
            return f.read()


class GuestAgent:
    """The traffic of a guest: what lab.Agent is for a namespace, in words over the guest's serial line."""

    def __init__(self, qemu):
        self.follow(qemu)

    def follow(self, qemu):
        """The guest has moved: its line is at the other QEMU now."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(qemu.agent_path)
        self.buffer = b''

    def line(self, seconds):
        end = time.monotonic() + seconds
        while b'\n' not in self.buffer:
            if not select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
                return None
            data = self.sock.recv(65536)
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b'\n')
        return json.loads(line)

    def call(self, cmd, timeout=20.0, **args):
        self.sock.sendall(' '.join(self.words(cmd, **args)).encode() + b'\n')
        reply = self.line(timeout)
        if reply is None or 'error' in reply:
            raise LabError(f"guest: {cmd}: {reply['error'] if reply else 'no answer'}")
        return reply['result']

    @staticmethod
    def words(cmd, name=None, kind=None, to=None, mode='busy', rate=200, paused=True):
        if cmd == 'open':
            return [cmd, name, kind, mode, to] if kind == 'tcp' else [cmd, name, kind, to, str(rate)]
        return [cmd, *([name] if name else []), *([str(int(paused))] if cmd == 'pause' else [])]


class Guest:
    """The VM: boots at a site, moves to another. `agent` makes its traffic wherever it is."""

    def __init__(self, lab, mac, address, gateway):
        self.lab, self.mac = lab, mac
        self.initrd = lab.file('initramfs')
        with open(self.initrd, 'wb') as f:
            f.write(initramfs(address, gateway))
        self.accel = 'kvm' if os.access('/dev/kvm', os.R_OK | os.W_OK) else 'tcg'
        self.qemu = self.agent = None

    def boot(self, ns):
        if self.accel == 'kvm' and not self.booted(ns, KVM_S):
            self.accel = 'tcg'
        if not self.qemu and not self.booted(ns, BOOT_S):
            raise LabError(f'the guest does not boot within {BOOT_S:g} s')

    def booted(self, ns, seconds):
        try:
            q = Qemu(self.lab, ns, f'{self.accel}-{ns}', self.mac, self.initrd, self.accel)
        except LabError:
            return False
        agent = GuestAgent(q)
        if agent.line(seconds):
            self.qemu, self.agent = q, agent
            return True
        q.process.stop(9)
        return False

    def migration(self, ns):
        return Migration(self, ns)


class Migration:
    """The guest goes to another site: a QEMU waits there, to which its memory is copied while it runs on."""

    def __init__(self, guest, ns):
        lab = guest.lab
        name = f'{len(lab.processes)}-{ns}'
        self.guest, self.source, self.at = guest, guest.qemu, {}
        self.uri = f'unix:{lab.dir}/{name}.migration'
        self.target = Qemu(lab, ns, name, guest.mac, guest.initrd, guest.accel, self.uri)

    def start(self):
        self.source.qmp.call('migrate', uri=self.uri)

    def heard(self, qemu, event):
        """When QEMU told so, or None if it has not."""
        for e in qemu.qmp.poll():
            self.at[qemu, e['event']] = e['timestamp']['seconds'] + e['timestamp']['microseconds'] / 1e6
        return self.at.get((qemu, event))

    def wait(self, seconds=30):
        """Until the guest runs at the new site."""
        wait_for('the guest runs at its new site', lambda: self.heard(self.target, 'RESUME'), seconds, 0.002)

    def finish(self):
        """The old QEMU ends. `pause_s` tells for how long the guest stood still."""
        stop = wait_for('the guest stopped', lambda: self.heard(self.source, 'STOP'))
        self.pause_s = self.at[self.target, 'RESUME'] - stop
        self.source.process.stop()
        self.guest.qemu = self.target
        self.guest.agent.follow(self.target)
