# SPDX-License-Identifier: MIT
"""usage: cost.py stdlib|shmd COUNT SIZE

What it takes to make a segment, close and unlink it, and to attach one and close it, as
multiprocessing.shared_memory or shmd have it: nanoseconds each, on one line. The pages are not
touched. ratio.sh compares them.
"""

import sys
import time


def measure(count, function):
    start = time.perf_counter_ns()
    for _ in range(count):
        function()
    return (time.perf_counter_ns() - start) // count


def main(which, count, size):
    if which == "shmd":
        from shmd import SharedMemory
    else:
        from multiprocessing.shared_memory import SharedMemory

    def create():
        segment = SharedMemory(create=True, size=size)
        segment.close()
        segment.unlink()

    def attach():
        SharedMemory(kept.name).close()

    # The first one starts the resource tracker, or makes the connection.
    kept = SharedMemory(create=True, size=size)
    print(measure(count, create), measure(count, attach))
    kept.close()
    kept.unlink()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
