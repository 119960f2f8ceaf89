#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A cloud controller in Python: the commands of nearway-clc (docs/nearway-clc.1), with the same inventory."""
import argparse
import base64
import ipaddress
import json
import os
import queue
import re
import sys
import threading

from channel import ChannelError, Identity, Target, key_from_file
from client import NotFound, Router, RpcError, StaleEpoch, change, follow
from inventory import Faults, load
from noise import NO_PSK, public_key
from state import Busy, State

COLUMNS = 'VM               SITE     SEGMENT    MAC               PRIVATE         GLOBAL          EPOCH  STATE'
LIST = 1000  # changes in one txn.apply; more are staged


class Refused(Exception):
    """What was asked for cannot be done; the text says why."""


class Controller:
    """One command's view of the world: inventory, state, and a session with each router that it needs."""

    def __init__(self, inventory, verbose=False):
        self.inventory, self._routers = inventory, {}
        self.verbose = verbose
        self.state = None

    def say(self, text):
        if self.verbose:
            print(text, file=sys.stderr)

    def open_state(self):
        self.state = State(self.inventory['clc']['state'])

    def close(self):
        for router in self._routers.values():
            router.close()

    # ---- who is who ----

    def identity(self):
        own = self.inventory['clc']
        return Identity(own['name'], key_from_file(own['key-file']), 'controller', own['term'])

    def target(self, name):
        r = self.known('routers', name)
        return Target(name, r['address'], r['key'], r['old-key'], r['psk'] or NO_PSK)

    def router(self, name):
        if name not in self._routers:
            self._routers[name] = Router(self.identity(), self.target(name))
            self.say(f"{name}: up, handshake {self._routers[name].channel.hash.hex()[:16]}, hello {self._routers[name].peer}")
        return self._routers[name]

    def known(self, kind, name):
        if name not in self.inventory[kind]:
            raise Refused(f"{kind} of the inventory: there is no {name}; there are {', '.join(self.inventory[kind])}")
        return self.inventory[kind][name]

    def vm(self, name):
        if name not in self.state.vms:
            raise Refused(f'VM {name} does not exist')
        return self.state.vms[name]

    def home(self, vm):
        """The name of the VM's router."""
        return self.known('sites', vm['site'])['router']

    # ---- addresses ----

    def in_use(self, router):
        """Addresses, private by segment and global, of what we know and of what the router knows."""
        rows = list(self.state.vms.values()) + self.router(router).rows('vms')
        entries = [(r['segment'], a) for r in rows for a in r['addresses'] + r.get('held', []) + r.get('drains', [])]
        return {(s, a['private']) for s, a in entries} | {a['global'] for _, a in entries if a.get('global')}

    def private(self, segment, used):
        """A free private address of the segment's range."""
        s = self.known('segments', segment)
        bounds = s['range'] or {'first': s['prefix'][1], 'last': s['prefix'][-2]}
        first, last = (int(ipaddress.IPv4Address(str(bounds[b]))) for b in ('first', 'last'))
        for n in range(first, last + 1):
            ip = str(ipaddress.IPv4Address(n))
            if ip != s['gateway'] and (segment, ip) not in used:
                return ip
        raise Refused(f'segment {segment}: no private address is free')

    def public(self, site, used):
        """A free global address of the site's pools; it is used from now on."""
        for pool in self.known('sites', site)['pools']:
            for host in pool['prefix'].hosts():
                if str(host) not in used:
                    used.add(str(host))
                    return str(host)
        raise Refused(f'site {site}: no global address is free')

    def new_mac(self):
        used = {vm['mac'] for vm in self.state.vms.values()}
        macs = (f"{self.inventory['clc']['mac-prefix']}:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(1, 1 << 24))
        return next(m for m in macs if m not in used)

    def routed(self, vm):
        return self.known('segments', vm['segment'])['access'] == 'routed'

    # ---- telling routers: what is to be done is in the state before ----

    def request(self, vm):
        """The change that carries out the VM's `todo`."""
        params = {'segment': vm['segment'], 'mac': vm['mac'], 'epoch': vm['epoch']}
        if vm['todo'] == 'unregister':
            return change('vm.unregister', **params)
        params['addresses'] = vm['addresses']
        if vm['todo'] == 'move':
            old = [h for h in vm['held'] if h['router'] != self.home(vm)]
            params.update(vm['drain'], **({'old': old} if old else {}))
        return change('vm.' + vm['todo'], **params)

    def tell(self, vms):
        """Carries out what is to be done to VMs, all at one router, as one transaction. What the router knows better is taken
        over from it."""
        router = self.router(self.home(vms[0]))
        while vms:
            try:
                self.apply(router, [self.request(vm) for vm in vms])
                break
            except StaleEpoch as e:
                known = e.data['vm']
                stale = next(vm for vm in vms if (vm['segment'], vm['mac']) == (known['segment'], known['mac']))
                vms.remove(stale)
                vms += self.overtaken(stale, known)
        for vm in vms:
            self.done(vm)

    def overtaken(self, vm, known):
        """What is still to be told of a VM that the router knows at a higher epoch: a new VM with the MAC of a deleted one goes
        on above that; any other becomes what the router has."""
        if known.get('deleted') and self.state.vms.get(vm['name'], {}).get('todo') == 'register':
            vm = {**vm, 'epoch': known['epoch'] + 1}
            self.state.store(vm)
            return [vm]
        self.take_over(known)
        return []

    def apply(self, router, changes):
        self.say(f"{router.name}: {', '.join(sorted({item['method'] for item in changes}))}: {len(changes)} changes")
        if len(changes) <= LIST:
            return router.apply(changes)
        with router.transaction() as t:
            t.extend(changes)
            return t.commit()

    def done(self, vm):
        """Routes first: a command that is cut off here is given again."""
        self.host_routes(vm, remove=vm['todo'] == 'unregister')
        if vm['todo'] == 'unregister':
            self.state.forget(vm)
        else:
            self.state.store({**vm, 'todo': None, 'drain': {}})

    def host_routes(self, vm, remove=False):
        for route in self.known('sites', vm['site'])['routes'] if self.routed(vm) else ():
            for a in vm['addresses']:
                prefix = a['private'] + '/32'
                if remove:
                    self.router(route['router']).call('route.delete', prefix=prefix)
                else:
                    self.router(route['router']).call('route.replace', prefix=prefix, via=route['via'])

    # ---- learning from routers ----

    def site_of(self, router):
        return next((s['name'] for s in self.inventory['sites'].values() if s['router'] == router), None)

    def take_over(self, row):
        """Makes a VM as a router has it our own, under its name, or the MAC where we have none."""
        vm = self.state.find(row['segment'], row['mac'])
        if row.get('deleted'):
            if vm:
                self.state.forget(vm)
            return
        site = self.site_of(row['owner'])
        if site is None:
            raise Refused(f"VM {row['mac']} is at router {row['owner']}, which is that of no site")
        self.state.store({'name': vm['name'] if vm else row['mac'], 'segment': row['segment'], 'mac': row['mac'], 'site': site,
                          'epoch': row['epoch'], 'addresses': [plain(a) for a in row['addresses']],
                          'held': [{**plain(d), 'router': d['router'], 'epoch': d['epoch']} for d in row.get('drains', ())],
                          'todo': None, 'drain': {}})

    def release(self):
        """Frees old addresses that their home translates no more; how many."""
        rows, freed = {}, 0
        for vm in list(self.state.vms.values()):
            for router in {h['router'] for h in vm['held']} - rows.keys():
                rows[router] = self.try_rows(router)
            left = [h for h in vm['held'] if not free(vm, h, rows[h['router']])]
            if len(left) < len(vm['held']):
                freed += len(vm['held']) - len(left)
                self.state.store({**vm, 'held': left})
        return freed

    def try_rows(self, router):
        """None when the router cannot be reached: then nothing of its is free."""
        try:
            return self.router(router).rows('vms')
        except ChannelError:
            return None


def plain(address):
    """Without what is a router's own."""
    return {k: address[k] for k in ('private', 'global') if k in address}


def free(vm, held, rows):
    """Whether an old address's home shows it no more and has heard of the move."""
    row = next((r for r in rows or () if (r['segment'], r['mac']) == (vm['segment'], vm['mac'])), None)
    return row is not None and row['epoch'] >= held['epoch'] and \
        held['global'] not in [a.get('global') for a in row['addresses'] + row.get('drains', [])]


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
    leaving = [c.vm(n) for n in names if c.vm(n)['site'] != args.to]
    if leaving:
        used = c.in_use(to['router'])
        drain = {k: v for k, v in (('drain-min', args.drain_min), ('drain-max', args.drain_max)) if v}
        c.state.store(*[moved(c, vm, args.to, drain, used) for vm in leaving])
    pending = [c.vm(n) for n in names if c.vm(n)['todo'] and c.vm(n)['site'] == args.to]
    if pending:
        c.tell(pending)
    return {'vms': [c.state.vms[n] for n in names if n in c.state.vms]}


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
    return c.router(args.router).call('route.replace', prefix=args.prefix, via=args.via)


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
        sub.set_defaults(run=run, state=state)
        for flags, options in arguments:
            sub.add_argument(*flags.split(), **options)

    site = {'metavar': 'SITE'}
    command('create', create, ('vm', {}), ('--site', {**site, 'required': True}), ('--segment', {'required': True}), ('--mac', {}),
            ('--private', {'metavar': 'IP'}))
    command('move', move, ('vms', {'nargs': '*', 'metavar': 'VM'}), ('--to', {**site, 'required': True}),
            ('--all', {'action': 'store_true'}), ('--from', {**site, 'dest': 'source'}), ('--drain-min', {'type': duration}),
            ('--drain-max', {'type': duration}))
    command('route', route, ('prefix', {}), ('--router', {'required': True}), ('--via', {'required': True, 'metavar': 'IP'}))
    command('delete', delete, ('vm', {}))
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
