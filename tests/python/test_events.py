# SPDX-License-Identifier: MIT
"""events(), list(), show(), clients(), status()."""

import asyncio
import os
import pickle
import select
import threading
import time

import shmd
import tap

KINDS = ["created", "detached", "reaped"]

class Events(tap.TestCase):
    def setUp(self):
        super().setUp()
        self.events = shmd.events("seen*")
        self.addCleanup(self.events.close)

    def cause(self):
        shmd.SharedMemory("unseen", create=True, size=1).close()
        memory = shmd.SharedMemory("seen", create=True, size=10)
        memory.close()
        return memory.generation

    def test_they_come_in_order_with_what_happened(self):
        start = time.time()
        generation = self.cause()
        came = [next(self.events) for _ in range(3)]
        self.assertEqual([event.kind for event in came], KINDS)
        for event in came:
            self.assertEqual((event.id, event.size, event.count), (generation, 10, 0))
            self.assertEqual(event.uid, os.getuid())
            self.assertIs(event.read_only, False)
            self.assertIsNone(event.text)
            self.assertAlmostEqual(event.time, event.time_ns / 1e9)
            self.assertTrue(start - 1 < event.time < time.time() + 1)
        self.assertEqual([event.name for event in came], ["seen"] * 3)
        self.assertEqual([event.pid for event in came], [os.getpid()] * 2 + [None])
        self.assertEqual(pickle.loads(pickle.dumps(came[0])), came[0])

    def test_next_answers_none_at_its_time_out(self):
        self.assertIsNone(self.events.next(0))
        self.assertIsNone(self.events.next(0.01))
        self.cause()
        self.assertEqual(self.events.next(20).kind, "created")
        self.assertRaises(ValueError, self.events.next, -1)

    def test_read_takes_what_has_come(self):
        self.assertEqual(self.events.read(), [])
        self.cause()
        came = []
        while len(came) < 3:
            self.assertTrue(select.select([self.events], [], [], 20)[0])
            came += self.events.read()
        self.assertEqual(len(came), 3)

    def test_refusals_are_told_to_who_hears_everything(self):
        with shmd.events() as everything:
            self.assertRaises(FileNotFoundError, shmd.SharedMemory, "missing")
            event = next(e for e in everything if e.kind == "refused")
        self.assertIn("missing", event.text)

    def test_recovered_tells_how_many(self):
        memory = self.memory("seen")
        self.start(
            "import os, shmd, signal\n"
            "shmd.SharedMemory('seen').lock.acquire()\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        ).wait()
        event = next(e for e in self.events if e.kind == "recovered")
        self.assertEqual((event.name, event.count), ("seen", 1))
        with memory.lock as lock:
            self.assertTrue(lock.owner_died)

    def test_closed_there_are_none(self):
        self.events.close()
        self.events.close()
        self.assertRaises(ValueError, self.events.fileno)
        self.assertRaises(ValueError, self.events.next, 0)
        self.assertEqual(list(self.events), [])

    def test_another_thread_may_close_but_not_read(self):
        ended = []
        reader = threading.Thread(target=lambda: ended.append(list(self.events)))
        reader.start()
        while True:
            try:
                if self.events.next(0) is None:
                    time.sleep(0.001)
            except RuntimeError:
                break
        self.events.close()
        reader.join(20)
        self.assertEqual(ended, [[]])

    def test_other_threads_run_while_one_waits(self):
        came = []
        reader = threading.Thread(target=lambda: came.append(next(self.events)))
        reader.start()
        self.cause()
        reader.join(20)
        self.assertEqual(came[0].kind, "created")

    def test_asyncio(self):
        async def read():
            came = []
            async for event in self.events:
                came.append(event.kind)
                if len(came) == 3:
                    return came

        async def main():
            reader = asyncio.ensure_future(read())
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, self.cause)
            return await asyncio.wait_for(reader, 20)

        self.assertEqual(asyncio.run(main()), KINDS)

    def test_asyncio_has_one_reader(self):
        async def main():
            first = asyncio.ensure_future(self.events.__anext__())
            await asyncio.sleep(0)
            with self.assertRaises(RuntimeError):
                await asyncio.wait_for(self.events.__anext__(), 20)
            self.cause()
            return await asyncio.wait_for(first, 20)

        self.assertEqual(asyncio.run(main()).kind, "created")

    def test_asyncio_can_be_cancelled_and_go_on(self):
        async def main():
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(self.events.__anext__(), 0.05)
            self.cause()
            return await asyncio.wait_for(self.events.__anext__(), 20)

        self.assertEqual(asyncio.run(main()).kind, "created")


class Queries(tap.TestCase):
    def test_list_tells_of_segments(self):
        memory = self.memory("listed", 5000, linger=1.5, permits=2, mode=0o640)
        memory.buf[0] = 1
        self.assertIsNone(shmd.list("list*")[0].semaphore)  # nobody has wanted it
        self.assertRegex(memory.semaphore, "^shmd-")
        (info,) = shmd.list("list*")
        self.assertEqual((info.name, info.size, info.id), ("listed", 5000, memory.generation))
        self.assertEqual((info.mode, info.lifetime, info.linger), (0o640, "clients", 1.5))
        self.assertEqual((info.permits, info.clients, info.semaphore), (2, 1, memory.semaphore))
        self.assertEqual((info.uid, info.gid), (os.getuid(), os.getgid()))
        self.assertEqual((info.sealed, info.dropped, info.lingering), (False, False, False))
        self.assertGreaterEqual(info.allocated, 4096)
        self.assertTrue(0 <= info.age < 60)
        self.assertEqual(shmd.list("other*"), [])
        memory.unlink()
        (info,) = shmd.list()
        self.assertEqual((info.name, info.dropped), (None, True))

    def test_show_tells_who_has_it(self):
        memory = self.memory("shown")
        with memory.lock:
            details = shmd.show("shown")
        self.assertEqual(details.segment.name, "shown")
        self.assertEqual(details.permits_available, 0)
        self.assertEqual([a.pid for a in details.attachments], [os.getpid()])
        self.assertEqual([(h.pid, h.permits) for h in details.holders], [(os.getpid(), 1)])
        self.assertRaises(FileNotFoundError, shmd.show, "missing")

    def test_clients_and_status(self):
        memory = self.memory(size=777)
        (me,) = [client for client in shmd.clients() if client.pid == os.getpid()]
        self.assertEqual((me.segments, me.bytes, me.uid), (1, memory.size, os.getuid()))
        status = shmd.status()
        self.assertEqual((status.segments, status.bytes), (1, 777))
        self.assertGreater(status.pid, 0)
        self.assertTrue(0 <= status.uptime < 3600)
        self.assertTrue(status.counters and all(type(n) is int for n in status.counters.values()))
        self.assertTrue(any(limit.use <= limit.value for limit in status.limits.values()))

    def test_types_of_arguments(self):
        for call in (shmd.list, shmd.show, shmd.unlink, shmd.events):
            self.assertRaisesRegex(TypeError, "expected str, not int", call, 1)


if __name__ == "__main__":
    tap.main()
