# SPDX-License-Identifier: MIT
"""usage: watch.py

asyncio: a task that is told of every segment that is made and reaped, beside another one that makes them in a
process which then dies. The exit status is 0 if all was told.
"""

import asyncio
import signal
import sys

import shmd

VICTIM = """
import os, signal, shmd
memory = shmd.SharedMemory("victim", create=True, size=1000)
memory.lock.acquire()
os.kill(os.getpid(), signal.SIGKILL)
"""


async def listen(events, told):
    async for event in events:
        print(f"{event.kind}: {event.name}, {event.size} bytes")
        told.append(event.kind)
        if event.kind == "reaped":
            return


async def main():
    told = []
    with shmd.events("victim") as events:
        listener = asyncio.create_task(listen(events, told))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM)
        status = await process.wait()
        await asyncio.wait_for(listener, timeout=10)
    return 0 if status == -signal.SIGKILL and "created" in told and "reaped" in told else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
