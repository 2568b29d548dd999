#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes those seeds that have names: of the fuzzer of requests, stories that people would tell, and of the
fuzzer of images what daemons would leave.

  tests/fuzz/seeds.py FOLDER    tests/fuzz/corpus/dispatch or tests/fuzz/corpus/image

The bytes are those that fuzz_dispatch.c, asking.c and law.c take apart, and fuzz_image.c. What has a number for a name in
the folder was found by the fuzzer, and minimised (-merge=1).
"""

import pathlib
import sys

ROOT, OWNER, MEMBER, STRANGER, ADMINISTRATOR, UNKNOWN, NO_GROUP, COLLEAGUE = range(8)

NAMES = ["a", "b", "c", "d", "/a", "ab", "5001.a", "5002.a", "/5001.x", "bc", "", "..", "a/b",
         "\u00e9", "not UTF-8", "DEL", "/", "a.b", 199, 200, 201, 202]
SIZES = [1, 4096, 4097, 65536, 0, 1 << 40, "INT64_MAX", "UINT64_MAX", 2 << 20]
MODES = [0o600, 0o660, 0o666, 0o640, 0o644, 0, 0o777, 0o604]
LIFETIMES = {"clients": 0, "owner": 1, "persistent": 2}
LINGERS = [0, 1, 1000, "for ever"]
PERMITS = [1, 2, 255, "INT32_MAX"]
ADMINISTRATORS = {"nobody": 0, "administrators": 1, "group": 2, "overflow": 3}

OPEN_EXISTING, HUGE, NO_SEMAPHORE, READERS_LOCK = 1, 2, 4, 8
READ_ONLY, WANT_SEMAPHORE, WRITABLE, WANT_READER = 16, 32, 64, 128
ODD_PERMITS = 16

# An id: how many after the first one; from here on how many before the newest.
NEWEST = 128

OPS = ["create", "attach", "detach", "unlink", "status", "list", "show", "clients", "holders",
       "keep", "publish", "wait", "subscribe", "cancel", "explain"]
BATCH_OPS = ["create", "attach", "detach", "unlink", "keep", "publish"]

# --- steps: `at` is a client's place; two places are one process ------------------------------------


def step(what, at=0):
    return bytes([what | at << 5])


def connect(at, who, how=0):
    """how: 5 without a pidfd, 6 with another sem_t, 7 in a version that is not served."""
    return step(0, at) + bytes([who + 8 * how])


def leave(at):
    return step(1, at)


def time(exponent, timers=True):
    """2^exponent ns pass."""
    return step(2) + bytes([exponent + (64 if timers else 0)])


def timers():
    return step(3) + bytes([0])


def settle(n=7):
    return step(3) + bytes([1 + 4 * n])


def read_watch():
    return step(3) + bytes([2])


def close_some():
    return b"".join(step(3) + bytes([3 + 4 * i]) for i in range(4)) * 2


def put_processes():
    return step(3) + bytes([3 + 32])


def lose_events():
    return step(3) + bytes([3 + 32 + 16])


def notify(is_read=True):
    return step(3) + bytes([3 + 64 + (32 if is_read else 0)])


def wake(is_behind=False):
    return step(3) + bytes([3 + 128 + (64 if is_behind else 0)])


def hold():
    """Nothing can be sent to whoever is to be answered next."""
    return step(3) + bytes([3 + 128 + 64 + 32])


def release(who):
    return step(3) + bytes([3 + 128 + 32 + 4 * who])


def loop():
    return read_watch() + timers() + settle() + settle() + close_some() + put_processes()


def drop(held):
    return step(5) + bytes([held])


def resume(at):
    return step(6, at)


def die(process, is_closed_first=False):
    return step(7, 2 * process + is_closed_first)


def limit(resource, exponent, total=False):
    """exponent 15: nothing at all."""
    resources = ["clients", "segments", "bytes", "attachments", "waits", "subscriptions",
                 "semaphores"]
    return step(8) + bytes([resources.index(resource) + 8 * exponent + (128 if total else 0)])


def grant(*which):
    """What some users may have, by its place in limits.c."""
    return step(8) + bytes([7 + 8 * sum(1 << n for n in which)])


def law(*statutes, administrators="nobody"):
    return step(9) + bytes([len(statutes) + 8 * ADMINISTRATORS[administrators], *statutes])


def raw(at, packet):
    return step(10, at) + bytes([len(packet)]) + packet


def seal(n, which=0, truncate=False):
    """which: 0 F_SEAL_WRITE, 1 F_SEAL_SEAL, 2 F_SEAL_FUTURE_WRITE."""
    return step(11) + bytes([which * 16 + (64 if truncate else 0), n])


def write(n, word, owner=0, flags=0, where=0):
    """where: 0 the semaphore, 4 + 8 * number a slot."""
    return step(12) + bytes([n, where, 1 + 4 * flags, word, owner])


def truncate(n, which=0):
    return step(12) + bytes([n, 7 + 8 * which, 1, 0, 0])


def by_name(at, n, place=0):
    return step(13, at) + bytes([n, place])


def inherit(held, to):
    return step(14, held) + bytes([to])


def descriptors(n):
    return step(15) + bytes([1 + 2 * n])


def allocations(n):
    return step(15) + bytes([2 * n])


# --- requests ---------------------------------------------------------------------------------------


def target(to):
    return bytes([1, to]) if isinstance(to, int) else bytes([0]) + name(to)


def name(text):
    return bytes([NAMES.index(text)])


def after(n):
    return bytes([2 * n + 1 if n else 0])


def create_body(text="", size=4096, mode=0o600, life="clients", linger=0, permits=1, flags=0):
    many = PERMITS.index(permits)
    return bytes([MODES.index(mode) + 8 * LIFETIMES[life] + 32 * LINGERS.index(linger) +
                  128 * (many & 1), flags | (64 if many & 2 else 0),
                  SIZES.index(size)]) + name(text)


def attach_body(to, flags=0):
    return bytes([flags]) + target(to)


def detach_body(n, flags=0):
    return bytes([flags, n])


def publish_body(n, text, flags=0):
    return bytes([n, flags]) + name(text)


BODIES = {
    "create": create_body,
    "attach": attach_body,
    "detach": detach_body,
    "unlink": target,
    "status": lambda: b"",
    "list": lambda n=0: after(n),
    "show": lambda text, n=0: after(n) + name(text),
    "clients": lambda n=0: after(n),
    "holders": lambda text, n=0: after(n) + name(text),
    "keep": lambda n: bytes([n]),
    "publish": publish_body,
    "wait": lambda text, n=0, flags=0: after(n) + bytes([flags]) + name(text),
    "subscribe": name,
    "cancel": lambda n: bytes([n]),
    "explain": lambda text, who=None: bytes([0 if who is None else 2 * who + 1]) + name(text),
}


def ask(at, op, *args, keep=0, **options):
    return step(17 + OPS.index(op), at) + bytes([keep]) + BODIES[op](*args, **options)


def batch(at, *requests, keep=0):
    """Requests are tuples of an operation and its arguments; 2 to 9 of them."""
    packet = b"".join(bytes([BATCH_OPS.index(op)]) + BODIES[op](*args) for op, *args in requests)
    return step(16, at) + bytes([keep, len(requests) - 2]) + packet


def many(at, op, *args):
    """The same request 64 times."""
    return (step(16, at) + bytes([0, 64 + 128, BATCH_OPS.index(op)]) + BODIES[op](*args))


# --- stories ----------------------------------------------------------------------------------------

LOCK = WANT_SEMAPHORE
EVERYBODY = b"".join(connect(i, i) for i in range(7))

STORIES = {
    "life": connect(0, OWNER) + ask(0, "create", "a", mode=0o660) + connect(2, MEMBER) +
            ask(2, "attach", "a", keep=3) + ask(2, "list") + ask(0, "show", "a") +
            ask(0, "detach", 0) + loop() + ask(2, "detach", 0) + loop() + drop(3) + loop(),
    "modes": EVERYBODY + b"".join(
        ask(1, "create", text, mode=mode, life="persistent")
        for text, mode in zip("abcd", (0o600, 0o640, 0o604, 0o666))) + b"".join(
        ask(i, "attach", text, flags) for i in range(7) for text in "abcd"
        for flags in (0, READ_ONLY)),
    "ids": law(administrators="administrators") + EVERYBODY +
           ask(1, "create", "a", mode=0o640) + ask(1, "create", "") + b"".join(
        ask(i, "attach", n, READ_ONLY) + ask(i, "unlink", n) for i in (2, 3, 5, 6, 4)
        for n in (0, 1, 2)),
    "queries": law(2, 4, administrators="administrators") + EVERYBODY +
               ask(0, "create", "a", mode=0o640) + ask(1, "create", "ab", mode=0o660) +
               ask(1, "create", "") + b"".join(
        ask(i, op, *args) for i in range(7)
        for op, *args in (["list"], ["list", 1], ["show", "a"], ["show", "ab", 1],
                          ["holders", "ab"],
                          ["clients"], ["clients", 2], ["status"], ["explain", "a"])),
    "explain": law(0, 3, 6, administrators="group") + EVERYBODY +
               ask(1, "create", "a", mode=0o640) + ask(3, "create", "b") + b"".join(
        ask(i, "explain", text, who) for i in (0, 1, 3, 5)
        for text in ("a", "b", "d", "5001.a", "..", 201)
        for who in (None, OWNER, STRANGER, UNKNOWN)),
    "names": connect(0, OWNER) + b"".join(
        ask(0, "create", text, flags=NO_SEMAPHORE) + ask(0, "attach", text) for text in NAMES),
    "refused": connect(0, OWNER) + connect(1, UNKNOWN) + ask(1, "create", "a") +
               b"".join(ask(0, "create", "a", size=size) for size in SIZES) +
               ask(0, "create", "b", life="persistent", linger=1) +
               ask(0, "create", "b", flags=ODD_PERMITS) + ask(0, "create", "b", flags=WANT_READER) +
               ask(0, "create", "b", flags=NO_SEMAPHORE | ODD_PERMITS, permits=2) +
               ask(0, "create", "b", permits=2, flags=ODD_PERMITS) +
               ask(0, "create", "a") + ask(0, "create", "a", size=65536, flags=OPEN_EXISTING) +
               ask(0, "detach", 5) + ask(0, "keep", 5) + ask(0, "publish", 5, "a") +
               ask(0, "attach", 9) + ask(0, "unlink", "d") + ask(0, "show", "d") +
               ask(0, "holders", "d") + ask(0, "cancel", 1) + ask(0, "subscribe", 201),
    "huge": connect(0, OWNER) + ask(0, "create", "a", flags=HUGE) +
            ask(0, "create", "b", size=2 << 20, flags=HUGE),
    "hello": connect(0, OWNER, 7) + ask(0, "status") + leave(0) + connect(0, OWNER, 6) +
             ask(0, "create", "a", flags=LOCK) + connect(1, OWNER, 5) +
             ask(1, "attach", "a", LOCK) + leave(1) + loop(),
    "bytes": connect(0, OWNER) + raw(0, bytes([16, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])) +
             raw(0, bytes(8)),
    "anonymous": connect(0, OWNER) + connect(2, MEMBER) +
                 ask(0, "create", "", mode=0o666, keep=1) + ask(2, "attach", 0) +
                 ask(2, "show", "a") + ask(0, "attach", 0) + leave(0) + loop() + drop(1) + loop(),
    "reader": connect(0, OWNER) + ask(0, "create", "", flags=WANT_READER, keep=1) +
              ask(0, "create", "", flags=WANT_READER | LOCK, permits=2, keep=3),
    "persistent": connect(0, OWNER) + ask(0, "create", "a", life="persistent") + leave(0) + loop() +
                  connect(0, ADMINISTRATOR) + ask(0, "unlink", "a") +
                  law(administrators="administrators") + ask(0, "unlink", "a") + loop(),
    "owner": connect(0, OWNER) + connect(2, OWNER) +
             ask(0, "create", "a", life="owner", mode=0o666) + ask(2, "attach", "a") +
             ask(0, "detach", 0) + loop() + ask(2, "attach", 0) + leave(2) + loop(),
    "owner-linger": connect(0, OWNER) + connect(2, STRANGER) +
                    ask(0, "create", "a", life="owner", mode=0o666, linger=1000) + leave(0) +
                    loop() + ask(2, "attach", "a") + ask(2, "create", "a") + connect(0, OWNER) +
                    ask(0, "attach", "a", READ_ONLY) + ask(0, "attach", "a") + leave(0) + loop() +
                    time(31) + loop(),
    "linger": connect(0, OWNER) + ask(0, "create", "a", linger=1000) + leave(0) + loop() +
              connect(0, OWNER) + ask(0, "list") + ask(0, "attach", "a") + leave(0) + loop() +
              time(29) + loop() + ask(0, "list") + time(29) + loop(),
    # It ended at once, where there was no memory for the end of its linger.
    "linger-without-memory": connect(0, OWNER) + ask(0, "create", "a", linger=1000) + leave(0) +
                             allocations(0) + settle() + loop() + connect(0, OWNER) +
                             ask(0, "attach", "a"),
    "held": connect(0, OWNER) + ask(0, "create", "a", keep=1) + inherit(1, 2) + die(0) + loop() +
            time(19) + loop() + time(20) + loop() + connect(0, STRANGER) + ask(0, "create", "a") +
            drop(2) + loop(),
    "held-long": connect(0, OWNER) + ask(0, "create", "a", keep=1) + ask(0, "create", "b") + leave(0) +
                 b"".join(settle() + time(n) + timers() for n in range(20, 37)) * 2 + drop(1) +
                 read_watch() + loop(),
    "dropped": connect(0, OWNER) + ask(0, "create", "a", keep=1) + ask(0, "unlink", "a") + loop() +
               ask(0, "attach", 0) + ask(0, "unlink", 0) + ask(0, "list") + leave(0) + loop() +
               drop(1) + read_watch() + time(20) + loop(),
    "death": connect(0, OWNER) + connect(1, OWNER) + ask(0, "create", "a", flags=LOCK) +
             ask(1, "attach", "a", LOCK, keep=1) + write(0, 0, 1) + die(0, True) + loop(),
    "burial": connect(0, OWNER) + connect(2, OWNER) + ask(0, "create", "a", flags=LOCK, permits=2) +
              ask(2, "attach", "a", LOCK) + write(0, 1) + write(0, 1, where=4 + 8) +
              ask(2, "holders", "a") + die(0) + loop() + ask(2, "holders", "a"),
    "under-way": connect(0, OWNER) + connect(2, OWNER) +
                 ask(0, "create", "a", flags=LOCK, permits=2) + ask(2, "attach", "a", LOCK) +
                 write(0, 1, 2) + write(0, 1, where=4 + 8) + die(0) + loop() + time(20) + loop() +
                 write(0, 1) + time(21) + loop(),
    "truncated": connect(0, OWNER) + connect(2, OWNER) +
                 ask(0, "create", "a", flags=LOCK, permits=2) + ask(2, "attach", "a", LOCK) +
                 truncate(0) + die(0) + loop() + ask(2, "show", "a") + ask(2, "holders", "a") +
                 truncate(0, 2) + die(1) + loop(),
    "left-behind": connect(0, OWNER) + ask(0, "create", "a", flags=LOCK) + write(0, 0, 1) +
                   ask(0, "detach", 0) + loop() + connect(1, OWNER) + leave(0) + leave(1) + loop() +
                   connect(0, OWNER) + ask(0, "status") + die(0) + loop(),
    "taken-up": connect(0, OWNER) + connect(1, OWNER) +
                ask(0, "create", "a", flags=LOCK, life="persistent") + write(0, 0, 1) +
                ask(0, "detach", 0) + loop() + ask(1, "attach", "a", LOCK) + write(0, 1) +
                ask(1, "detach", 0) + leave(0) + leave(1) + loop(),
    "keep": connect(0, OWNER) + ask(0, "create", "a", flags=LOCK) + ask(0, "keep", 0) +
            write(0, 0, 1) + leave(0) + loop() + die(0) + loop(),
    "by-name": connect(0, OWNER) + ask(0, "create", "a", flags=LOCK) + by_name(0, 0, 2) +
               write(0, 0) + drop(2) + read_watch() + settle() + time(20) + loop() + write(0, 0) +
               by_name(0, 0, 2) + ask(0, "unlink", "a") + drop(2) + read_watch() + settle() +
               time(28) + loop(),
    "overflow": connect(0, OWNER) + ask(0, "create", "a", flags=LOCK, keep=1) +
                ask(0, "create", "b") + by_name(0, 0, 2) + leave(0) + settle() + drop(1) +
                drop(2) + lose_events() + read_watch() + settle() + time(20) + loop(),
    "slept": connect(0, OWNER) + ask(0, "create", "a", flags=LOCK) + by_name(0, 0, 2) +
             write(0, 1, flags=32) + drop(2) + read_watch() + settle() + by_name(0, 0, 2) +
             drop(2) + read_watch() + settle() + loop(),
    "numbers": connect(0, OWNER) + connect(2, MEMBER) +
               ask(0, "create", "a", flags=LOCK, mode=0o666, permits=255) +
               ask(2, "attach", "a", LOCK | READ_ONLY) + ask(2, "attach", "a", LOCK) +
               ask(2, "keep", 0) + ask(2, "holders", "a") + leave(2) + ask(0, "holders", "a") +
               die(1) + loop(),
    "readers": connect(0, OWNER) + connect(2, STRANGER) +
               ask(0, "create", "a", flags=READERS_LOCK | LOCK, mode=0o644) +
               ask(2, "attach", "a", LOCK | READ_ONLY) + ask(2, "attach", "a", LOCK) +
               ask(2, "detach", 0, READ_ONLY) + ask(2, "detach", 0),
    "publish": connect(0, OWNER) + connect(2, STRANGER) + ask(2, "wait", "a", 0, READ_ONLY) +
               ask(0, "create", "", mode=0o644) + ask(0, "publish", 0, "a") + seal(0) +
               ask(0, "publish", 0, "a") + wake() + ask(2, "wait", "a", 0, READ_ONLY) +
               ask(2, "wait", "a", 4, READ_ONLY) + ask(0, "create", "", mode=0o644) + seal(2) +
               ask(0, "publish", 2, "a") + wake(True) + resume(2) + wake() + ask(0, "show", "a") +
               loop() + leave(0) + loop() + ask(2, "list"),
    "publish-writable": connect(0, OWNER) + ask(0, "create", "", life="owner", mode=0o666) +
                        ask(0, "publish", 0, "b", WRITABLE) + ask(0, "publish", 0, "c", WRITABLE) +
                        connect(2, STRANGER) + ask(2, "attach", "b") + ask(2, "create", "") +
                        ask(2, "publish", 2, "b", WRITABLE) + ask(0, "detach", 0) + loop() +
                        leave(0) + loop(),
    "publish-law": law(1, 2) + connect(0, MEMBER) + connect(2, STRANGER) +
                   ask(0, "create", "", mode=0o600) + ask(0, "publish", 0, "a", WRITABLE) +
                   ask(2, "create", "", mode=0o666) + ask(2, "publish", 2, "c", WRITABLE) +
                   ask(2, "publish", 2, "b", WRITABLE) + ask(2, "show", "b") + ask(2, "attach", 2) +
                   loop(),
    "publish-owned": connect(0, OWNER) + connect(2, MEMBER) + ask(0, "create", "", life="owner") +
                     ask(0, "create", "", life="owner", mode=0o666) + connect(1, OWNER) +
                     ask(1, "attach", 1) + leave(0) + loop() + ask(1, "publish", 1, "a", WRITABLE) +
                     ask(2, "attach", 1) + ask(2, "publish", 1, "a", WRITABLE),
    "seals": connect(0, OWNER) + ask(0, "create", "") + seal(0, 1) + ask(0, "publish", 0, "a") +
             ask(0, "publish", 0, "a", WRITABLE) + ask(0, "create", "", keep=1) + seal(2, 2, True) +
             ask(0, "publish", 2, "b", WRITABLE),
    "waits": connect(0, OWNER) + connect(2, STRANGER) + ask(2, "wait", "a") +
             ask(2, "wait", "b", 9) + ask(2, "wait", "a", 9) + ask(2, "cancel", 1) +
             ask(2, "cancel", 2) + ask(2, "wait", "a") + ask(0, "wait", "a", 9) * 9 +
             ask(0, "create", "a") + wake() + wake() + wake() + wake() + ask(2, "wait", "a") +
             ask(0, "create", "b", mode=0o666) * 12 + wake() * 9 + leave(2) + leave(0),
    "waits-held": connect(0, OWNER) + connect(2, MEMBER) + connect(3, MEMBER) + connect(4, OWNER) +
                  (ask(2, "wait", "a") + ask(3, "wait", "b")) * 2 + ask(4, "wait", "a") +
                  ask(0, "create", "a", mode=0o666) + hold() + wake() + wake() +
                  ask(0, "create", "b", mode=0o666) + ask(3, "wait", "b", 9) +
                  ask(3, "cancel", 1) + hold() + release(MEMBER) + wake() + hold() +
                  leave(2) + ask(3, "wait", "c") + release(MEMBER) + wake() * 4,
    "waits-held-left": connect(0, OWNER) + connect(2, MEMBER) + ask(2, "wait", "a") +
                       ask(0, "create", "a", mode=0o666) + hold() + leave(2) +
                       connect(2, MEMBER) + ask(2, "wait", "b") +
                       ask(0, "create", "b", mode=0o666) + wake() + ask(2, "wait", "c") +
                       ask(2, "wait", "d") + ask(0, "create", "c", mode=0o666) + hold() +
                       ask(0, "create", "d", mode=0o666),
    "waits-far": connect(0, OWNER) + connect(2, OWNER) + ask(2, "wait", "a", 31) +
                 ask(2, "wait", "a", 20) + (ask(0, "create", "", flags=NO_SEMAPHORE) +
                 ask(0, "publish", NEWEST, "a", WRITABLE) + ask(0, "create", "a") +
                 ask(0, "unlink", "a")) * 16 + wake() * 3,
    "events": connect(0, OWNER) + connect(2, STRANGER) + connect(4, ROOT) +
              ask(0, "subscribe", "") + ask(2, "subscribe", "a") + ask(2, "subscribe", "") +
              ask(4, "subscribe", "") + ask(0, "create", "a", mode=0o644, flags=LOCK) +
              ask(0, "create", "") + ask(2, "attach", "a") + ask(2, "attach", "a", READ_ONLY) +
              ask(2, "create", "b") + notify() + notify() * 4 + notify(False) * 4 +
              ask(0, "unlink", "a") + ask(2, "detach", 0, READ_ONLY) + write(0, 0, 1) + die(0) +
              loop() + resume(2) + resume(4) + notify() * 8 + ask(2, "cancel", 1) +
              ask(2, "cancel", 0) + ask(2, "cancel", 2) + ask(2, "cancel", 3),
    "events-lost": connect(0, ROOT) + ask(0, "subscribe", "") + many(0, "attach", "d") * 66 +
                   notify(False) + many(0, "attach", "d") + resume(0) + notify() * 3,
    "sealed": connect(0, OWNER) + connect(2, MEMBER) + ask(0, "create", "", mode=0o660) + seal(0) +
              ask(0, "publish", 0, "a") + ask(0, "attach", "a") +
              ask(2, "create", "a", flags=OPEN_EXISTING) + ask(2, "attach", "a", READ_ONLY),
    "existing": connect(0, OWNER) + connect(2, MEMBER) + connect(4, STRANGER) +
                ask(0, "create", "a", mode=0o660, flags=NO_SEMAPHORE) + b"".join(
        ask(i, "create", "a", size=size, flags=OPEN_EXISTING | LOCK) for i in (0, 2, 4)
        for size in (1, 4096, 4097)) + ask(2, "detach", 0) + leave(0) + leave(2) +
                ask(4, "create", "a", size=65536, flags=OPEN_EXISTING),
    "leave-and-ask": connect(0, OWNER) + connect(2, STRANGER) + b"".join(
        ask(0, "create", "a", mode=0o666) + leave(0) + ask(2, *request) + connect(0, OWNER)
        for request in (["attach", "a"], ["create", "a"], ["unlink", "a"], ["explain", "a"],
                        ["wait", "a"], ["show", "a"])) + loop(),
    "limits": connect(0, OWNER) + connect(1, OWNER) + limit("segments", 1) +
              ask(0, "create", "a") + ask(0, "create", "b") + ask(0, "create", "c") +
              limit("segments", 1, True) + connect(2, MEMBER) + ask(2, "create", "c") +
              limit("segments", 5) + limit("segments", 5, True) + limit("bytes", 13) +
              ask(0, "create", "c", size=1) + limit("bytes", 14) + ask(0, "create", "c") +
              limit("bytes", 13, True) + ask(2, "create", "d", size=1) +
              limit("attachments", 1, True) + ask(2, "attach", "a") + limit("attachments", 15) +
              ask(0, "attach", "a") + ask(1, "attach", "a") + limit("waits", 0) +
              ask(0, "wait", "d") + ask(0, "wait", "d") + limit("subscriptions", 0) +
              ask(0, "subscribe", "") + ask(0, "subscribe", "") + limit("clients", 1) +
              connect(3, OWNER) + connect(4, MEMBER),
    "limits-semaphores": connect(0, OWNER) + connect(2, MEMBER) + limit("semaphores", 1) +
                         ask(0, "create", "a") + ask(0, "create", "b") + ask(0, "create", "c") +
                         ask(0, "create", "c", flags=NO_SEMAPHORE) + ask(0, "unlink", "a") +
                         ask(0, "detach", 0) + loop() + ask(0, "create", "d") +
                         limit("semaphores", 1, True) + ask(2, "create", "ab") + leave(0) + loop() +
                         ask(2, "create", "ab"),
    "limits-granted": connect(0, OWNER) + connect(2, MEMBER) + connect(4, ADMINISTRATOR) +
                      connect(6, NO_GROUP) + grant(0, 1, 2, 3) + limit("segments", 0) +
                      limit("waits", 0) + (ask(0, "create", "") + ask(2, "create", "") +
                      ask(4, "create", "")) * 2 + ask(6, "attach", 0) +
                      ask(2, "wait", "a") * 2 + grant(1) + ask(2, "wait", "a") * 2 +
                      ask(2, "create", "") + b"".join(ask(i, "status") for i in (0, 2, 4, 6)) +
                      limit("segments", 6) + grant(2, 3) + ask(4, "create", "") * 2,
    "reserve": connect(0, OWNER) + connect(2, STRANGER) + connect(4, COLLEAGUE) +
               limit("segments", 7) + limit("segments", 6, True) + limit("semaphores", 7) +
               limit("semaphores", 7, True) + limit("attachments", 7) +
               limit("attachments", 7, True) + many(0, "create", "") + ask(0, "create", "") +
               ask(2, "create", "") * 2 + ask(4, "create", "") + limit("bytes", 14, True) +
               limit("bytes", 14) + ask(0, "detach", 0) + loop() + ask(2, "create", "") +
               ask(2, "list") + ask(0, "list") + ask(0, "list", 31),
    "rules": law(0, 4) + connect(0, OWNER) + connect(2, STRANGER) +
             ask(0, "create", "a", mode=0o660) + ask(0, "create", "ab", mode=0o666) +
             ask(0, "create", "ab", linger=1000) + ask(0, "create", "ab", size=65536) +
             ask(0, "create", "ab", linger=1) + ask(0, "create", "5001.a") +
             ask(2, "create", "a.b") + ask(0, "create", "a.b") + ask(2, "create", "d") +
             ask(2, "create", "c") + ask(2, "create", "b") + law(0) + ask(2, "create", "b") +
             ask(2, "create", "5001.a"),
    "rules-full": law(0, 6) + connect(0, OWNER) + ask(0, "create", "a", size=4097) +
                  ask(0, "create", "ab", size=4096) + ask(0, "create", "a.b", size=4097) +
                  ask(0, "create", "a.b", size=1) + ask(0, "create", "5001.a", size=4096) +
                  ask(0, "create", "d", size=4096) + ask(0, "create", "d", size=1) +
                  ask(0, "unlink", "a") + loop() + leave(0) + loop(),
    "rules-others": law(3, 5, 7, 2, administrators="administrators") + EVERYBODY + b"".join(
        ask(i, "create", text, life=life) for i in range(7)
        for text, life in (("b", "clients"), ("c", "owner"), ("d", "persistent"), ("bc", "owner"))),
    "nobodys": law(2) + connect(0, ROOT) + connect(2, UNKNOWN) + ask(0, "create", "a") +
               ask(2, "attach", "a") + ask(2, "attach", 0) + ask(2, "show", "a") +
               ask(2, "unlink", "a") + ask(2, "list") + ask(2, "explain", "a"),
    "reserved": connect(0, OWNER) + connect(2, STRANGER) + connect(4, ROOT) + b"".join(
        ask(i, "create", text) + ask(i, "explain", text) for i in (2, 0, 4)
        for text in ("5001.a", "5002.a", "/5001.x")),
    "reload": law(1) + connect(0, STRANGER) + ask(0, "create", "a") + law(4, 1) +
              ask(0, "attach", "a") + ask(0, "create", "b") + ask(0, "create", "c") +
              ask(0, "explain", "c") + law() + ask(0, "explain", "c") + loop(),
    "batch": connect(0, OWNER) + connect(2, MEMBER) +
             batch(0, ("create", "a", 4096, 0o666), ("attach", "a", LOCK), ("attach", 0, READ_ONLY),
                   ("keep", 0), ("detach", 0, READ_ONLY), ("create", ""),
                   ("publish", 1, "b", WRITABLE), ("unlink", "a"), keep=2) +
             batch(2, ("attach", "b"), ("unlink", "b"), ("create", "b")) +
             many(0, "attach", 0, LOCK) +
             many(2, "create", "", 1, 0o600, "clients", 0, 1, NO_SEMAPHORE) + loop(),
    "descriptors": connect(0, OWNER) + b"".join(
        descriptors(n) + ask(0, "create", "", flags=LOCK | WANT_READER, permits=2) for n in range(6)) +
        ask(0, "create", "a", keep=1) + descriptors(0) + ask(0, "attach", "a") + leave(0) +
        descriptors(0) + settle() + loop() + time(30) + loop(),
    "allocations": connect(0, OWNER) + ask(0, "subscribe", "") + b"".join(
        allocations(n) + ask(0, "create", "a", flags=LOCK) + ask(0, "unlink", "a") for n in range(12)) +
        b"".join(allocations(n) + ask(0, "wait", "b") for n in range(6)) + b"".join(
        allocations(n) + ask(0, "subscribe", "a") + ask(0, "cancel", 0) for n in range(3)) + b"".join(
        allocations(n) + ask(0, "create", "") for n in range(6)),
    "allocations-watch": connect(0, OWNER) + b"".join(
        ask(0, "create", "a", flags=LOCK, keep=1) + write(NEWEST, 0, 1) + leave(0) + allocations(n) +
        settle(1) + time(20) + allocations(n) + timers() + settle(1) + drop(1) + loop() +
        connect(0, OWNER) for n in range(6)),
    "allocations-connect": b"".join(allocations(n) + connect(n, OWNER) for n in range(3)) +
                           b"".join(allocations(n) + ask(0, "create", "", flags=LOCK) for n in range(12)) +
                           b"".join(allocations(n) + ask(0, "attach", 2, LOCK) for n in range(4)),
    "allocations-publish": connect(0, OWNER) + b"".join(
        ask(0, "create", "", flags=NO_SEMAPHORE) + allocations(n) +
        ask(0, "publish", NEWEST, "a", WRITABLE) for n in range(7)) +
        loop(),
    "allocations-loop": connect(0, OWNER) + connect(2, OWNER) + b"".join(
        ask(0, "create", text, flags=LOCK, linger=1, keep=i) for i, text in enumerate(NAMES[:4])) +
        write(0, 0, 1) + ask(2, "attach", "a", LOCK) + die(0) + allocations(0) + settle(2) +
        allocations(1) + settle(2) + time(21) + allocations(0) + settle() + loop(),
}


# The first two bytes: how the daemon starts (world.h), and whether it ends before its clients do (15).
LEFTOVERS, NO_INOTIFY, NO_LEASES, NO_WORDS, NO_MEMORY = 8, 16, 32, 64, 128
WORLDS = {
    "life": (LEFTOVERS, 0), "queries": (NO_WORDS, 0), "batch": (0, 15), "left-behind-stop": (0, 15),
}
WORLDS |= {f"start-{n}": (n, 15) for n in range(1, 8)}
WORLDS |= {f"start-memory-{n}": (NO_MEMORY + n, 15) for n in range(1, 8)}
STORIES |= {title: STORIES["held"] for title in WORLDS if title.startswith("start-")}
STORIES["left-behind-stop"] = (
    connect(0, OWNER) + connect(2, OWNER) + ask(0, "create", "a", flags=LOCK, keep=1) +
    ask(0, "create", "b") + ask(2, "attach", "a", LOCK) + write(0, 0, 1) + leave(0) +
    ask(2, "unlink", "b") + settle())
for without in ("NO_INOTIFY", "NO_LEASES", "NO_WORDS"):
    for title in ("held", "held-long", "by-name", "death", "left-behind", "dropped"):
        world = f"{title}-{without.lower().replace('_', '-')}"
        STORIES[world] = STORIES[title]
        WORLDS[world] = (globals()[without], 0)


# --- images: what a daemon has left ------------------------------------------------------------------

MEMORY, SEMAPHORE, LEDGER, LOCK, ODD_SIZE, ODD_MODE, NO_SEALS, NO_FILE = range(8)
LIVE, LINGERING, DROPPED, SUPERSEDED, ANONYMOUS = range(5)
LOCK_NAME, NO_NAME = 130, 131
NONE = 255


def file(kind, how=0):
    return bytes([0, kind + 8 * how])


def give(at, key):
    """Under the name of a key, or of what has a name of its own."""
    return bytes([1, at, key])


def disturbed(changes):
    return bytes([len(changes)]) + b"".join(bytes([at >> 8, at & 255, to]) for at, to in changes)


def segment(n, memory, semaphore=NONE, ledger=0, state=LIVE, owner=0, publisher=0, lifetime=0, key=None,
            newer=0, changes=()):
    what = n + 8 * (n if key is None else key) + 64 * newer
    how = state + 5 * owner + 20 * publisher + 80 * lifetime
    return bytes([2, what & 255, memory, how & 255, semaphore, ledger]) + disturbed(changes)


def left_client(n, deed=0, changes=()):
    return bytes([3, n, deed]) + disturbed(changes)


def left_attachment(client, n, writing=1, reading=0, number=0, changes=()):
    return bytes([4, client + 4 * n, writing + 4 * reading + 16 * number]) + disturbed(changes)


def left_number(n, number, process=0, flags=0, changes=()):
    return bytes([5, n + 8 * number, process + 4 * flags]) + disturbed(changes)


def poke(table, at, to):
    return bytes([6, table, at >> 8, at & 255, to])


def image(*steps, tables=0, allocations=0, asked=b""):
    return bytes([tables, allocations, len(steps)]) + b"".join(steps) + asked


SIMPLE = (file(MEMORY), file(SEMAPHORE, 1), file(LOCK), give(0, 0), give(1, 0), give(2, LOCK_NAME),
          segment(0, 0, 1))
# Four permits, and the ledger is file 3.
SEVERAL = (file(MEMORY), file(SEMAPHORE, 4), file(LOCK), file(LEDGER), give(0, 1), give(1, 1), give(3, 1),
           give(2, LOCK_NAME), segment(1, 0, 1, 3))
CLIENTS = (left_client(0), left_client(1), left_client(2))
TWO_NAMES = (file(MEMORY), file(MEMORY), give(0, 0), give(1, 4), segment(0, 0), segment(4, 1))
ASKED = bytes(range(0, 160, 5))

IMAGES = {
    "nothing": image(),
    "one": image(*SIMPLE, *CLIENTS, left_attachment(0, 0), asked=ASKED),
    "lockers": image(*SEVERAL, *CLIENTS, left_number(1, 1), left_number(1, 2, 1, 1), left_number(1, 3, 0, 2),
                     left_attachment(0, 1, number=1), left_attachment(1, 1, number=2),
                     left_attachment(2, 1, number=3), asked=ASKED),
    "left": image(*SIMPLE, *CLIENTS, left_number(0, 1, 0, 2), left_attachment(1, 0, number=1),
                  asked=bytes([1 + 18, 0, 1 + 18, 0])),
    "two-names": image(*TWO_NAMES, asked=ASKED),
    "two-keys": image(*TWO_NAMES[:4], segment(0, 0, key=0), segment(4, 1, key=0)),
    "published": image(*SIMPLE[:-1], segment(0, 0, 1, owner=1, publisher=1, newer=1), *CLIENTS,
                       left_attachment(0, 0), asked=ASKED),
    "deeds": image(*SIMPLE, *(left_client(n, 1 + n) for n in range(3)), asked=ASKED),
    "no-lock": image(*SIMPLE[:2], *SIMPLE[3:5], segment(0, 0, 1)),
    "no-semaphore": image(file(MEMORY), file(SEMAPHORE), give(0, 0), segment(0, 0, 1), asked=ASKED),
    "odd-files": image(*(file(kind, 3) for kind in range(8)), *(give(i, i) for i in range(8)),
                       *(segment(i, i) for i in range(8))),
    "poked": image(*SIMPLE, *CLIENTS, poke(0, 200, 7), poke(1, 0, 0)),
    "next-id": image(*SIMPLE, *(poke(0, 40 + i, 255) for i in range(8)), asked=ASKED),
    "generation": image(*SIMPLE[:-1], segment(0, 0, 1, changes=[(24 + i, 255) for i in range(3)])),
}
IMAGES |= {f"state-{state}": image(*SIMPLE[:-1], segment(0, 0, 1, state=state), *CLIENTS,
                                   left_attachment(0, 0), asked=ASKED) for state in range(1, 5)}
IMAGES |= {f"tables-{how}": image(*SIMPLE, *CLIENTS, left_attachment(0, 0), tables=how)
           for how in (1, 2, 3, 33, 65, 97, 129, 161, 10, 18, 26, 185)}
IMAGES |= {f"allocations-{n}": image(*SEVERAL, *TWO_NAMES, *CLIENTS, allocations=128 + n)
           for n in range(0, 40, 3)}


def main():
    folder = pathlib.Path(sys.argv[1])
    if folder.name == "image":
        for title, what in IMAGES.items():
            (folder / title).write_bytes(what)
        return
    for title, story in STORIES.items():
        (folder / title).write_bytes(bytes(WORLDS.get(title, (0, 0))) + story)


if __name__ == "__main__":
    main()
