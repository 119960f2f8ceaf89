# SPDX-License-Identifier: BSD-3-Clause
"""The controller's own state: one SQLite file, one row a VM. One command at a time works on it.

A VM is {'name', 'segment', 'mac', 'site', 'epoch', 'addresses': [{'private', 'global'}],
         'held': [{'private', 'global', 'router', 'epoch'}],       old global addresses that their home may still translate
         'todo': None or 'register', 'move', 'unregister',         stored before the router is told, cleared after
         'drain': {'drain-min', 'drain-max', 'sessions'},          of the move under way
         'plan', 'ending', 'aborted'}                              of a prepared move (prepared.py), left out where there was none
"""
import fcntl
import json
import sqlite3
import time

WAIT_S = 10


class Busy(Exception):
    """Another command is at work on the state."""


class State:
    """`dry`: from now on nothing is written, and what is stored is so until the command ends."""

    def __init__(self, path):
        self.dry = False
        self._lock = open(path + '.lock', 'a', encoding='ascii')  # held until the command ends
        self._take_lock(path)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute('PRAGMA synchronous = FULL')
        self._db.execute('CREATE TABLE IF NOT EXISTS vm (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID')
        self.vms = {name: json.loads(record) for name, record in self._db.execute('SELECT name, record FROM vm ORDER BY name')}

    def _take_lock(self, path):
        end = time.monotonic() + WAIT_S
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Busy(f'{path}: another command has been at work on it for {WAIT_S} s') from None
                time.sleep(0.05)

    def close(self):
        """Another command may work on it now."""
        self._db.close()
        self._lock.close()

    def store(self, *vms):
        """All of them, on disk, when it returns."""
        if not self.dry:
            self._db.execute('BEGIN IMMEDIATE')
            self._db.executemany('INSERT OR REPLACE INTO vm VALUES (?, ?)', [(vm['name'], json.dumps(vm)) for vm in vms])
            self._db.execute('COMMIT')
        self.vms.update({vm['name']: vm for vm in vms})

    def forget(self, vm):
        if not self.dry:
            self._db.execute('DELETE FROM vm WHERE name = ?', (vm['name'],))
        self.vms.pop(vm['name'], None)

    def find(self, segment, mac):
        return next((vm for vm in self.vms.values() if (vm['segment'], vm['mac']) == (segment, mac)), None)
