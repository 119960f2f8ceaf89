# SPDX-License-Identifier: BSD-3-Clause
"""A router's wall clock in a test's hand: wallclock.c. Its boot-time clock, as everybody else's, is the kernel's."""
import os
import struct

from lab import program


class WallClock:
    """Of a router that has not started yet."""

    def __init__(self, lab, router):
        self.file = os.path.join(lab.dir, f'{router.name}.offset')
        with open(self.file, 'wb') as f:
            f.write(bytes(8))
        router.env = {'LD_PRELOAD': program('wallclock'), 'WALLCLOCK': self.file}

    def jump(self, seconds):
        """It is so many seconds before the kernel's from now on."""
        with open(self.file, 'r+b') as f:
            f.write(struct.pack('q', round(seconds * 10**9)))
