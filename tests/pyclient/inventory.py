# SPDX-License-Identifier: BSD-3-Clause
"""The controller's inventory (conf/clc.yaml): read whole, every fault named with line, column and what is allowed."""
import base64
import binascii
import ipaddress
import re

import yaml

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,30}')


class Faults(Exception):
    """What is wrong with an inventory: a list of 'FILE:LINE:COLUMN: text'."""

    def __init__(self, faults):
        super().__init__('\n'.join(faults))
        self.faults = faults


# ---- values: each takes a scalar's text and returns what it means, or raises ValueError with what is allowed ----

def name(text):
    if not NAME.fullmatch(text):
        raise ValueError("a name of 1 to 31 letters, digits, '-', '_' and '.', the first a letter or digit")
    return text


def path(text):
    if not 1 <= len(text.encode()) <= 255:
        raise ValueError('text of 1 to 255 bytes')
    return text


def term(text):
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) < 1 << 63:
        raise ValueError('a number from 1 to 2^63-1')
    return int(text)


def mac_prefix(text):
    if not re.fullmatch(r'[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){2}', text) or int(text[:2], 16) & 1:
        raise ValueError('the first three bytes of unicast MAC addresses, such as 02:56:4d')
    return text.lower()


def address(text):
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError('an IPv4 address such as 192.0.2.1') from None


def endpoint(text):
    host, _, port = text.rpartition(':')
    try:
        ipaddress.IPv4Address(host)
        if port.isdigit() and 1 <= int(port) <= 65535:
            return text
    except ValueError:
        pass
    raise ValueError('an IPv4 address and a port, such as 192.0.2.1:7411')


def prefix(text):
    try:
        if '/' in text:
            return ipaddress.IPv4Network(text)
    except ValueError:
        pass
    raise ValueError('an IPv4 prefix such as 192.0.2.0/24')


def key(text):
    try:
        data = base64.b64decode(text, validate=True)
        if len(data) == 32 and any(data):
            return data
    except binascii.Error:
        pass
    raise ValueError('a key: 32 bytes, not all zero, as 44 characters of base64')


def access(text):
    if text not in ('nat', 'routed'):
        raise ValueError('one of: nat, routed')
    return text


# ---- the schema: a mapping is a dict of member to (kind, default), a list is [kind]; REQUIRED has no default ----

REQUIRED = object()
ROUTE = {'router': (name, REQUIRED), 'via': (address, REQUIRED)}
SCHEMA = {
    'clc': ({'name': (name, REQUIRED), 'key-file': (path, '/etc/nearway/clc.key'), 'state': (path, '/var/lib/nearway/clc.db'),
             'term': (term, 1), 'mac-prefix': (mac_prefix, '02:56:4d')}, REQUIRED),
    'sites': ([{'name': (name, REQUIRED), 'router': (name, REQUIRED), 'pools': ([{'prefix': (prefix, REQUIRED)}], ()),
                'routes': ([ROUTE], ())}], ()),
    'routers': ([{'name': (name, REQUIRED), 'address': (endpoint, REQUIRED), 'key': (key, REQUIRED), 'old-key': (key, None),
                  'psk': (key, None)}], ()),
    'segments': ([{'name': (name, REQUIRED), 'prefix': (prefix, REQUIRED), 'gateway': (address, REQUIRED),
                   'range': ({'first': (address, REQUIRED), 'last': (address, REQUIRED)}, None), 'access': (access, 'nat')}], ()),
}


class Reader:
    """Walks a YAML tree beside the schema and collects the faults."""

    def __init__(self, file):
        self.file, self.faults = file, []

    def fault(self, mark, text):
        self.faults.append(f'{self.file}:{mark.line + 1}:{mark.column + 1}: {text}')

    def value(self, kind, node, where):
        if isinstance(kind, dict):
            return self.mapping(kind, node, where)
        if isinstance(kind, list):
            return self.sequence(kind[0], node, where)
        return self.scalar(kind, node, where)

    def scalar(self, kind, node, where):
        try:
            if isinstance(node, yaml.ScalarNode):
                return kind(node.value)
            self.fault(node.start_mark, f'{where}: one value, not a list or mapping')
        except ValueError as e:
            self.fault(node.start_mark, f'{where}: {node.value!r} is not {e}')
        return None

    def sequence(self, kind, node, where):
        """A list; where its items have names, no name twice."""
        if not isinstance(node, yaml.SequenceNode):
            self.fault(node.start_mark, f'{where}: a list')
            return []
        items = [self.value(kind, item, f'{where}[{i}]') for i, item in enumerate(node.value)]
        names = [item['name'] if isinstance(item, dict) and 'name' in item else None for item in items]
        for i, item in enumerate(node.value):
            if names[i] and names[i] in names[:i]:
                self.fault(item.start_mark, f'{where}: {names[i]} stands here twice')
        return items

    def mapping(self, kind, node, where):
        out = {k: None if default is REQUIRED else default for k, (_, default) in kind.items()}
        if not isinstance(node, yaml.MappingNode):
            self.fault(node.start_mark, f'{where or "the file"}: a mapping with {", ".join(kind)}')
            return out
        seen = set()
        for k, v in node.value:
            inner = f'{where}.{k.value}' if where else str(k.value)
            if k.value not in kind:
                self.fault(k.start_mark, f'{inner}: unknown; allowed are {", ".join(kind)}')
            elif k.value in seen:
                self.fault(k.start_mark, f'{inner}: stands here twice')
            else:
                out[k.value] = self.value(kind[k.value][0], v, inner)
            seen.add(k.value)
        for k in kind:
            if kind[k][1] is REQUIRED and k not in seen:
                self.fault(node.start_mark, f'{where + "." if where else ""}{k}: is required')
        return out

    def references(self, node, data):
        """Routers that sites name must be in the list."""
        known = {r['name'] for r in data['routers']}
        for site in data['sites']:
            for router in (site['router'], *(r['router'] for r in site['routes'])):
                if router and router not in known:
                    self.fault(node.start_mark, f"sites[{site['name']}]: router {router} is none of routers")


def load(file):
    """The inventory as the schema has it, lists of named things as dicts by name. Faults, or OSError."""
    reader = Reader(file)
    with open(file, encoding='utf-8') as f:
        try:
            node = yaml.compose(f, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as e:
            reader.fault(e.problem_mark, e.problem)
            raise Faults(reader.faults) from None
    if node is None:
        raise Faults([f'{file}:1:1: the file is empty'])
    data = reader.mapping(SCHEMA, node, '')
    if not reader.faults:
        reader.references(node, data)
    if reader.faults:
        raise Faults(reader.faults)
    return {'clc': data['clc'], **{k: {item['name']: item for item in data[k]} for k in ('sites', 'routers', 'segments')}}
