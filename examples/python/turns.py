# SPDX-License-Identifier: MIT
"""usage: turns.py [TURNS]

The parent makes a segment of 64 bytes, and starts a writer and a reader. Each attaches for itself and takes
1000 turns, or as many as it is told: the writer fills the 64 bytes with one letter, the reader looks whether
all of them are equal. The exit status is 0 if every read was whole.

This is the standard library alone. Who is killed in its turn stops the other for ever; and when all of it is
killed at once, the segment stays in /dev/shm. Under `shmdctl run --preload` the very same program leaves
nothing. turns_shmd.py has the lock whose dead holders are found out, turns_publish.py needs none.
"""

import sys
import time
from multiprocessing import Lock, Process, SimpleQueue, shared_memory

SIZE = 64
LETTERS = [bytes([ord("A") + n]) * SIZE for n in range(26)]


def write(name, lock, turns, torn):
    segment = shared_memory.SharedMemory(name)
    for turn in range(turns):
        with lock:
            segment.buf[:SIZE] = LETTERS[turn % 26]
    segment.close()


def read(name, lock, turns, torn):
    segment = shared_memory.SharedMemory(name)
    count = 0
    for _ in range(turns):
        with lock:
            data = bytes(segment.buf[:SIZE])
        count += data != data[:1] * SIZE
    segment.close()
    torn.put(count)


def main(turns):
    segment = shared_memory.SharedMemory(create=True, size=SIZE)
    segment.buf[:SIZE] = LETTERS[0]
    lock, torn = Lock(), SimpleQueue()
    start = time.monotonic_ns()
    processes = [Process(target=target, args=(segment.name, lock, turns, torn)) for target in (write, read)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    ns = (time.monotonic_ns() - start) // turns
    count = torn.get()
    segment.close()
    segment.unlink()
    print(f"{turns} turns each, {ns} ns a turn: {'torn reads' if count else 'every read was whole'}")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
