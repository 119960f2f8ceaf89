# SPDX-License-Identifier: BSD-3-Clause
"""JSON-RPC to a router: calls, pipelining, errors as exceptions, events, transactions, copies.

docs/controller-protocol.md, sections 5 to 9.

    with Router(identity, target) as router:
        router.call('vm.register', segment='blue', mac=mac, epoch=1, addresses=[{'private': '10.1.0.10'}])
"""
import hashlib
import itertools
import json
import queue
import threading
from concurrent.futures import Future

from channel import Channel, ChannelError, pauses

OUTSTANDING = 1000  # requests of a channel that wait for replies: the router reads no further at 1,024
PART = 1000         # changes in a part of a staged transaction
PART_BYTES = 900_000
EVENTS_WAITING = 4096


class RpcError(Exception):
    """A router's error: `code`, `message`, `data` (None when left out). Section 6 says which have a class."""

    def __init__(self, code, message, data=None):
        super().__init__(f'{message} (error {code})')
        self.code, self.message, self.data = code, message, data


class Denied(RpcError):
    """The key's role may not call this."""


class StaleEpoch(RpcError):
    """The router knows a higher epoch; `data` is the VM. Done, as far as the client is concerned."""


class Conflict(RpcError):
    """Same epoch and other content, or an address in use; `data` is the VM in the way, or None."""


class NotFound(RpcError):
    pass


class LimitReached(RpcError):
    """A limit; of `state.replace`, with `data` = {'removed': {'vms', 'routes'}}, that of `max-remove`."""


class StoreFailed(RpcError):
    """The disk refused; nothing was changed. Try again."""


class EpochStep(RpcError):
    pass


class Superseded(RpcError):
    """Another controller has this term, or a higher one."""


class RevisionDiffers(RpcError):
    """What changes is not at `if-revision`; `data` is the object as it is."""


class MoveCommitted(RpcError):
    """The move is committed already; `data` is the move."""


class MoveAborted(RpcError):
    """The move was aborted; `data` is the move."""


ERRORS = {1: Denied, 2: StaleEpoch, 3: Conflict, 4: NotFound, 5: LimitReached, 6: StoreFailed, 7: EpochStep, 8: Superseded,
          9: RevisionDiffers, 10: MoveCommitted, 11: MoveAborted}


def change(method, **params):
    """An item of the lists of txn.apply, txn.add and state.replace. `a_b` is written `a-b`."""
    return {'method': method, 'params': members(params)}


def members(params):
    return {name.replace('_', '-'): value for name, value in params.items()}


def canonical(item):
    """A change as the hash of txn.commit has it."""
    return json.dumps(item, sort_keys=True, separators=(',', ':')).encode('ascii')


