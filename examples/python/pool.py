# SPDX-License-Identifier: MIT
"""usage: pool.py [WORKERS [ROUNDS]]

An array of numpy's that ten workers have in common, without a copy: each adds to rows of it that others add
to, too, under the lock that came with the memory. One of them is killed with the lock in its hands; whoever
has it next is told, and puts the row right. The exit status is 0 if the sums are.

Needs numpy.
"""

import os
import signal
import sys
from multiprocessing import Process

import numpy as np

import shmd

ROWS, COLUMNS = 8, 100_000


def array(memory):
    return np.ndarray((ROWS, COLUMNS), dtype="int64", buffer=memory.buf)


def whole(row):
    """A row is whole when all its numbers are equal: the change that was not finished is finished."""
    row[:] = row.max()


def work(name, rounds, dies):
    memory = shmd.SharedMemory(name)
    rows = array(memory)
    for turn in range(rounds):
        row = rows[turn % ROWS]
        with memory.lock as lock:
            if lock.owner_died:
                for one in rows:
                    whole(one)
            if dies and turn == rounds - 1:
                row[: COLUMNS // 2] += 1
                os.kill(os.getpid(), signal.SIGKILL)
            row += 1


def main(workers, rounds):
    with shmd.SharedMemory(create=True, size=ROWS * COLUMNS * 8) as memory:
        processes = [Process(target=work, args=(memory.name, rounds, n == 0)) for n in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        rows = array(memory)
        with memory.lock as lock:
            # The one that was killed may have been the last one to come, and nobody after it.
            if lock.owner_died:
                for row in rows:
                    whole(row)
        good = bool((rows == rows[:, :1]).all()) and int(rows[:, 0].sum()) == workers * rounds
        killed = sum(process.exitcode == -signal.SIGKILL for process in processes)
        print(f"{workers} workers, {killed} of them killed: {'the sums are right' if good else 'WRONG SUMS'}")
        del rows
    return 0 if good and killed == 1 else 1


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in [*sys.argv[1:], *("10", "80")[len(sys.argv) - 1:]])))
