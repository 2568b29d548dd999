# SPDX-License-Identifier: MIT
"""usage: frames.py [FRAMES]

A camera fills frames of 1 MiB and publishes them, 60 unless told, one every 5 ms; three readers show them, and
one of these takes its time. Nobody locks, nobody waits for the slow one, and no frame is torn. The exit
status is 0 if all frames that were seen were whole and in order.
"""

import os
import sys
import time
from multiprocessing import Process, SimpleQueue

import shmd

SIZE = 1 << 20


def camera(name, frames):
    for number in range(1, frames + 1):
        frame = shmd.SharedMemory.anonymous(SIZE)
        frame.buf[:] = bytes([number % 251]) * SIZE
        frame.buf[:8] = number.to_bytes(8, "little")
        frame.publish(name)
        frame.close()
        time.sleep(0.005)


def reader(name, frames, pause, results):
    generation = number = seen = bad = 0
    while number < frames:
        with shmd.wait(name, generation, timeout=10) as frame:
            generation, before = frame.generation, number
            number = int.from_bytes(frame.buf[:8], "little")
            bad += number <= before or bytes(frame.buf[8:]) != bytes([number % 251]) * (SIZE - 8)
        seen += 1
        time.sleep(pause)
    results.put((pause, seen, bad))


def main(frames):
    name, results = f"camera-{os.getpid()}", SimpleQueue()
    readers = [Process(target=reader, args=(name, frames, pause, results)) for pause in (0, 0, 0.03)]
    for process in readers:
        process.start()
    # The last frame stays for as long as this process does.
    camera(name, frames)
    total = 0
    for process in readers:
        process.join()
        pause, seen, bad = results.get()
        total += bad
        print(f"{'slow ' if pause else ''}reader: {seen} frames seen, {frames - seen} skipped, {bad} bad")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