class Router:
    """A session with a router. Any thread may call; each waits for its own reply.

    `peer` is the router's hello. ChannelError from every method once the session has ended."""

    def __init__(self, identity, target):
        self.name = target.name
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting = {}  # Future by id
        self._room = threading.BoundedSemaphore(OUTSTANDING)
        self._events = None
        self.channel = Channel(identity, target, self._take, self._end)
        self.peer = self.channel.hello

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.channel.close()

    def renew(self):
        """New keys for the channel, now."""
        self.channel.renew()

    # ---- requests ----

    def send(self, method, **params):
        """Begins a call; a Future with the result, an RpcError or a ChannelError. Waits while 1,000 are under way."""
        return self._begin(Future(), method, params)

    def _begin(self, future, method, params):
        self._room.acquire()
        number = next(self._ids)
        text = {'jsonrpc': '2.0', 'id': number, 'method': method, 'params': members(params)}
        with self._lock:
            self._waiting[number] = future
        try:
            self.channel.send(json.dumps(text).encode())
        except (ValueError, ChannelError) as e:
            self._settle(number, error=e)
        return future

    def call(self, method, **params):
        """One call and its result. RpcError, or ChannelError: then nobody knows whether it was carried out."""
        return self.send(method, **params).result()

    def notify(self, method, **params):
        """A request that is carried out and never answered."""
        self.channel.send(json.dumps({'jsonrpc': '2.0', 'method': method, 'params': members(params)}).encode())

    # ---- what comes: in the channel's reading thread ----

    def _take(self, text):
        message = json.loads(text)
        if message.get('method') == 'event':
            self._take_events(message['params'])
        elif 'error' in message:
            error = message['error']
            kind = ERRORS.get(error['code'], RpcError)
            self._settle(message['id'], error=kind(error['code'], error['message'], error.get('data')))
        else:
            self._settle(message['id'], message['result'])

    def _take_events(self, params):
        try:
            self._events.put_nowait(params)
        except queue.Full:
            self.channel.close('its events are not read; subscribe again behind the last one')

    def _settle(self, number, result=None, error=None):
        """Ends a call, once; an id that waits for nothing is not answered."""
        with self._lock:
            future = self._waiting.pop(number, None)
        if future:
            self._room.release()
            future.set_exception(error) if error else future.set_result(result)

    def _end(self, error):
        with self._lock:
            left = list(self._waiting)
        for number in left:
            self._settle(number, error=error)
        if self._events and not self._events.full():
            self._events.put(error)  # wakes who waits

    # ---- listings ----

    def pages(self, method, **params):
        """The replies of a listing, one after another."""
        cursor = None
        while True:
            page = self.call(method, **params, **({'cursor': cursor} if cursor else {}))
            yield page
            cursor = page.get('next')
            if not cursor:
                return

    def rows(self, what, **params):
        """All rows of `show.WHAT`, as they were while each page was read."""
        return [row for page in self.pages(f'show.{what}', **params) for row in page['rows']]

    def copy(self, what, key, **params):
        """A copy of a table that is exact as of one revision, whatever changes meanwhile: ({key(row): row}, revision).

        what: 'vms' or 'routes'; key: what tells its rows apart."""
        table, since = {}, {}
        while True:
            pages = list(self.pages(f'show.{what}', **params, **since))
            if any('resync' in p for p in pages):
                table, since = {}, {}
                continue
            for row in (row for p in pages for row in p['rows']):
                if row.get('deleted'):
                    table.pop(key(row), None)
                else:
                    table[key(row)] = row
            if since and not pages[0]['rows'] and len(pages) == 1:
                return table, pages[0]['revision']
            since = {'since': pages[0]['revision']}

    def export(self, **params):
        """(changes, revision): this router's VMs and run-time routes, all of one revision, as `replace` takes them."""
        while True:
            changes, revision = [], None
            for page in self.pages('state.export', **params):
                if page['revision'] != (revision := revision or page['revision']):
                    break
                changes += page['rows']
            else:
                return changes, revision

    # ---- transactions ----

    def apply(self, changes, **params):
        """All of them or none, in one message."""
        return self.call('txn.apply', changes=changes, **params)

    def transaction(self, replace=False):
        return Transaction(self, replace)

    def replace(self, changes, **params):
        """Makes the list, however long, the whole of this router's VMs and run-time routes. The counts of what changed."""
        with self.transaction(replace=True) as t:
            t.extend(changes)
            return t.commit(**params)

    # ---- events ----

    def events(self, after='', classes=None):
        """Subscribes: {'cursor'}, and 'resync' where events may be missing behind `after`. `next_events` gives them."""
        wanted = {'classes': [{'class': c} for c in classes]} if classes else {}
        future = Future()
        future.add_done_callback(self._subscribed)
        return self._begin(future, 'events', {'after': after, **wanted}).result()

    def _subscribed(self, reply):
        """In the reading thread: what came before this reply was the subscription's before."""
        if not reply.exception():
            self._events = queue.Queue(EVENTS_WAITING)

    def next_events(self, timeout=None):
        """The next message: {'cursor', 'events'} or {'cursor', 'resync'}; None when time is over."""
        try:
            message = self._events.get(timeout=timeout)
        except queue.Empty:
            if self.channel.error:
                raise self.channel.error from None
            return None
        if isinstance(message, ChannelError):
            raise message
        return message


class Transaction:
    """A staged transaction. As a context manager it is aborted unless it was committed.

    Parts are sent as they fill, and their replies read at the commit."""

    def __init__(self, router, replace=False):
        self.router = router
        self.id = router.call('txn.open', replace=replace)['txn']
        self.parts = self.count = 0
        self._hash = hashlib.sha256()
        self._part, self._bytes, self._sent = [], 0, []
        self._open = True

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self._open and not self.router.channel.error:
            self.abort()

    def add(self, item):
        """One change."""
        text = canonical(item)
        if len(self._part) == PART or self._bytes + len(text) > PART_BYTES:
            self.flush()
        self._hash.update(text + b'\n')
        self._part.append(item)
        self._bytes += len(text)
        self.count += 1

    def extend(self, changes):
        for item in changes:
            self.add(item)

    def flush(self):
        """Sends what was added as one part."""
        if self._part:
            self.parts += 1
            self._sent.append(self.router.send('txn.add', txn=self.id, part=self.parts, changes=self._part))
            self._part, self._bytes = [], 0

    def commit(self, **params):
        """All of it or nothing (`dry_run`, `if_revision`; of a replace `max_remove`). After an error or a dry run it is
        open and may be committed again."""
        self.flush()
        for reply in self._sent:
            reply.result()
        self._sent = []
        result = self.router.call('txn.commit', txn=self.id, count=self.count, sha256=self._hash.hexdigest(), **params)
        self._open = params.get('dry_run', False)
        return result

    def abort(self):
        self._open = False
        self.router.call('txn.abort', txn=self.id)


def follow(identity, target, classes=None, after='', stop=None):
    """A router's events for ever: dials, subscribes, and goes on where a lost connection left off.

    Yields events; {'resync': reason} where some may be missing: read `show` then. Ends when `stop` (an Event) is set."""
    stop = stop or threading.Event()
    wait = pauses()
    while not stop.is_set():
        try:
            with Router(identity, target) as router:
                message = router.events(after, classes)
                wait = pauses()
                while not stop.is_set():
                    if message:
                        after = message['cursor']
                        yield from [{'resync': message['resync']}] if 'resync' in message else message.get('events', ())
                    message = router.next_events(timeout=0.5)
        except ChannelError:
            stop.wait(next(wait))
