#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client of shmd(8) written from shmd-protocol(7) alone, with Python's standard library.

It shows that the page is enough, and how little a client needs. It talks to the daemon at
$SHMD_SOCKET and prints TAP; the exit status is 0 if every test passed. The segments that it
makes end with it.
"""

import array
import mmap
import os
import socket
import struct
import sys

PACKET_MAX = 65536
DESCRIPTORS_MAX = 128

HELLO, CREATE, ATTACH, DETACH, UNLINK, STATUS, LIST, SHOW, CLIENTS = range(1, 10)
OK, INVALID, TOO_LONG, EXISTS, NOT_FOUND, DENIED, OVER_LIMIT = range(7)
VERSION_REFUSED = 11

# Native byte order, no padding: the page has a field for every gap.
HEADER = struct.Struct("=IHHII")  # size, op, descriptors, number, code
ERROR = struct.Struct("=512s")
HELLO_BODY = struct.Struct("=IIII")  # version, features, word_bits, reserved
WELCOME = struct.Struct("=IIIIQQ32s")  # version, features, word_bits, reserved, client, daemon
CREATE_BODY = struct.Struct("=QIIIIII208s")  # size .. flags, heir, name
ATTACH_BODY = struct.Struct("=QII208s")  # id, flags, reserved, name
DETACH_BODY = struct.Struct("=QII")  # id, flags, reserved
UNLINK_BODY = struct.Struct("=Q208s")  # id, name
PAGE = struct.Struct("=Q")  # after
SEGMENT = struct.Struct("=QQIIIIIIII208s48sQ")
STATUS_BODY = struct.Struct("=32sIIIIQQQQQQ512s")
COUNTER = struct.Struct("=32sQ")
LIMIT = struct.Struct("=32sQQ")
ENTRIES = struct.Struct("=QII")  # next, entries, reserved
ENTRY = struct.Struct("=312sQQII")  # segment, allocated, age_ms, clients, reserved

READ_ONLY = 16
WANT_SEMAPHORE = 32
SEGMENT_NEW = 1
LIFETIME_CLIENTS = 0


class Refused(Exception):
    """The daemon's no: a code for programs, a sentence for people."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def text_of(field):
    return field.split(b"\0", 1)[0].decode()


def close_all(descriptors):
    for fd in descriptors:
        os.close(fd)


class Segment:
    """What the daemon tells of one, as a reply or in an entry."""

    def __init__(self, body):
        (self.id, self.size, self.uid, self.gid, self.mode, self.lifetime, self.linger_ms,
         self.permits, self.flags, _, name, semaphore, self.generation) = SEGMENT.unpack(body)
        self.name = text_of(name)
        self.semaphore = text_of(semaphore)


