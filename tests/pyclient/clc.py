#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A cloud controller in Python: the commands of nearway-clc (docs/nearway-clc.1), with the same inventory."""
import argparse
import base64
import json
import os
import queue
import re
import sys
import threading

import prepared
from channel import ChannelError, key_from_file
from client import NotFound, RpcError, follow
from controller import Controller, Refused
from inventory import Faults, load
from noise import public_key
from state import Busy

COLUMNS = 'VM               SITE     SEGMENT    MAC               PRIVATE         GLOBAL          EPOCH  STATE'


# ---- commands: each returns what --json prints ----

def create(c, args):
    c.known('segments', args.segment)
    site = c.known('sites', args.site)
    vm = c.state.vms.get(args.vm)
    if vm is None:
        c.release()
        used = c.in_use(site['router'])
        vm = {'name': args.vm, 'segment': args.segment, 'mac': args.mac or c.new_mac(), 'site': args.site, 'epoch': 1,
              'addresses': [], 'held': [], 'todo': 'register', 'drain': {}}
        address = {'private': args.private or c.private(args.segment, used)}
        vm['addresses'] = [address if c.routed(vm) else {**address, 'global': c.public(args.site, used)}]
        c.state.store(vm)
    elif (vm['site'], vm['segment']) != (args.site, args.segment) or args.mac not in (None, vm['mac']):
        raise Refused(f"VM {args.vm} exists: {vm['mac']} in segment {vm['segment']} at site {vm['site']}")
    if vm['todo']:
        c.tell([vm])
    return {'vms': [c.state.vms[args.vm]]}


def move(c, args):
    to = c.known('sites', args.to)
    if bool(args.vms) == args.all or args.all and not args.source:
        raise Refused('name VMs, or --all with --from SITE')
    vms = [vm for vm in c.state.vms.values() if vm['site'] in (args.source, vm['todo'] and args.to)] if args.all else [c.vm(n) for n in args.vms]
    names = [vm['name'] for vm in vms]
    c.release()
    used = c.in_use(to['router'])
    for some in [names] if c.plans is None else [[n] for n in names]:  # each has its own plan
        move_some(c, some, args, used)
    return outcome(c, names)


def outcome(c, names):
    """The VMs as they are now, or what would be made of them."""
    return {'vms': [c.state.vms[n] for n in names if n in c.state.vms]} if c.plans is None else {'plans': c.plans}


def policy(args):
    """What a move shall make of old addresses and sessions."""
    return {k: v for k, v in (('drain-min', args.drain_min), ('drain-max', args.drain_max), ('sessions', args.sessions)) if v}


def move_some(c, names, args, used):
    """As one transaction."""
    leaving = [c.vm(n) for n in names if c.vm(n)['site'] != args.to]
    c.state.store(*[moved(c, vm, args.to, policy(args), used) for vm in leaving])
    pending = [c.vm(n) for n in names if c.vm(n)['todo'] and c.vm(n)['site'] == args.to]
    if pending:
        c.tell(pending)


