#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The program `nearway` against a tiny fake router on a unix socket. usage: test_program.py NEARWAY MANUAL"""

import hashlib
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

NEARWAY = sys.argv.pop(1)
MANUAL = sys.argv.pop(1)


class Router:
    """Answers each request by what `answers[method]` gives for its parameters."""

    def __init__(self, answers):
        self.dir = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.dir.name, "s")
        self.answers = {"show.status": lambda p: {"result": {"name": "r-t"}}, **answers}
        self.requests, self.answered = [], 0
        self.listen()

    def listen(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen()
        threading.Thread(target=self.accept, args=(self.sock,), daemon=True).start()

    def accept(self, sock):
        while True:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            self.conn = conn
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with conn:
            while True:
                head = conn.recv(4, socket.MSG_WAITALL)
                if len(head) < 4:
                    return
                text = conn.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)
                msg = json.loads(text)
                self.requests.append(msg)
                answer = self.answers[msg["method"]](msg["params"])
                if answer is None:
                    return
                if isinstance(answer, bytes):
                    conn.sendall(answer)
                else:
                    send(conn, {"jsonrpc": "2.0", "method": "event", "params": {}})
                    send(conn, {"jsonrpc": "2.0", "id": msg["id"], **answer})
                self.answered += 1

    def restart(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.conn.shutdown(socket.SHUT_RDWR)
        os.unlink(self.path)
        self.listen()


def send(conn, msg):
    text = json.dumps(msg).encode()
    data = struct.pack(">I", len(text)) + text
    conn.sendall(data[:7])  # in two parts: the client must put them together
    time.sleep(0.002)
    conn.sendall(data[7:])


def run(router, *words, stdin=None):
    return subprocess.run([NEARWAY, "-s", router.path, *words], input=stdin, capture_output=True, text=True, timeout=20)


def pages(params):
    at = int(params.get("cursor") or 0)
    rows = [{"vm": i, "owner": "r-t"} for i in range(at, min(at + 4, 10))]
    return {"result": {"rows": rows, **({"next": str(at + 4)} if at + 4 < 10 else {})}}


class OneShot(unittest.TestCase):
    def test_prints_a_table_and_sends_what_json_rpc_asks_for(self):
        r = Router({"show.peers": lambda p: {"result": {"rows": [{"name": "r-y", "up": True}]}}})
        p = run(r, "show", "peers")
        self.assertEqual((p.returncode, p.stdout, p.stderr), (0, "name  up\nr-y   on\n", ""))
        self.assertEqual(r.requests, [{"jsonrpc": "2.0", "id": 1, "method": "show.peers", "params": {"limit": 0}}])

    def test_a_doctor_tells_what_was_found_and_below_it_what_to_do(self):
        rows = [{"verdict": "fault", "check": "port", "of": "dc0", "found": "the link is down", "advice": "look at\x1b the cable"},
                {"verdict": "ok", "check": "mtu", "of": "blue", "found": "1500 bytes", "advice": ""}]
        p = run(Router({"doctor": lambda p: {"result": {"rows": rows}}}), "doctor")
        self.assertEqual((p.returncode, p.stdout),
                         (0, "fault    port dc0: the link is down\n         look at? the cable\nok       mtu blue: 1500 bytes\n"))

    def test_json_option_works_before_and_after_the_command(self):
        r = Router({})
        for words in (["--json", "show", "status"], ["show", "status", "--json"]):
            self.assertEqual(json.loads(run(r, *words).stdout), {"name": "r-t"})

    def test_follows_the_cursor_to_the_end_of_a_listing(self):
        r = Router({"show.vms": pages})
        p = run(r, "show", "vms", "--json")
        self.assertEqual([row["vm"] for row in json.loads(p.stdout)["rows"]], list(range(10)))
        self.assertNotIn("next", json.loads(p.stdout))
        self.assertEqual(len(r.requests), 3)
        self.assertEqual(len(run(r, "show", "vms").stdout.splitlines()), 11)

    def test_page_that_was_asked_for_is_one_page(self):
        r = Router({"show.vms": pages})
        p = run(r, "show", "vms", "limit", "4")
        self.assertEqual(len(p.stdout.splitlines()), 5)
        self.assertIn("there is more: cursor 4", p.stderr)

    def test_cursor_that_goes_in_circles_ends(self):
        r = Router({"show.vms": lambda p: {"result": {"rows": [], "next": "x"}}})
        self.assertEqual(run(r, "show", "vms").returncode, 0)
        self.assertLessEqual(len(r.requests), 2)

    def state_router(self):
        """Tells a state in two pages, and takes one in parts."""
        vm = {"segment": "s", "mac": "02:00:00:00:00:01", "epoch": 3, "addresses": [{"private": "10.0.0.5", "global": "203.0.113.1"}]}
        old = {"private": "10.0.0.5", "global": "198.51.100.1", "router": "r-y", "epoch": 3}
        rows = [{"method": "vm.register", "params": vm},
                {"method": "vm.move", "params": {**vm, "mac": "02:00:00:00:00:02", "drain-min": 3600000,
                                                 "drain-max": 90000, "old": [old]}},
                {"method": "route.replace", "params": {"prefix": "10.9.0.0/16", "via": "192.0.2.1", "blackhole": False}}]

        def page(p):
            rest = rows[2:] if p["cursor"] else rows[:2]
            return {"result": {"router": "r-t", "revision": 7, "rows": rest, **({} if p["cursor"] else {"next": "/"})}}

        return rows, Router({"state.export": page, "txn.open": lambda p: {"result": {"txn": 7}},
                             "txn.add": lambda p: {"result": {"parts": p["part"]}},
                             "txn.commit": lambda p: {"result": {"changed": True}}})

    def state_file(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as f:
            f.write(text)
        self.addCleanup(os.unlink, f.name)
        return f.name

    def test_state_is_exported_as_yaml_and_imported_as_the_same_changes(self):
        rows, r = self.state_router()
        p = run(r, "state", "export")
        self.assertEqual((p.returncode, p.stderr), (0, ""))
        self.assertIn("vm-count: 2\nroute-count: 1\n", p.stdout)
        self.assertIn("drain-min: 1h\n  drain-max: 90s\n", p.stdout)
        file = self.state_file(p.stdout)
        p = run(r, "state", "import", file, "max-remove", "4", "dry-run", "on")
        self.assertEqual((p.returncode, p.stdout, p.stderr), (0, "changed: on\n", ""))
        sent = {m["method"]: m["params"] for m in r.requests}
        self.assertEqual(sent["txn.open"], {"replace": True})
        self.assertEqual([{**c, "params": {k: v for k, v in c["params"].items() if v}} for c in sent["txn.add"]["changes"]],
                         [{**c, "params": {k: v for k, v in c["params"].items() if v}} for c in rows])
        self.assertEqual((sent["txn.commit"]["max-remove"], sent["txn.commit"]["dry-run"], sent["txn.commit"]["count"]), (4, True, 3))

    def test_state_that_changes_while_it_is_read_is_read_again(self):
        revisions = iter(range(100))

        def page(p):
            n = next(revisions)
            return {"result": {"router": "r-t", "revision": min(n, 3), "rows": [], **({} if p["cursor"] else {"next": "/"})}}

        p = run(Router({"state.export": page}), "state", "export")
        self.assertEqual((p.returncode, p.stdout.splitlines()[1]), (0, "revision: 3"))
        p = run(Router({"state.export": lambda p: {"result": {"router": "r-t", "revision": next(revisions), "rows": [], "next": "/"}}}),
                "state", "export")
        self.assertEqual((p.returncode, p.stdout), (1, ""))
        self.assertIn("try again", p.stderr)

    def test_faulty_state_is_told_by_line_and_nothing_is_sent(self):
        _, r = self.state_router()
        good = run(r, "state", "export").stdout
        r.requests.clear()
        lines = good.splitlines(keepends=True)
        for text, told in ((good.replace("02:00:00:00:00:02", "02:zz"), r":13:8: vms\[1\].mac: "),
                           (good.replace("epoch: 3", "epochs: 3", 1), r":8:3: vms\[0\].epochs: unknown key"),
                           ("".join(lines[:11]), r":3:11: vm-count: is 2, but 1 follow"),
                           (good.replace("router: r-t", "router: r-z"), "is the state of router r-z, and this is r-t"),
                           (good + "vms: []\n", r":\d+:1: duplicate key"), ("", "empty"), ("[1", r":\d+:\d+: ")):
            p = run(r, "state", "import", self.state_file(text))
            self.assertEqual(p.returncode, 2, text)
            self.assertRegex(p.stderr, told)
        self.assertEqual({m["method"] for m in r.requests}, {"show.status"})
        p = run(r, "state", "import", "/does/not/exist")
        self.assertEqual(p.returncode, 2)
        self.assertIn("No such file", p.stderr)

    def test_move_is_sent_with_its_parameters(self):
        r = Router({"vm.move": lambda p: {"result": {"revision": 3}}})
        p = run(r, *"vm move segment seg1 mac 02:00:00:00:00:05 addresses 10.0.0.5=203.0.113.70 drain-min 1h".split())
        self.assertEqual((p.returncode, p.stdout), (0, "revision: 3\n"))
        self.assertEqual(r.requests[0]["params"], {
            "segment": "seg1", "mac": "02:00:00:00:00:05", "epoch": 0, "drain-min": 3600000, "dry-run": False,
            "addresses": [{"private": "10.0.0.5", "global": "203.0.113.70"}]})

    def test_batch_of_a_thousand_moves_comes_from_the_standard_input(self):
        r = Router({"txn.apply": lambda p: {"result": {"revision": len(p["changes"])}}})
        changes = [{"method": "vm.move", "params": {"segment": "s", "mac": "02:00:00:00:%02x:%02x" % divmod(i, 256)}}
                   for i in range(1000)]
        p = run(r, "txn", "apply", "changes", "@-", stdin=json.dumps(changes))
        self.assertEqual((p.returncode, p.stdout), (0, "revision: 1000\n"))
        self.assertEqual(r.requests[0]["params"]["changes"], changes)

    def test_list_above_1_mib_is_staged_with_its_count_and_hash(self):
        changes = [{"params": {"prefix": "10.%d.%d.%d/32" % (i >> 16, i >> 8 & 255, i & 255)}, "method": "route.delete"}
                   for i in range(20000)]
        came = []

        def commit(p):
            items = "".join(json.dumps(c, sort_keys=True, separators=(",", ":")) + "\n" for c in came)
            right = (p["txn"], p["count"], p["sha256"]) == (7, 20000, hashlib.sha256(items.encode()).hexdigest())
            return {"result": {"revision": 9, "dry-run": p["dry-run"]}} if right else {"error": {"code": 3, "message": "no"}}

        def add(p):
            came.extend(p["changes"])
            return {"result": {"parts": p["part"]}} if p["part"] * 1000 == len(came) else None

        r = Router({"txn.open": lambda p: {"result": {"txn": 7}}, "txn.add": add, "txn.commit": commit})
        p = run(r, "txn", "apply", "dry-run", "on", "changes", "@-", stdin=json.dumps(changes))
        self.assertEqual((p.returncode, p.stdout), (0, "revision: 9\ndry-run: on\n"), p.stderr)
        self.assertEqual(came, changes)
        r.answers["txn.add"] = lambda p: {"error": {"code": 5, "message": "full"}}
        p = run(r, "txn", "apply", "changes", "@-", stdin=json.dumps(changes))
        self.assertEqual((p.returncode, p.stderr), (1, "nearway: full\n"))

    def test_the_log_is_a_line_for_each_entry(self):
        entry = {"hash": "ab" * 32, "number": 4, "time": "2026-11-25T18:52:53.123Z", "who": "controller clc", "what": "vm.unregister",
                 "result": "ok", "revision": 3, "params": {"segment": "blue", "mac": "02:00:00:00:00:01", "epoch": 9}}
        answers = [{"result": {"rows": [entry], "next": "4"}}, {"result": {"rows": []}}] * 2
        r = Router({"show.log": lambda p: answers.pop(0)})
        p = run(r, "show", "log", "since", "1h")
        self.assertEqual(p.stdout, "2026-11-25T18:52:53.123Z controller clc vm.unregister result=ok revision=3 segment=blue "
                         "mac=02:00:00:00:00:01 epoch=9\n")
        self.assertEqual([m["params"].get("since") for m in r.requests], [3600000] * 2)
        self.assertEqual(json.loads(run(r, "--json", "show", "log").stdout)["rows"], [entry])

    def test_refusal_is_exit_1_with_message_and_data(self):
        r = Router({"vm.unregister": lambda p: {"error": {"code": 2, "message": "stale epoch", "data": {"epoch": 9}}}})
        words = "vm unregister segment s mac 02:00:00:00:00:05".split()
        p = run(r, *words)
        self.assertEqual((p.returncode, p.stdout, p.stderr), (1, "", "nearway: stale epoch\n  epoch: 9\n"))
        p = run(r, *words, "--json")
        self.assertEqual(json.loads(p.stdout)["code"], 2)

    def test_what_is_no_command_is_exit_2_and_sends_nothing(self):
        r = Router({})
        for words in (["shw", "vms"], ["vm"], ["vm", "move", "mac", "x"], ["--nonsense"]):
            p = run(r, *words)
            self.assertEqual((p.returncode, p.stdout), (2, ""), words)
            self.assertNotEqual(p.stderr, "")
        self.assertEqual(r.requests, [])

    def test_no_router_is_exit_3_and_says_what_to_do(self):
        r = Router({"show.drops": lambda p: None, "show.stages": lambda p: b"\xff\xff\xff\xff",
                    "show.nat": lambda p: b"\0\0\0\3{,}"})
        p = subprocess.run([NEARWAY, "-s", "/nowhere/s", "show", "vms"], capture_output=True, text=True)
        self.assertEqual(p.returncode, 3)
        self.assertIn("cannot connect to /nowhere/s: No such file or directory; is nearwayd running?", p.stderr)
        p = run(r, "show", "drops")
        self.assertEqual((p.returncode, p.stderr), (3, "nearway: the router closed the connection\n"))
        for view in ("stages", "nat"):
            p = run(r, "show", view)
            self.assertEqual((p.returncode, p.stderr),
                             (3, "nearway: the answer is not a JSON message; is this a router's socket?\n"))

    def test_help_tells_every_group_without_a_router(self):
        p = subprocess.run([NEARWAY, "--help"], capture_output=True, text=True)
        self.assertEqual(p.returncode, 0)
        for word in ("vm", "nat", "route", "move", "txn", "show", "Exit status"):
            self.assertIn(word, p.stdout)
        p = subprocess.run([NEARWAY, "help", "route", "replace"], capture_output=True, text=True)
        self.assertIn("0.0.0.0/0 is the default route", p.stdout)

    def test_manual_names_every_command_and_parameter(self):
        with open(MANUAL) as f:
            manual = f.read().replace("\\-", "-")

        def choices(*words):
            p = subprocess.run([NEARWAY, "help", *words], capture_output=True, text=True)
            return [line.split()[0] for line in p.stdout.splitlines()]

        single = ("explain", "doctor", "metrics", "events", "reload", "trace", "capture")
        for group in single:
            self.assertIn(group, choices())
            self.assertIn("\\fB%s" % group, manual)
            for field in choices(group, *(["FILE"] if group == "capture" else [])):
                if field != "<enter>":
                    self.assertIn(field, manual, group)
        for group in set(choices()) - set(single):
            for verb in choices(group):
                self.assertIn(verb if group == "show" else "%s %s" % (group, verb), manual)
                for field in choices(group, verb, *(["FILE"] if verb == "import" else [])):
                    if field != "<enter>":
                        self.assertIn(field, manual, "%s %s" % (group, verb))


STORY = {"packet": 1, "port": "dc0", "length": 98, "frame": "a > b", "path": [
    {"stage": "classify", "ns": 0, "decided": ["frame of segment blue"]}, {"stage": "tx", "ns": 90, "decided": []}]}


def page(rows, cursor=None, lost=0):
    return {"result": {"rows": rows, "lost": lost, **({"next": cursor} if cursor else {})}}


class Watching(unittest.TestCase):
    def test_trace_asks_until_there_is_no_more_and_prints_stories(self):
        answers = [page([], "1"), page([{**STORY, "end": "sent", "by": "wan0", "sent": "c > d", "sent-length": 98}], "1"),
                   page([{**STORY, "packet": 2, "of": 1, "made": "replica", "end": "dropped", "reason": "loop", "help": "why"}])]
        r = Router({"trace": lambda p: answers.pop(0)})
        p = run(r, "trace", "count", "2")
        self.assertEqual((p.returncode, p.stderr), (0, ""))
        self.assertEqual(p.stdout.splitlines(), [
            "packet 1, received by dc0, 98 bytes", "  a > b", "    classify     frame of segment blue", "    tx",
            "  sent by wan0, 98 bytes", "  c > d",
            "packet 2, replica of packet 1, received by dc0, 98 bytes", "  a > b", "    classify     frame of segment blue",
            "    tx", "  dropped: loop (why)"])
        self.assertEqual([m["params"].get("cursor") for m in r.requests], [None, "1", "1"])

    def test_trace_as_json_is_a_line_for_each_packet(self):
        r = Router({"trace": lambda p: page([{**STORY, "end": "held"}] * 2)})
        lines = run(r, "trace", "--json").stdout.splitlines()
        self.assertEqual([json.loads(line)["end"] for line in lines], ["held", "held"])

    def test_refused_trace_says_why(self):
        r = Router({"trace": lambda p: {"error": {"code": 3, "message": "another is on"}}})
        p = run(r, "trace")
        self.assertEqual((p.returncode, p.stderr), (1, "nearway: another is on\n"))

    def test_lost_records_are_told(self):
        r = Router({"trace": lambda p: page([], lost=7)})
        self.assertIn("7 records were lost", run(r, "trace").stderr)

    def test_capture_writes_pcapng_blocks_byte_by_byte(self):
        rows = [{"time-ns": 0x100000002, "at": "rx", "port": "dc0", "length": 98, "data": "0102030405"},
                {"time-ns": 3, "at": "drop", "port": "dc0", "length": 4, "data": "01020304", "reason": "loop", "help": "why"},
                {"time-ns": 4, "at": "tx", "port": "wan0", "length": 4, "data": "05060708"}]
        r = Router({"capture": lambda p: page(rows)})
        file = os.path.join(r.dir.name, "out.pcapng")
        p = run(r, "capture", file)
        self.assertEqual((p.returncode, p.stderr), (0, "nearway: 3 packets in %s\n" % file))
        with open(file, "rb") as f:
            data = f.read()
        blocks = []
        while data:
            kind, n = struct.unpack_from("=II", data)
            self.assertEqual(struct.unpack_from("=I", data, n - 4)[0], n)
            blocks.append((kind, data[8:n - 4]))
            data = data[n:]
        self.assertEqual([k for k, _ in blocks], [0x0a0d0d0a, 1, 6, 6, 1, 6])
        self.assertEqual(struct.unpack_from("=IHHq", blocks[0][1]), (0x1a2b3c4d, 1, 0, -1))
        dc0 = struct.pack("=HHI", 1, 0, 0) + struct.pack("=HH4s", 2, 3, b"dc0") + struct.pack("=HHB3x", 9, 1, 9) + bytes(4)
        self.assertEqual(blocks[1][1], dc0)
        self.assertEqual(blocks[2][1], struct.pack("=5I8s", 0, 1, 2, 5, 98, bytes.fromhex("0102030405")) +
                         struct.pack("=HHI", 2, 4, 1) + bytes(4))
        self.assertEqual(blocks[3][1], struct.pack("=5I4s", 0, 0, 3, 4, 4, bytes.fromhex("01020304")) +
                         struct.pack("=HHI", 2, 4, 1) + struct.pack("=HH20s", 1, 17, b"dropped: loop\nwhy") + bytes(4))
        self.assertEqual(blocks[5][1][:4] + blocks[5][1][24:32], struct.pack("=I", 1) + struct.pack("=HHI", 2, 4, 2))

    def test_file_that_cannot_be_written_is_named_and_nothing_is_asked(self):
        r = Router({})
        p = run(r, "capture", "/nowhere/out.pcapng")
        self.assertEqual((p.returncode, p.stderr), (2, "nearway: /nowhere/out.pcapng: No such file or directory\n"))
        self.assertEqual(r.requests, [])

    def test_interrupt_ends_a_trace_with_what_came(self):
        first = [page([{**STORY, "end": "held"}], "1")]
        r = Router({"trace": lambda p: first.pop() if first else page([], "1")})
        p = subprocess.Popen([NEARWAY, "-s", r.path, "--json", "trace"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(json.loads(p.stdout.readline())["end"], "held")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=10)
        self.assertEqual((p.returncode, out, err), (0, "", ""))

    def test_explain_prints_stories(self):
        r = Router({"explain": lambda p: page([{**STORY, "end": "dropped", "reason": "loop", "help": "why"}])})
        self.assertIn("  dropped: loop (why)\n", run(r, "explain", "port", "dc0").stdout)


EVENT = {"number": 7, "time": "2026-11-25T18:52:53.123Z", "class": "vm", "kind": "moved", "revision": 4,
         "vm": {"segment": "blue", "mac": "02:00:00:00:00:01", "owner": "r-y", "epoch": 2, "addresses": [{"private": "10.1.0.10"}]},
         "from": "r-x"}


class Following(unittest.TestCase):
    def follow(self, router, *words):
        return subprocess.Popen([NEARWAY, "-s", router.path, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def tell(self, router, **params):
        send(router.conn, {"jsonrpc": "2.0", "method": "event", "params": params})

    def started(self, router):
        while not router.answered:
            time.sleep(0.01)

    def test_events_are_a_line_each_until_the_interrupt_which_says_how_to_go_on(self):
        r = Router({"events": lambda p: {"result": {"cursor": "ab-6"}}})
        p = self.follow(r, "events", "after", "ab-6", "classes", "vm,alarm")
        self.started(r)
        self.tell(r, events=[EVENT], cursor="ab-7")
        self.assertEqual(p.stdout.readline(), "2026-11-25T18:52:53.123Z vm moved revision=4 segment=blue mac=02:00:00:00:00:01 "
                         'owner=r-y epoch=2 addresses=[{"private":"10.1.0.10"}] from=r-x\n')
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=10)
        self.assertEqual((p.returncode, out, err), (0, "", "nearway: to go on from here: events after ab-7\n"))
        self.assertEqual(r.requests[0]["params"], {"after": "ab-6", "classes": [{"class": "vm"}, {"class": "alarm"}]})

    def test_a_gap_is_told_and_a_router_that_goes_is_exit_3(self):
        r = Router({"events": lambda p: {"result": {"cursor": "ab-6", "resync": "the router has started anew since"}}})
        p = self.follow(r, "--json", "events")
        self.started(r)
        self.tell(r, events=[EVENT], cursor="ab-7")
        self.tell(r, events=[], cursor="ab-99", resync="too slow")
        lines = [json.loads(p.stdout.readline()) for _ in range(3)]
        self.assertEqual(lines[0], {"resync": "the router has started anew since", "cursor": "ab-6"})
        self.assertEqual(lines[1], EVENT)
        self.assertEqual(lines[2], {"resync": "too slow", "cursor": "ab-99"})
        r.conn.shutdown(socket.SHUT_RDWR)
        _, err = p.communicate(timeout=10)
        self.assertEqual(p.returncode, 3)
        self.assertIn("the router closed the connection", err)

    def test_a_refused_subscription_says_why(self):
        r = Router({"events": lambda p: {"error": {"code": 1, "message": "no"}}})
        p = run(r, "events")
        self.assertEqual((p.returncode, p.stderr), (1, "nearway: no\n"))


class Lines(unittest.TestCase):
    def test_commands_from_a_pipe_run_in_order_and_stop_at_the_first_failure(self):
        r = Router({"route.delete": lambda p: {"result": {"revision": 1}},
                    "show.peers": lambda p: {"error": {"code": 1, "message": "no"}}})
        script = "# a comment\n\nshow status\nroute delete prefix '10.0.0.0/8'\nshow peers\nshow status\n"
        p = run(r, stdin=script)
        self.assertEqual((p.returncode, p.stdout), (1, "name: r-t\nrevision: 1\n"))
        self.assertEqual(p.stderr, "nearway: no\nnearway: stopped at line 5\n")
        self.assertEqual(run(r, stdin="show status\nexit\nnonsense\n").returncode, 0)

    def test_router_that_was_restarted_is_dialled_again(self):
        r = Router({})
        p = subprocess.Popen([NEARWAY, "-s", r.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             bufsize=1)
        p.stdin.write("show status\n")
        while not r.answered:
            time.sleep(0.01)
        r.restart()
        out, _ = p.communicate("show status\n", timeout=20)
        self.assertEqual((p.returncode, out), (0, "name: r-t\nname: r-t\n"))


class Terminal:
    """`nearway` on a pseudo-terminal."""

    def __init__(self, router, home):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # libedit 3.1 never frees the names of functions that are added to it.
            os.environ.update(HOME=home, TERM="vt100", ASAN_OPTIONS="detect_leaks=0")
            os.execv(NEARWAY, [NEARWAY, "-s", router.path])
        self.text = ""

    def expect(self, pattern):
        end = time.monotonic() + 20
        while not re.search(pattern, self.text, re.S):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError("no %r in %r" % (pattern, self.text))
            try:
                self.text += os.read(self.fd, 65536).decode()
            except OSError:
                raise AssertionError("no %r in %r, and it has ended" % (pattern, self.text))
        self.text = self.text[re.search(pattern, self.text, re.S).end():]

    def type(self, keys, at_prompt=True):
        # libedit writes the prompt a moment before it takes the keys from the terminal's own editing.
        while at_prompt and termios.tcgetattr(self.fd)[3] & termios.ICANON:
            time.sleep(0.001)
        os.write(self.fd, keys.encode())

    def end(self):
        try:  # a terminal that nobody reads holds up who sets it back
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return code


class Interactive(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.TemporaryDirectory()
        self.router = Router({"show.peers": lambda p: {"result": {"rows": [{"name": "r-y", "up": True}]}}})
        self.t = Terminal(self.router, self.home.name)
        self.t.expect("r-t> ")

    def leave(self):
        self.t.type("\x15exit\n")
        self.assertEqual(self.t.end(), 0)

    def test_tab_completes_words_from_the_grammar(self):
        self.t.type("sh\tpe\t\n")
        self.t.expect("name  up\r\n")
        self.t.expect("r-t> ")
        self.leave()
        self.assertEqual([m["method"] for m in self.router.requests], ["show.status", "show.peers"])

    def test_tab_lists_what_is_not_clear(self):
        self.t.type("show s\t")
        self.t.expect("segments +segments with gateway")
        self.t.expect("r-t> show s")
        self.leave()

    def test_question_mark_tells_what_may_follow_and_keeps_the_line(self):
        self.t.type("vm move segment seg1 ?")
        self.t.expect("addresses +private addresses, each with its new global one")
        self.t.expect("r-t> vm move segment seg1 ")
        self.leave()

    def test_refusal_does_not_end_it_and_history_is_kept(self):
        self.t.type("nonsense\n")
        self.t.expect("unknown command")
        self.t.expect("r-t> ")
        self.t.type("\x10\n")  # Ctrl-P: the line before
        self.t.expect("unknown command")
        self.leave()
        with open(os.path.join(self.home.name, ".nearway_history")) as f:
            self.assertIn("nonsense", f.read())

    def test_interrupt_drops_the_line_only(self):
        for _ in range(100):  # at whatever moment it comes
            self.t.type("nonsense")
            self.t.expect("n")
            self.t.type("\x03")
            self.t.expect("\n\r?r-t> ")
        self.t.type("show status\n")
        self.t.expect("name: r-t")
        self.leave()

    def test_interrupt_ends_a_call_that_hangs(self):
        hang = threading.Event()
        self.router.answers["show.vms"] = lambda p: hang.wait(30) and None
        self.t.type("show vms\n")
        while len(self.router.requests) < 2:
            time.sleep(0.01)
        time.sleep(0.1)
        self.t.type("\x03", at_prompt=False)
        self.t.expect("interrupted; whether the router did it is not known")
        self.t.expect("r-t> ")
        hang.set()
        self.t.type("show peers\n")
        self.t.expect("name  up")
        self.leave()

    def test_end_of_input_leaves(self):
        self.t.type("\x04")
        self.assertEqual(self.t.end(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