class Client:
    """One connection. Asks one thing at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)
        self.number = 0

    def receive(self):
        """Takes one packet: its bytes and its descriptors, which are then the caller's."""
        room = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        receive = self.socket.recvmsg
        try:
            packet, controls, flags, _ = receive(PACKET_MAX, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # said once, before the daemon's last word
            packet, controls, flags, _ = receive(PACKET_MAX, room, socket.MSG_CMSG_CLOEXEC)
        descriptors = array.array("i")
        for level, kind, data in controls:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
        if not packet or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            close_all(descriptors)
            raise ConnectionError("the connection ended, or a packet did not arrive whole")
        return packet, list(descriptors)

    def check(self, packet, op, n_descriptors):
        """Returns the body of the one reply in a packet, or raises."""
        size, replied, expected, number, code = HEADER.unpack_from(packet)
        if size != len(packet) or expected != n_descriptors:
            raise ConnectionError("the reply has another form")
        body = packet[HEADER.size:]
        text = text_of(ERROR.unpack(body)[0]) if code != OK else ""
        if number == 0:
            raise ConnectionError(f"the daemon ends the connection: {text}")
        if (replied, number) != (op, self.number):
            raise ConnectionError("the reply is to something else")
        if code != OK:
            raise Refused(code, text)
        return body

    def ask(self, op, body=b""):
        """Asks, and returns the reply's body and descriptors."""
        self.number += 1
        size = HEADER.size + len(body)
        try:
            self.socket.send(HEADER.pack(size, op, 0, self.number, 0) + body)
        except BrokenPipeError:  # why, the daemon has left to be received
            pass
        packet, descriptors = self.receive()
        try:
            return self.check(packet, op, len(descriptors)), descriptors
        except Exception:
            close_all(descriptors)
            raise

    def hello(self, speaks=1):
        word_bits = 8 * struct.calcsize("P")
        body, _ = self.ask(HELLO, HELLO_BODY.pack(speaks, 0, word_bits, 0))
        version, _, _, _, client, _token, daemon = WELCOME.unpack(body)
        return version, client, text_of(daemon)

    def create(self, name, size):
        body, descriptors = self.ask(CREATE, CREATE_BODY.pack(
            size, 0o600, LIFETIME_CLIENTS, 0, 1, WANT_SEMAPHORE, 0, name.encode()))
        return Segment(body), descriptors

    def attach(self, name, flags):
        body, descriptors = self.ask(ATTACH, ATTACH_BODY.pack(0, flags, 0, name.encode()))
        return Segment(body), descriptors

    def detach(self, segment, flags):
        return self.ask(DETACH, DETACH_BODY.pack(segment.id, flags, 0))[0]

    def unlink(self, name):
        return self.ask(UNLINK, UNLINK_BODY.pack(0, name.encode()))[0]

    def list(self):
        """All segments that we may see; a page may be empty, and others follow."""
        after, found = 0, []
        while True:
            body, _ = self.ask(LIST, PAGE.pack(after))
            after, n, _ = ENTRIES.unpack_from(body)
            for i in range(n):
                entry = ENTRY.unpack_from(body, ENTRIES.size + i * ENTRY.size)
                found.append(Segment(entry[0]))
            if after == 0:
                return found

    def status(self):
        """Version, process, use, counters and limits; the rows follow each other behind the
        body."""
        body, _ = self.ask(STATUS)
        (version, pid, n_counters, n_limits, _, _, clients, segments,
         size) = STATUS_BODY.unpack_from(body)[:9]
        behind = STATUS_BODY.size + n_counters * COUNTER.size
        counters = dict((text_of(name), value) for name, value in
                        COUNTER.iter_unpack(body[STATUS_BODY.size:behind]))
        limits = dict((text_of(name), (value, use)) for name, value, use in
                      LIMIT.iter_unpack(body[behind:behind + n_limits * LIMIT.size]))
        return text_of(version), pid, (clients, segments, size), counters, limits


class Tap:
    """Counts tests, and tells of them."""

    def __init__(self):
        self.count = self.failed = 0

    def ok(self, passed, title):
        self.count += 1
        self.failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self.count} - {title}", flush=True)

    def refused(self, code, text, title, function, *arguments):
        """A test that passes if the daemon says no: this code, and this in its sentence."""
        try:
            function(*arguments)
        except Refused as no:
            self.ok(no.code == code and text in str(no), title)
        else:
            self.ok(False, title)

    def finish(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0


def raises(error, function, *arguments):
    try:
        function(*arguments)
    except error:
        return True
    return False


def map_segment(segment, fd, access):
    """Maps it if the file is as large as the daemon says."""
    if os.fstat(fd).st_size < segment.size:
        raise ConnectionError("the memory is smaller than the daemon says")
    return mmap.mmap(fd, segment.size, mmap.MAP_SHARED, access)


def share(tap, client, name):
    """A segment, written through one attachment and read through another."""
    size, greeting = 5000, b"from a page, by Python"
    segment, descriptors = client.create(name, size)
    tap.ok(segment.name == name and segment.size == size and segment.uid == os.geteuid() and
           segment.flags & SEGMENT_NEW, "create: a new segment of ours")
    tap.ok(len(descriptors) == 2 and segment.semaphore.startswith("shmd-"),
           "create: memory, and a semaphore")
    data = map_segment(segment, descriptors[0], mmap.PROT_READ | mmap.PROT_WRITE)
    tap.ok(data[:] == bytes(size), "it begins as zeroes")
    data[size - len(greeting):] = greeting

    again, read_only = client.attach(name, READ_ONLY)
    view = map_segment(again, read_only[0], mmap.PROT_READ)
    tap.ok(again.id == segment.id and not again.flags & SEGMENT_NEW and len(read_only) == 1,
           "attach by name: the same segment, and only its memory")
    tap.ok(view[:] == bytes(size - len(greeting)) + greeting, "the same bytes are read")
    tap.ok(raises(OSError, os.pwrite, read_only[0], b"x", 0), "and cannot be written")
    tap.ok(raises(OSError, os.ftruncate, descriptors[0], 1), "nobody can change the size")

    listed = [one for one in client.list() if one.name == name]
    tap.ok(len(listed) == 1 and listed[0].id == segment.id and listed[0].size == size,
           "list: it is there once")

    # What is used no more is unmapped and closed first, and then let go of.
    view.close()
    close_all(read_only)
    tap.ok(client.detach(segment, READ_ONLY) == b"", "detach: the attachment for reading")
    tap.refused(NOT_FOUND, "not attached", "detach: not a second time",
                client.detach, segment, READ_ONLY)
    return segment, descriptors, data


def let_go(tap, client, segment, descriptors, data):
    """The name goes first; the memory stays until it is let go of."""
    tap.ok(client.unlink(segment.name) == b"", "unlink")
    tap.refused(NOT_FOUND, segment.name, "attach: its name is gone",
                client.attach, segment.name, 0)
    tap.ok(data[segment.size - 6:] == b"Python", "the memory is still ours")
    data.close()
    close_all(descriptors)
    tap.ok(client.detach(segment, 0) == b"", "detach: the attachment for writing")


def read_status(tap, client, segment, daemon):
    """What the daemon tells of itself, and of us, who are alone with it but for what it says."""
    told, pid, (clients, segments, size), counters, limits = client.status()
    tap.ok(told == daemon and pid > 0, "status: the daemon that said hello")
    tap.ok(clients >= 1 and segments >= 1 and size >= segment.size, "status: we are in its books")
    tap.ok(counters["created"] >= 1 and counters["attached"] >= 1, "status: it has counted")
    value, use = limits["segments_per_user"]
    tap.ok(1 <= use <= value, "status: we are charged")
    return limits


def be_refused(tap, client, name, limits):
    """Each no has its code, and a sentence that names the rule, and what was asked for."""
    def refused(code, text, title, function, *arguments):
        tap.refused(code, text, f"refused: {title}", function, *arguments)

    refused(NOT_FOUND, f"there is no segment '{name}-none'", "to unlink what there is not",
            client.unlink, name + "-none")
    refused(NOT_FOUND, f"there is no segment '{name}-none'", "to attach what there is not",
            client.attach, name + "-none", 0)
    refused(EXISTS, f"'{name}' exists", "a name that is taken", client.create, name, 1)
    refused(INVALID, "'a/b' has a '/' inside", "a name with a '/' inside",
            client.create, "a/b", 1)
    refused(INVALID, "control character at byte 2", "a name with a control character",
            client.create, "a\n", 1)
    refused(INVALID, "the name is empty", "to attach by no name", client.attach, "", 0)
    refused(TOO_LONG, "the name has 201 bytes; at most 200 are allowed", "a name too long",
            client.create, "a" * 201, 1)
    refused(INVALID, "the size is 0", "a size of 0", client.create, name + "-none", 0)
    refused(INVALID, "9223372036854771712 is more than 9223372036854771711", "a size too large",
            client.create, name + "-none", 2 ** 63 - 4096)
    value, use = limits["bytes_per_user"]
    refused(OVER_LIMIT, f"bytes_per_user={value} is reached: {use} in use, {value} more asked for",
            "more than the limit", client.create, name + "-none", value)
    tap.ok(client.list() != [], "the connection lives")


def be_denied(tap, path, name):
    """Another user than the owner, whom the mode 0600 does not let in. Only root can play one."""
    if os.geteuid() != 0:
        tap.ok(True, "denied: another user # SKIP needs root")
        return
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        stranger = Client(path)
        stranger.hello()
        try:
            stranger.attach(name, READ_ONLY)
        except Refused as no:
            os._exit(no.code if f"uid 65534 read segment '{name}'" in str(no) else 101)
        os._exit(100)
    _, status = os.waitpid(child, 0)
    tap.ok(os.waitstatus_to_exitcode(status) == DENIED, "denied: another user")


def be_malformed(tap, path):
    """Connections that break the form are told why, and end."""
    def ends(text, title, op, body, greeted=True):
        client = Client(path)
        if greeted:
            client.hello()
        try:
            client.ask(op, body)
        except ConnectionError as end:
            told = "ends the connection: malformed message: " in str(end) and text in str(end)
            tap.ok(told and raises(ConnectionError, client.receive), f"malformed: {title}")
        else:
            tap.ok(False, f"malformed: {title}")
        client.socket.close()

    ends("unknown operation", "an operation that there is not", 999, b"")
    ends("operation's size", "a body too long", STATUS, bytes(8))
    ends("not terminated", "a string without end", UNLINK, bytes(8) + b"x" * 208)
    ends("a reserved field", "a reserved field", DETACH, DETACH_BODY.pack(1, 0, 1))
    ends("a request before hello", "a request before hello", STATUS, b"", greeted=False)


def main():
    path = os.environ.get("SHMD_SOCKET") or "/run/shmd/shmd.sock"
    name = f"protocol-client-{os.getpid()}"
    tap = Tap()
    client = Client(path)

    tap.refused(VERSION_REFUSED, "version 77 is not served; versions 1 to 1 are",
                "refused: another version", client.hello, 77)
    version, number, daemon = client.hello()
    tap.ok(version == 1 and number > 0 and daemon != "", "hello")
    segment, descriptors, data = share(tap, client, name)
    limits = read_status(tap, client, segment, daemon)
    be_refused(tap, client, name, limits)
    be_denied(tap, path, name)
    be_malformed(tap, path)
    let_go(tap, client, segment, descriptors, data)
    client.socket.close()
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
