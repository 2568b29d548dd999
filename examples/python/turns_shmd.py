# SPDX-License-Identifier: MIT
"""usage: turns_shmd.py [TURNS]

turns.py with shmd: the lock comes with the segment, so that its name is all that a process needs. Who is
killed in its turn gives the lock back, and the next one is told (owner_died); who exits or is killed without
close() and unlink() leaves nothing.
"""

import sys
import time
from multiprocessing import Process, SimpleQueue

import shmd

SIZE = 64
LETTERS = [bytes([ord("A") + n]) * SIZE for n in range(26)]


def write(name, turns, torn):
    segment = shmd.SharedMemory(name)
    for turn in range(turns):
        with segment.lock:
            # Here is no difference: the whole is written anew each time, whatever a dead one has left.
            segment.buf[:SIZE] = LETTERS[turn % 26]


def read(name, turns, torn):
    segment = shmd.SharedMemory(name)
    count = 0
    for _ in range(turns):
        with segment.lock as lock:
            data = bytes(segment.buf[:SIZE])
            died = lock.owner_died
        count += data != data[:1] * SIZE and not died
    torn.put(count)


def main(turns):
    segment = shmd.SharedMemory(create=True, size=SIZE)
    segment.buf[:SIZE] = LETTERS[0]
    torn = SimpleQueue()
    start = time.monotonic_ns()
    processes = [Process(target=target, args=(segment.name, turns, torn)) for target in (write, read)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    ns = (time.monotonic_ns() - start) // turns
    count = torn.get()
    print(f"{turns} turns each, {ns} ns a turn: {'torn reads' if count else 'every read was whole'}")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
