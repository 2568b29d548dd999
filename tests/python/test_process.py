# SPDX-License-Identifier: MIT
"""Processes: their ends, their children, daemons that are not there, and python -m shmd."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import shmd
import tap

CREATE = """
import sys, shmd
memory = shmd.SharedMemory("leak", create=True, size=1 << 20)
memory.buf[:5] = b"hello"
lists = shmd.ShareableList([1, 2, 3])
view = memory.buf[:3]
print(flush=True)
sys.stdin.read()
"""


def semaphores():
    return {name for name in os.listdir("/dev/shm") if name.startswith(("sem.shmd", "psm_"))}


class Ends(tap.TestCase):
    def test_twenty_that_are_killed_leave_nothing(self):
        before = semaphores()
        for _ in range(20):
            process = self.start(CREATE)
            process.stdout.readline()
            self.assertEqual(len(shmd.list()), 2)
            process.kill()
            self.eventually(lambda: shmd.list() == [])
        self.eventually(lambda: semaphores() <= before)

    def test_ends_of_other_kinds_leave_nothing_and_say_nothing(self):
        for end in ("pass", "raise SystemExit(0)", "os._exit(0)", "del memory, view, lists"):
            program = f"import os\n{CREATE}\n{end}\n"
            self.run_quietly(program, stdin=subprocess.DEVNULL)
            self.eventually(lambda: shmd.list() == [])

    def test_everything_in_use_at_the_end_is_no_trouble(self):
        self.run_quietly(
            "import shmd, threading\n"
            "memory = shmd.SharedMemory('end', create=True, size=10)\n"
            "events = shmd.events()\n"
            "memory.lock.acquire()\n"
            "for work in (memory.lock.acquire, lambda: shmd.wait('never'), lambda: list(events)):\n"
            "    threading.Thread(target=work, daemon=True).start()\n"
            "import builtins\n"
            "builtins.kept = memory, events, memory.lock, memory.buf\n"
        )

    def test_the_resource_tracker_is_not_even_started(self):
        self.run_quietly(
            "from multiprocessing import resource_tracker\n"
            "import shmd\n"
            "memory = shmd.SharedMemory(create=True, size=10)\n"
            "other = shmd.SharedMemory(memory.name)\n"
            "numbers = shmd.ShareableList([1])\n"
            "assert resource_tracker._resource_tracker._fd is None\n"
        )


class Children(tap.TestCase):
    def in_child(self, function):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if function() else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_what_they_inherit_works(self):
        memory = self.memory(size=10)
        mapped = memory.buf

        def work():
            mapped[0] = 5
            other = shmd.SharedMemory(memory.name)
            other.buf[1] = 6
            memory.close()
            return memory.buf is None

        self.in_child(work)
        self.assertEqual(bytes(memory.buf[:2]), b"\5\6")
        self.assertEqual(shmd.SharedMemory(memory.name).size, 10)

    def test_they_close_what_threads_of_their_parent_use(self):
        memory = self.memory(size=10)
        memory.lock.acquire()
        waiting = threading.Thread(target=memory.lock.acquire)
        waiting.start()
        # It is inside when it has slept for a while.
        time.sleep(0.2)

        def work():
            memory.close()
            return memory.buf is None

        try:
            self.in_child(work)
        finally:
            memory.lock.release()
            waiting.join()

    def test_they_close_events_and_leave_their_parents_alone(self):
        events = shmd.events("none*")
        reading = threading.Thread(target=list, args=(events,))
        reading.start()
        self.eventually(lambda: self.is_read(events))

        def work():
            events.close()
            return events._subscription.closed

        try:
            self.in_child(work)
            # Woken by the child, the reader would not sleep again.
            before = time.process_time()
            time.sleep(0.5)
            self.assertLess(time.process_time() - before, 0.25)
        finally:
            events.close()
            reading.join()

    def is_read(self, events):
        try:
            events.next(0)
        except RuntimeError:
            return True
        return False

    def test_what_they_make_goes_with_them(self):
        def work():
            work.memory = shmd.SharedMemory("childs", create=True, size=10)
            return len(shmd.list("childs")) == 1

        self.in_child(work)
        self.eventually(lambda: shmd.list("childs") == [])

    def test_they_have_a_connection_of_their_own(self):
        shmd.status()
        parent = os.getpid()

        def work():
            shmd.status()
            return {os.getpid(), parent} <= {client.pid for client in shmd.clients()}

        self.in_child(work)

    def test_they_keep_what_their_parent_lets_go_of(self):
        memory = shmd.SharedMemory("kept", create=True, size=10)
        ready, wake = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(wake)
            os.read(ready, 1)
            os._exit(0)
        memory.close()
        self.assertEqual(len(shmd.list("kept")), 1)
        os.close(wake)
        os.waitpid(child, 0)
        os.close(ready)
        self.eventually(lambda: shmd.list("kept") == [])


class Daemons(tap.TestCase):
    def with_socket(self, path, program):
        return self.run_quietly(program, env={**os.environ, "SHMD_SOCKET": path})

    def test_a_missing_one_is_named(self):
        self.with_socket(
            "/nowhere/s",
            "import shmd\n"
            "for call in (shmd.status, shmd.events, lambda: shmd.SharedMemory('x'), shmd.connect):\n"
            "    try:\n"
            "        call()\n"
            "    except FileNotFoundError as error:\n"
            "        assert '/nowhere/s' in error.strerror, error\n"
            "    else:\n"
            "        raise SystemExit(call)\n",
        )

    def test_a_dead_one_refuses(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")
            dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            dead.bind(path)
            dead.close()
            self.assertRaises(ConnectionRefusedError, shmd.connect, path)
        self.assertEqual(shmd.list(), [])

    def test_another_can_be_chosen(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")
            daemon = subprocess.Popen(
                [os.environ["SHMD"], "-c", "/dev/null", "-s", path], stderr=subprocess.DEVNULL
            )
            self.eventually(lambda: os.path.exists(path))
            here = self.memory("here")
            shmd.connect(path)
            try:
                self.assertEqual(shmd.status().pid, daemon.pid)
                self.assertRaises(FileNotFoundError, shmd.SharedMemory, "here")
                with here.lock:
                    here.buf[0] = 1
                there = shmd.SharedMemory("there", create=True, size=1)
                shmd.connect()
                self.assertEqual([info.name for info in shmd.list()], ["here"])
                with there.lock:
                    there.buf[0] = 1
                there.close()
            finally:
                daemon.terminate()
                daemon.wait()
                shmd.connect()

    def test_its_path_counts_from_where_it_was_chosen(self):
        folder, path = os.path.split(os.environ["SHMD_SOCKET"])
        here = os.getcwd()
        try:
            os.chdir(folder)
            shmd.connect(path)
            os.chdir("/")
            shmd.events().close()
            child = multiprocessing.get_context("spawn").Process(target=shmd.status)
            child.start()
            child.join()
            self.assertEqual(child.exitcode, 0)
        finally:
            os.chdir(here)
            shmd.connect()

    def test_one_that_ends_is_told_of_and_the_next_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")

            def start():
                daemon = subprocess.Popen(
                    [os.environ["SHMD"], "-c", "/dev/null", "-s", path], stderr=subprocess.DEVNULL
                )
                self.eventually(lambda: os.path.exists(path))
                return daemon

            daemon = start()
            try:
                shmd.connect(path)
                memory = shmd.SharedMemory("old", create=True, size=1)
                daemon.terminate()
                daemon.wait()
                self.assertRaises(OSError, shmd.status)
                memory.buf[0] = 1
                daemon = start()
                self.assertEqual(shmd.status().pid, daemon.pid)
                memory.close()
            finally:
                daemon.terminate()
                daemon.wait()
                shmd.connect()


class CommandLine(tap.TestCase):
    def run_it(self, *arguments, **options):
        return subprocess.run(
            [sys.executable, "-m", "shmd", *arguments], text=True, capture_output=True, **options
        )

    def test_it_shows_the_status(self):
        self.memory("shown", 1234)
        done = self.run_it()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(f"{shmd.status().pid}", done.stdout)
        self.assertRegex(done.stdout, r"shown +1234 +1 +clients")

    def test_it_speaks_json(self):
        self.memory("shown", 1234)
        told = json.loads(self.run_it("--json").stdout)
        self.assertEqual(told["pid"], shmd.status().pid)
        self.assertEqual([s["name"] for s in told["segment_list"]], ["shown"])
        self.assertTrue(all(limit.keys() == {"value", "use"} for limit in told["limits"].values()))

    def test_nobody_need_read_it_all(self):
        there, here = os.pipe()
        os.close(there)
        command = [sys.executable, "-m", "shmd"]
        done = subprocess.run(command, text=True, stdout=here, stderr=subprocess.PIPE)
        os.close(here)
        self.assertEqual(done.stderr, "")

    def test_without_a_daemon_it_says_so(self):
        done = self.run_it("-s", "/nowhere/s")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^shmd: .*/nowhere/s.*\n$")


if __name__ == "__main__":
    tap.main()
