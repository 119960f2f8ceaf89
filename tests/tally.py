#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts test cases in meson's test log (JSON lines): prints `PASSED FAILED SKIPPED`.

cmocka programs count by their cases, others as one; a program that failed or crashed counts at least one failure.
"""
import json
import re
import sys


def count(test):
    out = test.get('stdout', '') + test.get('stderr', '')
    good = sum(int(n) for n in re.findall(r'\[  PASSED  \] (\d+) test', out))
    bad = sum(int(n) for n in re.findall(r'\[  FAILED  \] [^:]*: (\d+) test', out))
    skipped = sum(int(n) for n in re.findall(r'\[  SKIPPED \] [^:]*: (\d+) test', out))
    if test['result'] in ('SKIP', 'EXPECTEDFAIL'):
        return 0, 0, 1
    if test['result'] != 'OK':
        return good, max(bad, 1), skipped
    return (good, bad, skipped) if good + skipped else (1, 0, 0)


def main():
    total = [0, 0, 0]
    for log in sys.argv[1:]:
        for line in open(log, encoding='utf-8', errors='replace'):
            total = [a + b for a, b in zip(total, count(json.loads(line)))]
    print(*total)


main()
