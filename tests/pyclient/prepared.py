# SPDX-License-Identifier: BSD-3-Clause
"""A move told step by step (sections 6 and 8 of docs/controller-protocol.md): prepare, pause, commit, abort.

The VM's record keeps two members meanwhile: `plan`, the VM as it will be, and `ending`: None, 'commit' or 'abort'. `aborted` is the
last epoch that an aborted move used up.
"""
from client import MoveAborted, MoveCommitted, NotFound
from controller import Refused


def call(c, vm, method):
    plan = vm['plan']
    params = {'segment': plan['segment'], 'mac': plan['mac'], 'epoch': plan['epoch']}
    if method == 'move.prepare':
        params = c.request(plan)['params']
    return c.change(c.router(c.home(plan)), method, **params)


def prepare(c, vm, plan):
    """`plan`: the VM as it will be."""
    vm = {**vm, 'plan': plan, 'ending': None}
    c.state.store(vm)
    try:
        return call(c, vm, 'move.prepare')
    except MoveAborted as e:
        raise aborted(c, vm, e) from None


def pause(c, vm):
    need(vm)
    try:
        return call(c, vm, 'move.pause')
    except MoveAborted as e:
        raise aborted(c, vm, e) from None


def commit(c, vm):
    need(vm)
    vm = {**vm, 'ending': 'commit'}
    c.state.store(vm)
    try:
        call(c, vm, 'move.commit')
    except NotFound:  # the router has lost it: all of it in one call
        return c.tell([vm['plan']])
    except MoveCommitted:
        pass
    except MoveAborted as e:
        raise aborted(c, vm, e) from None
    return c.done(vm['plan'])


def abort(c, vm):
    need(vm)
    vm = {**vm, 'ending': 'abort'}
    c.state.store(vm)
    try:
        call(c, vm, 'move.abort')
    except (NotFound, MoveAborted):
        pass
    except MoveCommitted:
        c.done(vm['plan'])
        raise Refused(f"the move of VM {vm['name']} is committed already") from None
    forget(c, vm)


def finish(c, vm):
    """Of sync: what was cut off; and a VM that arrived by itself is one that was committed."""
    try:
        if vm['ending'] == 'commit':
            commit(c, vm)
        elif vm['ending'] == 'abort':
            abort(c, vm)
        else:
            call(c, vm, 'move.prepare')
    except MoveCommitted:
        c.done(vm['plan'])
    except MoveAborted:
        forget(c, vm)
    except Refused as e:
        c.say(str(e))


def need(vm):
    if not vm.get('plan'):
        raise Refused(f"no move of VM {vm['name']} is prepared")


def forget(c, vm):
    c.state.store({**vm, 'plan': None, 'ending': None, 'aborted': vm['plan']['epoch']})


def aborted(c, vm, error):
    forget(c, vm)
    return Refused(f"the move of VM {vm['name']} was aborted: {(error.data or {}).get('reason') or 'asked'}")
