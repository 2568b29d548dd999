# SPDX-License-Identifier: MIT
"""usage: turns_publish.py [TURNS]

turns.py without a lock: the writer publishes 64 bytes as the next generation of a name, 1000 times, or as
often as it is told. The reader waits for the newest generation, as often as it can, and looks whether all 64
bytes are equal. Neither ever waits for the other, and who is killed has published all of it or nothing.
"""

import os
import sys
import time
from multiprocessing import Process, SimpleQueue

import shmd

SIZE = 64
LETTERS = [bytes([ord("A") + n]) * SIZE for n in range(26)]
LAST = b"." * SIZE


def read(name, seen):
    count = torn = generation = 0
    data = b""
    while data != LAST:
        with shmd.wait(name, newer_than=generation, timeout=10) as segment:
            generation = segment.generation
            data = bytes(segment.buf)
        count += 1
        torn += data != data[:1] * SIZE
    seen.put((count, torn))


def main(turns):
    name, seen = f"turns-{os.getpid()}", SimpleQueue()
    start = time.monotonic_ns()
    reader = Process(target=read, args=(name, seen))
    reader.start()
    for turn in range(turns - 1):
        shmd.publish(name, LETTERS[turn % 26])
    shmd.publish(name, LAST)
    # The name stays for as long as the writer does: the reader may not have the last one yet.
    reader.join()
    ns = (time.monotonic_ns() - start) // turns
    count, torn = seen.get()
    print(f"{turns} turns, {ns} ns a turn, {count} of them read: "
          f"{'torn reads' if torn else 'every read was whole'}")
    return 1 if torn else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
