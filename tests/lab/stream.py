# SPDX-License-Identifier: BSD-3-Clause
"""stream.c in a lab: numbered packets through a router's two memif ports, and storms on the VMs' side."""
import json
import os
import re
import signal
import time

from lab import LabError, program, wait_for


def memif(lab, n, role):
    """The n-th wire: the router is the server."""
    return f'net_memif{n},role={role},id={n},socket={lab.dir}/memif.sock,socket-abstract=no,rsize=14'


class Stream:
    """One stream stays connected until its router has ended: DPDK 22.11's memif driver frees a peer's memory when it leaves, also
    under a worker that is just reading it."""

    def __init__(self, lab, router, gateway_mac, vm, pps, *storm):
        """`vm` is (MAC, address, global address), `pps` (down, up); `storm` as in stream.c's usage."""
        ports = {p['port']: p for p in router.rows('ports')}
        argv = [program('stream'), '-l', '0', '--no-huge', '-m', '256', '--no-pci', '--no-shconf', '--log-level=error',
                f'--file-prefix=stream{os.getpid()}', *(f'--vdev={memif(lab, n, "client")}' for n in (0, 1)), '--',
                ports['wan0']['mac'], gateway_mac, *vm, *map(str, pps), *map(str, storm)]
        self.process = p = lab.spawn(router.ns, argv, name='stream', nice=-15)
        wait_for('packets pass both ways', lambda: '\nready' in '\n' + p.output() or not p.alive(), 40)
        if not p.alive():
            raise LabError(p.output())
        p.kill(signal.SIGUSR1)
        wait_for('the first count', lambda: self.reports() and self.reports()[-1]['paused'], 10)

    def reports(self):
        return [json.loads(line) for line in re.findall(r'^\{.*\}$', self.process.output(), re.M)]

    def count(self, seconds, action=lambda: None):
        """Runs `action` amid a new count; the count's reports, the last after everything has arrived."""
        self.process.kill(signal.SIGUSR1)  # goes on, from 1
        first = len(self.reports())
        time.sleep(seconds)
        action()
        time.sleep(seconds)
        self.process.kill(signal.SIGUSR1)
        wait_for('the count', lambda: len(self.reports()) > first and self.reports()[-1]['paused'], 10)
        return self.reports()[first:]

    def storm(self):
        """Begins or ends it."""
        self.process.kill(signal.SIGUSR2)
