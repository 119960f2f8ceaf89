# SPDX-License-Identifier: BSD-3-Clause
"""What the commands of clc.py are made of: inventory, state and routers in one hand.

Every change goes the way of section 7 of docs/controller-protocol.md: stored, told, stored as done.
"""
import ipaddress
import sys

from channel import ChannelError, Identity, Target, key_from_file
from client import Router, StaleEpoch, change
from noise import NO_PSK
from state import State

LIST = 1000  # changes in one txn.apply; more are staged


class Refused(Exception):
    """What was asked for cannot be done; the text says why."""


class Controller:
    """One command's view of the world: inventory, state, and a session with each router that it needs."""

    def __init__(self, inventory, verbose=False):
        self.inventory, self._routers = inventory, {}
        self.verbose = verbose
        self.state = None
        self.plans = None  # of a dry run: what each change would make of a VM

    def say(self, text):
        if self.verbose:
            print(text, file=sys.stderr)

    def open_state(self):
        self.state = State(self.inventory['clc']['state'])

    def dry_run(self):
        """From now on nothing is changed, neither at routers nor here."""
        self.state.dry, self.plans = True, []

    def close(self):
        for router in self._routers.values():
            router.close()
        if self.state:
            self.state.close()

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
        rows += [vm['plan'] for vm in self.state.vms.values() if vm.get('plan')]
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
                known = e.data.get('vm', e.data)  # of a list, of one change
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
        dry = {} if self.plans is None else {'dry_run': True}
        if len(changes) == 1:  # in a list it has no plan
            return self.change(router, changes[0]['method'], **changes[0]['params'])
        if len(changes) <= LIST:
            return router.apply(changes, **dry)
        with router.transaction() as t:
            t.extend(changes)
            return t.commit(**dry)

    def change(self, router, method, **params):
        """One change, or what it would make of a VM."""
        if self.plans is None:
            return router.call(method, **params)
        result = router.call(method, **params, dry_run=True)
        self.plans += [result['plan']] if 'plan' in result else []
        return result

    def done(self, vm):
        """Routes first: a command that is cut off here is given again."""
        self.host_routes(vm, remove=vm['todo'] == 'unregister')
        if vm['todo'] == 'unregister':
            self.state.forget(vm)
        else:
            self.state.store({**vm, 'todo': None, 'drain': {}, 'plan': None})

    def host_routes(self, vm, remove=False):
        for route in self.known('sites', vm['site'])['routes'] if self.routed(vm) else ():
            for a in vm['addresses']:
                prefix = a['private'] + '/32'
                if remove:
                    self.change(self.router(route['router']), 'route.delete', prefix=prefix)
                else:
                    self.change(self.router(route['router']), 'route.replace', prefix=prefix, via=route['via'])

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