def evacuate(c, args):
    """Moves all VMs of a site, or those of a list, a batch at a time; what was cut off goes on. Of a batch that is refused its halves,
    down to the VMs that are to blame: they stay. Given again, a list may have VMs that have moved already."""
    to = c.known('sites', args.to)
    c.known('sites', args.source)
    chosen = c.state.vms.values() if args.vms is None else chosen_of(c, args)
    names = sorted(vm['name'] for vm in chosen if args.segment in (None, vm['segment'])
                   and (vm['site'], vm['todo']) in ((args.source, None), (args.to, 'move')))
    c.release()
    used, refused = c.in_use(to['router']), []
    for at in range(0, len(names), args.batch):
        move_parts(c, names[at:at + args.batch], args, used, refused)
    return {'wanted': len(names), 'moved': len(names) - len(refused), 'batches': -(-len(names) // args.batch), 'refused': refused,
            **({} if c.plans is None else {'dry-run': True})}


def chosen_of(c, args):
    """The VMs of --vms, a name a line; a fault is told with its line."""
    with sys.stdin if args.vms == '-' else open(args.vms, encoding='utf-8') as f:
        lines = f.read().splitlines()
    first = {}
    for number, name in enumerate(lines, 1):
        if not name:
            continue
        if name in first:
            raise Refused(f'--vms: line {number}: VM {name} is given twice, first in line {first[name]}')
        if name not in c.state.vms:
            raise Refused(f'--vms: line {number}: no VM {name}')
        if c.vm(name)['site'] not in (args.source, args.to):
            raise Refused(f"--vms: line {number}: VM {name} is at site {c.vm(name)['site']}, not at {args.source}")
        first[name] = number
    return [c.vm(name) for name in first]


def move_parts(c, names, args, used, refused):
    before = [c.vm(n) for n in names]
    try:
        move_some(c, names, args, used)
    except RpcError as e:
        c.state.store(*before)
        if len(names) == 1:
            refused.append({'vm': names[0], 'error': str(e)})
            return
        move_parts(c, names[:len(names) // 2], args, used, refused)
        move_parts(c, names[len(names) // 2:], args, used, refused)


def moved(c, vm, to, drain, used):
    """The VM as it will be: an address of its own that drains at the new site comes back, another is taken from the pool."""
    new = c.known('sites', to)['router']
    epoch = vm['epoch'] + 1
    back = {h['private']: h['global'] for h in vm['held'] if h['router'] == new}
    addresses = [a if 'global' not in a else {'private': a['private'], 'global': back.get(a['private']) or c.public(to, used)}
                 for a in vm['addresses']]
    held = [h for h in vm['held'] if h['global'] not in [a.get('global') for a in addresses]]
    held += [{**a, 'router': c.home(vm), 'epoch': epoch} for a in vm['addresses'] if 'global' in a]
    return {**vm, 'site': to, 'epoch': epoch, 'addresses': addresses, 'held': held, 'todo': 'move', 'drain': drain}


def prepare(c, args):
    vm, to = c.vm(args.vm), c.known('sites', args.to)
    plan = vm.get('plan')
    if plan and plan['site'] != args.to or vm['todo'] or vm['site'] == args.to:
        raise Refused(f"VM {args.vm} is at {vm['site']}; {vm['todo'] or (plan and 'prepared for ' + plan['site']) or 'nothing to do'}")
    if not plan:
        c.release()
        plan = moved(c, {**vm, 'epoch': max(vm['epoch'], vm.get('aborted', 0))}, args.to, policy(args), c.in_use(to['router']))
    told = prepared.prepare(c, vm, plan)
    return told if c.plans is None else {'plans': c.plans}


def pause(c, args):
    return prepared.pause(c, c.vm(args.vm))


def commit(c, args):
    prepared.commit(c, c.vm(args.vm))
    return outcome(c, [args.vm])


def abort(c, args):
    prepared.abort(c, c.vm(args.vm))
    return {'vms': [c.state.vms[args.vm]]}


def delete(c, args):
    vm = c.state.vms.get(args.vm)
    if vm:
        if vm['todo'] != 'unregister':
            vm = {**vm, 'epoch': vm['epoch'] + 1, 'todo': 'unregister'}
            c.state.store(vm)
        try:
            c.tell([vm])
        except NotFound:
            c.done(vm)
    return {'vms': []}


def route(c, args):
    guard = {} if args.if_revision is None else {'if_revision': args.if_revision}
    return c.router(args.router).call('route.replace', prefix=args.prefix, via=args.via, **guard)


def listing(c, _):
    return {'vms': list(c.state.vms.values())}


def status(c, _):
    out = []
    for name in c.inventory['routers']:
        try:
            out.append({'router': name, 'reachable': True, 'status': c.router(name).call('show.status')})
        except ChannelError as e:
            out.append({'router': name, 'reachable': False, 'error': str(e)})
    return {'routers': out}


def release(c, _):
    return {'released': c.release()}


def sync(c, _):
    """Each router is asked for the VMs that it owns; one that cannot be reached is an error, after the others are done."""
    lost = []
    for site in c.inventory['sites'].values():
        try:
            sync_site(c, site['name'], c.router(site['router']))
        except ChannelError as e:
            lost.append(str(e))
    c.release()
    if lost:
        raise Refused('; '.join(lost))
    return {'vms': list(c.state.vms.values())}


def sync_site(c, site, router):
    for vm in [vm for vm in c.state.vms.values() if vm.get('plan') and vm['plan']['site'] == site]:
        prepared.finish(c, vm)
    rows = {(r['segment'], r['mac']): r for r in router.rows('vms') if r['owner'] == router.name}
    for row in rows.values():
        vm = c.state.find(row['segment'], row['mac'])
        if vm is None or vm['epoch'] < row['epoch']:
            c.take_over(row)
    ours = [vm for vm in c.state.vms.values() if vm['site'] == site]
    lacking = [{**vm, 'todo': vm['todo'] or 'register'} for vm in ours if vm['todo'] or (vm['segment'], vm['mac']) not in rows]
    if lacking:
        c.tell(lacking)


def watch(c, args):
    """Prints events of all routers until Ctrl-C."""
    events = queue.Queue()

    def one(name):
        for event in follow(c.identity(), c.target(name)):
            events.put((name, event))

    for name in c.inventory['routers']:
        threading.Thread(target=one, args=(name,), daemon=True).start()
    while True:
        name, event = events.get()
        print(json.dumps({'router': name, **event}) if args.json else f'{name} {told(event)}', flush=True)


def told(event):
    """An event as a line."""
    if 'resync' in event:
        return f"events are missing: {event['resync']}"
    rest = {k: v for k, v in event.items() if k not in ('number', 'time', 'class', 'kind')}
    return f"{event['time']} {event['class']} {event['kind']} " + ' '.join(f'{k}={json.dumps(v)}' for k, v in rest.items())


def keygen(args):
    private = os.urandom(32)
    with open(os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'w', encoding='ascii') as f:
        f.write(base64.b64encode(private).decode() + '\n')
    print(base64.b64encode(public_key(private)).decode())


def pubkey(args):
    print(base64.b64encode(public_key(key_from_file(args.file))).decode())


def check(args):
    load(args.config)


# ---- the command line ----

def duration(text):
    if not re.fullmatch(r'\d+(ms|s|m|h|d)', text):
        raise argparse.ArgumentTypeError('a number and one of ms, s, m, h, d')
    return text


def parser():
    p = argparse.ArgumentParser(prog='clc.py', description=__doc__)
    p.add_argument('-c', '--config', default='/etc/nearway/clc.yaml', metavar='FILE', help='the inventory')
    p.add_argument('--json', action='store_true', help='results as JSON')
    p.add_argument('-v', '--verbose', action='store_true', help='says what happens on the channels')
    p.add_argument('--version', action='version', version='clc.py, protocol version 1')
    commands = p.add_subparsers(required=True, metavar='COMMAND')

    def command(name, run, *arguments, state=True):
        sub = commands.add_parser(name, help=(run.__doc__ or '').split('.')[0])
        sub.set_defaults(run=run, state=state, dry_run=False)
        for flags, options in arguments:
            sub.add_argument(*flags.split(), **options)

    site = {'metavar': 'SITE'}
    old = (('--drain-min', {'type': duration}), ('--drain-max', {'type': duration}),
           ('--sessions', {'choices': ('home', 'direct', 'cut')}))
    dry = ('--dry-run', {'action': 'store_true', 'help': 'routers tell what they would do; nothing changes'})
    command('create', create, ('vm', {}), ('--site', {**site, 'required': True}), ('--segment', {'required': True}), ('--mac', {}),
            ('--private', {'metavar': 'IP'}))
    command('move', move, ('vms', {'nargs': '*', 'metavar': 'VM'}), ('--to', {**site, 'required': True}),
            ('--all', {'action': 'store_true'}), ('--from', {**site, 'dest': 'source'}), *old, dry)
    command('evacuate', evacuate, ('--from', {**site, 'dest': 'source', 'required': True}), ('--to', {**site, 'required': True}),
            ('--segment', {}), ('--vms', {'metavar': 'FILE'}), ('--batch', {'type': int, 'default': 1000, 'metavar': 'N'}), *old, dry)
    command('route', route, ('prefix', {}), ('--router', {'required': True}), ('--via', {'required': True, 'metavar': 'IP'}),
            ('--if-revision', {'type': int, 'metavar': 'N'}))
    command('prepare', prepare, ('vm', {}), ('--to', {**site, 'required': True}), *old, dry)
    command('commit', commit, ('vm', {}), dry)
    for name, run in (('pause', pause), ('abort', abort), ('delete', delete)):
        command(name, run, ('vm', {}))
    for name, run in (('list', listing), ('release', release), ('sync', sync)):
        command(name, run)
    command('status', status, state=False)
    command('watch', watch, state=False)
    for name, run in (('keygen', keygen), ('pubkey', pubkey)):
        command(name, run, ('file', {'metavar': 'FILE'}), state=None)
    command('check', check, state=None)
    return p


def table(vms):
    """The VMs, and under each its old addresses."""
    print(COLUMNS)
    for vm in vms:
        for i, a in enumerate(vm['addresses']):
            head = f"{vm['name']:16} {vm['site']:8} {vm['segment']:10} {vm['mac']:17}" if i == 0 else ' ' * 54
            print(f"{head} {a['private']:15} {a.get('global', '-'):15} {vm['epoch']:5}  {vm['todo'] or 'active'}")
        for h in vm['held']:
            print(f"{'':54} {h['private']:15} {h['global']:15} {h['epoch']:5}  old, of router {h['router']}")


def show(result):
    if 'vms' in result:
        table(result['vms'])
    else:
        print(json.dumps(result, indent=2))


def run(args):
    """Runs a command that needs the inventory; `args.state` those that need the state, too."""
    c = Controller(load(args.config), args.verbose)
    try:
        if args.state:
            c.open_state()
        if args.dry_run:
            c.dry_run()
        result = args.run(c, args)
        print(json.dumps(result)) if args.json else show(result)
    finally:
        c.close()


def main():
    args = parser().parse_args()
    try:
        args.run(args) if args.state is None else run(args)
    except (Refused, Busy, Faults, RpcError, OSError, ValueError) as e:
        if args.json:
            print(json.dumps({'error': str(e)}))
        else:
            print(f'clc.py: {e}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == '__main__':
    sys.exit(main())
