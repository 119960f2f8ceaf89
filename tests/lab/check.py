# SPDX-License-Identifier: BSD-3-Clause
"""Cases of a system test: each prints `ok SENTENCE` or `not ok SENTENCE: why`; skip() where the machine cannot."""
import contextlib
import sys
import traceback

from lab import Lab

failed = []


@contextlib.contextmanager
def case(sentence):
    try:
        yield
    except Exception as e:  # every kind of failure is a result here
        where = traceback.extract_tb(e.__traceback__)[-1]
        text = ' '.join(str(e).split()) or type(e).__name__
        print(f'not ok {sentence}: {text} ({where.name}:{where.lineno})', flush=True)
        failed.append(sentence)
    else:
        print(f'ok {sentence}', flush=True)


def expect(condition, text):
    """An assertion that says what was seen."""
    if not condition:
        raise AssertionError(text)


def skip(sentence, why):
    print(f'skip {sentence}: {why}', flush=True)


def finish(*processes):
    """Takes the labs down and ends the test; after a failure, with the ends of the programs' logs."""
    if failed:
        for p in processes:
            print(f'---- {p.name}:\n{p.output()[-3000:]}')
    if Lab.all:
        with case('every router ends in order when it is told to'):
            faults = [f for lab in Lab.all for f in lab.close()]
            print(''.join(f'---- {f}\n' for f in faults), end='')
            expect(not faults, '; '.join(f.split(':')[0] for f in faults))
    sys.exit(1 if failed else 0)
