#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every case of docs/control-cases.md has a test that names it, or a reason in docs/security.md.

    cases.py            checks
    cases.py --write    writes the last column of docs/control-cases.md anew

A test names its cases in the comment above it: `/* C-14, C-15: ...` in C, `# C-71: ...` above a case() or a test function in Python. A case that cannot apply has
a line `- **C-26** ...` below "Cases that do not apply" in docs/security.md. Prints `ok` or `not ok` lines; the exit code is 1 if any is not.
"""
import collections
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, 'docs', 'control-cases.md')
SECURITY = os.path.join(ROOT, 'docs', 'security.md')
COUNT = 86

C_TEST = re.compile(r'/\*\s*((?:C-\d\d(?: to |, | and )?)+)[^*]*(?:\*(?!/)[^*]*)*\*/\s*(?:static\s+)?[\w ]+?[\s*](\w+)\((?:void \*\*state|struct sim \*)')
PY_TEST = re.compile(r"""^[ \t]*\# ((?:C-\d\d(?: to |, | and )?)+).*\n(?:.*\n){0,9}?[ \t]*(?:def (?=test)|(?:with|.*,) case\(f?['"])(.*?)(?:\(|['"]\):)""", re.M)
ROW = re.compile(r'^\| (C-\d\d) \| (.*?) \| (.*?) \| (.*?) \|$', re.M)


def named(text):
    """"C-71, C-73 to C-75" -> the four."""
    first = None
    for joint, number in re.findall(r'( to )?C-(\d\d)', text):
        n = int(number)
        yield from ('C-%02d' % i for i in range(first + 1 if joint else n, n + 1))
        first = n


def tests():
    found = collections.defaultdict(list)
    for path in sorted(glob.glob(os.path.join(ROOT, 'tests', '**', '*'), recursive=True)):
        pattern = {'.c': C_TEST, '.py': PY_TEST}.get(os.path.splitext(path)[1])
        if pattern is None or path == os.path.abspath(__file__):
            continue
        program = os.path.splitext(os.path.relpath(path, os.path.join(ROOT, 'tests')))[0]
        for cases, name in pattern.findall(open(path, encoding='utf-8').read()):
            for case in named(cases):
                found[case].append('%s: %s' % (program, name.replace('_', ' ')))
    return found


def exempt():
    section = open(SECURITY).read().partition('Cases that do not apply')[2].partition('\n## ')[0]
    return {case for line in re.findall(r'^- \*\*(C-\d\d.*?)\*\*', section, re.M) for case in named(line)}


def held_by(case, found, reasons):
    return '<br>'.join(found[case] + (['[does not apply](security.md#cases-that-do-not-apply)'] if case in reasons else []))


def written(text, found, reasons):
    return ROW.sub(lambda m: '| %s | %s | %s | %s |' % (m[1], m[2], m[3], held_by(m[1], found, reasons) or 'nothing'), text)


def tell(good, what, *why):
    print('%s %s' % ('ok' if good else 'not ok', what))
    for line in why if not good else ():
        print('  ' + line)
    return good


def main():
    text, found, reasons = open(TABLE).read(), tests(), exempt()
    fresh = written(text, found, reasons)
    if sys.argv[1:] == ['--write']:
        with open(TABLE, 'w') as f:
            f.write(fresh)
    elif sys.argv[1:]:
        sys.exit(__doc__)
    cases = [m[0] for m in ROW.findall(text)]
    missing = [c for c in cases if not held_by(c, found, reasons)]
    unknown = sorted(set(found) - set(cases))
    good = tell(len(cases) == COUNT and not missing, 'each of the %d cases of the control channel has its test' % COUNT, *missing)
    good &= tell(not unknown, 'tests name no case that does not exist', *unknown)
    if sys.argv[1:] != ['--write']:
        good &= tell(fresh == text, 'docs/control-cases.md names the tests of this tree', 'tests/cases.py --write makes it anew')
    return 0 if good else 1


sys.exit(main())
