# SPDX-License-Identifier: BSD-3-Clause
"""Hugepages for as long as a bench runs."""
import sys

PAGES = '/proc/sys/vm/nr_hugepages'
FREE = '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages'


def number(file):
    with open(file, encoding='ascii') as f:
        return int(f.read())


def set_pages(n):
    with open(PAGES, 'w', encoding='ascii') as f:
        f.write(f'{n}\n')


class Hugepages:
    """So many free ones while it lasts."""

    def __init__(self, free):
        self.before, self.free = number(PAGES), free

    def __enter__(self):
        set_pages(self.before + max(0, self.free - number(FREE)))
        if number(FREE) < self.free:
            sys.exit(f'there are {number(FREE)} free 2 MiB hugepages, and {self.free} are needed')

    def __exit__(self, *_):
        set_pages(self.before)
