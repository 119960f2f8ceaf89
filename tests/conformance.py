#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the packet tests of one run have shown: docs/conformance.md, all checksums, every drop reason.

    conformance.py DIR        checks the results that a run left in DIR (NEARWAY_RESULTS, tests/common/report.h)
    conformance.py --write    runs the packet tests of build/ and writes docs/conformance.md anew

A test's name is the rule, the reference stands beside it: net_rule(name, "RFC 826") in the list of its program, or
net_test(name) for a rule of the project's own. Prints `ok` or `not ok` lines; the exit code is 1 if any is not.
"""
import collections
import glob
import os
import re
import subprocess
import sys
import tempfile

import checksums

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TABLE = os.path.join(ROOT, 'docs', 'conformance.md')
STAGES = os.path.join(ROOT, 'src', 'dataplane', 'stages.def')
LEAST = 150  # rules
OWN = 'design'

NAMES = ('ARP', 'ATM', 'BCP', 'DC', 'DF', 'EAL', 'GRE', 'ICMP', 'IP', 'IPv4', 'IPv6', 'MAC', 'MF', 'MSS', 'MTU', 'NAT', 'RARP', 'RFC',
         'RST', 'SYN', 'TCP', 'TTL', 'UDP', 'UDP-Lite', 'VLAN', 'VM', 'VNI', 'VTEP', 'VXLAN', 'WAN')
SPELT = {n.lower(): n for n in NAMES}
SPELT.update({n.lower() + 's': n + 's' for n in NAMES})

HEAD = """# Conformance

What the data plane does with a packet, rule by rule, and that a test holds it. The packet tests of `scripts/test` produce this file:
frames go in, and whole frames, named drops and nothing else must come out of the real pipeline. The name of a test is the rule; its
reference stands beside it. `scripts/test` fails when a rule here is not held or this file is not what the run gave; `tests/conformance.py
--write` makes it anew.

scapy recomputes the checksums of what the router sends in these tests, and every drop reason is produced by at least one of them.

%d rules: %d of RFCs and IEEE standards, %d of the project's own design.

| reference | rule | test | |
|---|---|---|---|
"""

Rule = collections.namedtuple('Rule', 'reference program name passed')


class Results:
    """One run's rules, drop reasons and frames."""

    def __init__(self, folder):
        self.rules, self.drops, self.pcaps = [], set(), {}
        for path in sorted(glob.glob(os.path.join(folder, '*.tsv'))):
            self.read(os.path.splitext(os.path.basename(path))[0], path)

    def read(self, program, path):
        upto = []  # (frames so far, name of the test)
        for line in open(path):
            kind, *words = line.rstrip('\n').split('\t')
            if kind == 'drop':
                self.drops.add(words[0])
                continue
            name, references, verdict, frames = words
            upto.append((int(frames), name))
            self.rules += [Rule(r.strip(), program, name, verdict == 'passed') for r in references.split(';')]
        self.pcaps[os.path.splitext(path)[0] + '.pcap'] = upto


def sentence(name):
    text = re.sub(r'_s(?=_)', "'s", name).replace('_', ' ')
    words = [SPELT.get(w, w) for w in text.split(' ')]
    words = [SPELT[w[:-2]] + "'s" if w.endswith("'s") and w[:-2] in SPELT else w for w in words]
    return words[0][0].upper() + words[0][1:] + ' ' + ' '.join(words[1:])


def place(rule):
    """RFCs by number and section, then the others, then the design."""
    rfc = re.match(r'RFC (\d+)', rule.reference)
    numbers = [int(n) for n in re.findall(r'\d+', rule.reference)]
    return (0 if rfc else 2 if rule.reference == OWN else 1, numbers if rfc else [], rule.reference, rule.program, rule.name)


def table(results):
    rules = sorted(results.rules, key=place)
    own = sum(r.reference == OWN for r in rules)
    rows = ['| %s | %s | `%s` | %s |\n' % (r.reference, sentence(r.name), r.program, 'passed' if r.passed else 'FAILED')
            for r in rules]
    return HEAD % (len(rules), len(rules) - own, own) + ''.join(rows)


def tell(good, what, *why):
    print('%s %s' % ('ok' if good else 'not ok', what))
    for line in why if not good else ():
        print('  ' + line)
    return good


def rules_hold(results):
    failed = ['%s: %s' % (r.program, r.name) for r in results.rules if not r.passed]
    few = ['%d rules, %d are wanted' % (len(results.rules), LEAST)] if len(results.rules) < LEAST else []
    return tell(not failed + few, 'every rule of docs/conformance.md is held by a packet test', *failed + few)


def table_is_fresh(results):
    written = open(TABLE).read() if os.path.exists(TABLE) else ''
    return tell(written == table(results), 'docs/conformance.md is what the packet tests gave',
                'tests/conformance.py --write makes it anew')


def every_drop_is_produced(results):
    reasons = re.findall(r'^DROP\(\w+, *"(\w+)"', open(STAGES).read(), re.M)
    missing = [r for r in reasons if r not in results.drops]
    return tell(reasons and not missing, 'every drop reason is produced by a test', *missing)


def checksums_are_right(results):
    total, wrong = 0, []
    for path, upto in results.pcaps.items():
        sums, bad = checksums.check(path)
        total += sums
        for n, what in bad:
            test = next((name for frames, name in upto if n < frames), 'after the last test')
            wrong.append('%s: %s: wrong checksum: %s' % (os.path.basename(path), test, what))
    return tell(total and not wrong, 'scapy finds no wrong checksum among %d' % total, *wrong[:20])


def check(folder):
    results = Results(folder)
    holds = [f(results) for f in (rules_hold, table_is_fresh, every_drop_is_produced, checksums_are_right)]
    return 0 if all(holds) else 1


def write():
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(['meson', 'test', '-C', os.path.join(ROOT, 'build'), '--suite', 'packet'], stdout=subprocess.PIPE,
                             text=True, env={**os.environ, 'NEARWAY_RESULTS': folder})
        if run.returncode != 0:
            sys.exit(run.stdout)
        with open(TABLE, 'w') as f:
            f.write(table(Results(folder)))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    return write() if sys.argv[1] == '--write' else check(sys.argv[1])


sys.exit(main())
