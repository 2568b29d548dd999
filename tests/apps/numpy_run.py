# SPDX-License-Identifier: MIT
"""A numpy program as people write it: arrays in multiprocessing.shared_memory, a pool that works on them.

usage: numpy_run.py START_METHOD install|plain

Prints checked sums as JSON; whether a segment is still there that a worker had made, closed and ended, and
those that the workers of a pool had; and
whether one still has its name after another program, not a child of this one's multiprocessing, had attached
it and ended.
"""

import json
import subprocess
import sys
from multiprocessing import get_context, shared_memory
from multiprocessing.managers import SharedMemoryManager

import numpy as np

ROWS, COLUMNS, WORKERS = 64, 16384, 4


def view(segment, shape, dtype="float64"):
    return np.ndarray(shape, dtype=dtype, buffer=segment.buf)


def work(task):
    """One row: reads a shared array, and writes its square and its sum into two others."""
    source, squares, sums, row = task
    segments = [shared_memory.SharedMemory(name) for name in (source, squares, sums)]
    rows = view(segments[0], (ROWS, COLUMNS))
    view(segments[1], (ROWS, COLUMNS))[row] = rows[row] ** 2
    view(segments[2], (ROWS,))[row] = rows[row].sum()
    del rows
    for segment in segments:
        segment.close()
    return row


def through_pool(context):
    size = ROWS * COLUMNS * 8
    segments = [shared_memory.SharedMemory(create=True, size=n) for n in (size, size, ROWS * 8)]
    names = [segment.name for segment in segments]
    data = np.random.default_rng(1).integers(0, 1000, (ROWS, COLUMNS)).astype("float64")
    source, squares, sums = (view(segment, shape) for segment, shape in
                             zip(segments, ((ROWS, COLUMNS), (ROWS, COLUMNS), (ROWS,))))
    source[:] = data
    with context.Pool(WORKERS) as pool:
        rows = pool.map(work, [(*names, row) for row in range(ROWS)], chunksize=2)
        pool.close()
        pool.join()
    good = (sorted(rows) == list(range(ROWS)) and np.array_equal(squares, data ** 2)
            and np.array_equal(sums, data.sum(axis=1)))
    del source, squares, sums
    for segment in segments:
        segment.close()
        segment.unlink()
    return bool(good)


def fill(name, value):
    segment = shared_memory.SharedMemory(name)
    view(segment, (1000,))[:] = value
    segment.close()


def through_manager(context):
    with SharedMemoryManager() as manager:
        segments = [manager.SharedMemory(8000) for _ in range(3)]
        numbers = manager.ShareableList([1.5, 2.5, 4.0])
        processes = [context.Process(target=fill, args=(segment.name, value))
                     for value, segment in enumerate(segments, 1)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        total = sum(float(view(segment, (1000,)).sum()) for segment in segments)
        good = total == 6000.0 and sum(numbers) == 8.0
        for segment in segments:
            segment.close()
    return good


STRANGER = """
import sys
if sys.argv[2] == "install":
    import shmd
    shmd.install()
from multiprocessing import shared_memory
segment = shared_memory.SharedMemory(sys.argv[1])
segment.buf[0] += 1
segment.close()
"""


def beside_a_stranger(install):
    """Its resource tracker takes what it has attached for its own, and unlinks it at its end."""
    segment = shared_memory.SharedMemory(create=True, size=64)
    # Its tracker has standard error, too: with the end of that it has done its work.
    done = subprocess.run([sys.executable, "-c", STRANGER, segment.name, install], check=True,
                          stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    changed = segment.buf[0] == 1
    try:
        shared_memory.SharedMemory(segment.name).close()
        stays = True
    except FileNotFoundError:
        stays = False
    segment.close()
    if stays:
        segment.unlink()
    return changed, stays


def make_and_close(value):
    segment = shared_memory.SharedMemory(create=True, size=8000)
    view(segment, (1000,))[:] = value
    segment.close()
    return segment.name


def make_and_end(pipe):
    pipe.send(make_and_close(1))


def take(name):
    try:
        segment = shared_memory.SharedMemory(name)
    except FileNotFoundError:
        return None
    total = float(view(segment, (1000,)).sum())
    segment.close()
    segment.unlink()
    return total


def handed_over_by_pool(context):
    """The workers are terminated, and say nothing at their end."""
    with context.Pool(2) as pool:
        names = pool.map(make_and_close, range(4), chunksize=1)
    return [take(name) for name in names] == [0.0, 1000.0, 2000.0, 3000.0]


def handed_over(context):
    """A worker makes a segment, closes it and ends; who started it opens it by name afterwards."""
    pipe, theirs = context.Pipe()
    process = context.Process(target=make_and_end, args=(theirs,))
    process.start()
    name = pipe.recv()
    process.join()
    return take(name) == 1000.0


def main():
    method, install = sys.argv[1:]
    if install == "install":
        import shmd
        shmd.install()
    context = get_context(method)
    changed, stays = beside_a_stranger(install)
    print(json.dumps({"pool": through_pool(context), "manager": through_manager(context),
                      "handed": handed_over(context), "pooled": handed_over_by_pool(context),
                      "stranger": changed, "stays": stays}))


if __name__ == "__main__":
    main()
