# SPDX-License-Identifier: BSD-3-Clause
"""What the router is to reach on a transport, beside whom, and whether it does.

>>> rounds = {('W1', 1000, '60'): {'testpmd': [20.0, 10.0, 20.0], 'nearway': [16.0, 8.0, 15.2]},
...           ('W3', 1000, '60'): {'ovs': [4.0, 4.0, 4.0], 'nearway': [5.6, 5.6, 5.2]},
...           ('W4', 1000, '60'): {'ovs': [4.0, 4.0, 4.0], 'nearway': [2.0, 6.0, 9.0]},
...           ('W5', 100000, '60'): {'testpmd': [20.0], 'ovs': [1.0]},
...           ('W8', 100000, '60'): {'testpmd': [20.0, 0.0], 'nearway': [8.0, 4.0]}}
>>> print('\\n'.join(verdicts(rounds)))
W1      1,000 VMs: asked 0.75 of testpmd, is 0.80 (0.78 to 0.80): held
W8    100,000 VMs: nothing asked of testpmd, is 0.40 (0.40 to 0.40)
W3      1,000 VMs: asked 1.50 of ovs, is 1.40 (1.35 to 1.40): not held
W4      1,000 VMs: asked 1.50 of ovs, is 1.50 (1.00 to 1.88): noisy
"""
import statistics

ROUTER, FRAME = 'nearway', '60'
SPREAD = 0.25  # of the median, between quartiles: beyond it a ratio says little
ASKED = [
    (('W1', 'W2'), 1000, 'testpmd', 0.75),
    (('W1', 'W2'), 100000, 'testpmd', 0.60),
    (('W1', 'W2'), 1000000, 'testpmd', 0.30),
    (('W3', 'W4'), 100000, 'testpmd', 0.60),
    (('W5',), 100000, 'testpmd', 0.45),
    (('W8',), 100000, 'testpmd', None),  # beside W5
    (('W1', 'W2'), 100000, 'ovs', 4),
    (('W1', 'W2'), 100000, 'kernel', 20),
    (('W3', 'W4'), 1000, 'ovs', 1.5),
]


def quartiles(values):
    return statistics.quantiles(values, n=4, method='inclusive') if len(values) > 1 else values * 3


def is_spread(q1, median, q3):
    return q3 - q1 > SPREAD * median


def verdict(ratios, beside, asked):
    q1, median, q3 = quartiles(ratios)
    measured = f'is {median:.2f} ({q1:.2f} to {q3:.2f})'
    if asked is None:
        return f'nothing asked of {beside}, {measured}'
    word = 'noisy' if is_spread(q1, median, q3) else 'held' if median >= asked else 'not held'
    return f'asked {asked:.2f} of {beside}, {measured}: {word}'


def verdicts(rounds):
    """A line for each ratio that was measured: `rounds` has the Mpps of each round, by workload, VMs and frame, and device. A round in
    which the other device gave nothing says nothing."""
    for workloads, vms, beside, asked in ASKED:
        for workload in workloads:
            mpps = rounds.get((workload, vms, FRAME), {})
            ratios = [ours / theirs for ours, theirs in zip(mpps.get(ROUTER, ()), mpps.get(beside, ())) if theirs]
            if ratios:
                yield f'{workload} {vms:>10,} VMs: {verdict(ratios, beside, asked)}'
