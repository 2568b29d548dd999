# SPDX-License-Identifier: MIT
"""SharedMemory and ShareableList, beside what the standard library's do."""

import gc
import os
import pickle
import threading
import unittest
import unittest.mock
from multiprocessing import shared_memory

import shmd
import tap


class Memory(tap.TestCase):
    def test_bytes_are_shared(self):
        first = self.memory("shared", 100)
        second = self.attach("shared")
        first.buf[:5] = b"hello"
        self.assertEqual(bytes(second.buf[:5]), b"hello")
        second.buf[99] = 7
        self.assertEqual(first.buf[99], 7)

    def test_size_is_exact_everywhere(self):
        memory = self.memory("exact", 4097)
        for one in (memory, self.attach("exact"), self.attach("exact", size=9)):
            self.assertEqual((one.size, len(one.buf), one.buf.nbytes), (4097,) * 3)

    def test_buffer_has_the_form_of_the_standard_librarys(self):
        theirs = shared_memory.SharedMemory(create=True, size=10)
        self.addCleanup(theirs.unlink)
        self.addCleanup(theirs.close)
        ours = self.memory(size=theirs.size)
        for name in ("format", "itemsize", "ndim", "shape", "strides", "readonly", "contiguous"):
            self.assertEqual(getattr(ours.buf, name), getattr(theirs.buf, name), name)

    def test_everything_public_is_there(self):
        missing = set(dir(shared_memory.SharedMemory)) - set(dir(shmd.SharedMemory))
        self.assertEqual([name for name in missing if not name.startswith("_")], [])

    def test_name_and_repr(self):
        memory = self.memory("named", 10)
        self.assertEqual(memory.name, "named")
        self.assertEqual(repr(memory), "SharedMemory('named', size=10)")

    def test_name_is_made_up_as_the_standard_library_does(self):
        taken = self.memory("psm_taken")
        names = ["/psm_taken", "/psm_free"]
        with unittest.mock.patch.object(shared_memory, "_make_filename", side_effect=names):
            memory = self.memory()
        self.assertEqual((memory._name, memory.name), ("/psm_free", "psm_free"))
        self.assertNotEqual(taken.generation, memory.generation)

    def test_wrong_arguments_are_refused_as_there(self):
        wrong = [
            {"create": True, "size": -1},
            {"create": True, "size": 0},
            {"create": True},
            {"size": -1, "name": "x"},
            {},
            {"size": "1", "create": True},
            {"name": 1},
        ]
        for arguments in wrong:
            with self.subTest(arguments):
                raised = []
                for cls in (shared_memory.SharedMemory, shmd.SharedMemory):
                    with self.assertRaises(Exception) as caught:
                        cls(**arguments)
                    raised.append(caught.exception)
                theirs, ours = raised
                self.assertIs(type(ours), type(theirs))
                if isinstance(theirs, ValueError):
                    self.assertEqual(str(ours), str(theirs))
        self.assertRaises(ValueError, shmd.SharedMemory, "nu\0l")
        for call in (shmd.unlink, shmd.show, shmd.list, shmd.events):
            self.assertRaises(ValueError, call, "nu\0l")
        self.assertRaises(OverflowError, shmd.SharedMemory, "x", True, 1 << 70)

    def test_wrong_options_are_refused(self):
        wrong = [
            {"lifetime": "eternal"},
            {"linger": -1},
            {"linger": -0.0001},
            {"mode": -1},
            {"mode": 1 << 32 | 0o600},
            {"linger": float("nan")},
            {"permits": -1},
            {"readonly": True},
        ]
        for options in wrong:
            with self.subTest(options), self.assertRaises(ValueError):
                shmd.SharedMemory("x", create=True, size=1, **options)
        with self.assertRaises(OSError):
            shmd.SharedMemory("x", create=True, size=1, lifetime="persistent", linger=1)

    def test_errors_are_the_standard_librarys_with_the_daemons_sentence(self):
        with self.assertRaises(FileNotFoundError) as caught:
            shmd.SharedMemory("missing")
        self.assertIn("missing", caught.exception.strerror)
        self.memory("there")
        with self.assertRaises(FileExistsError) as caught:
            shmd.SharedMemory("there", create=True, size=1)
        self.assertIn("there", caught.exception.strerror)
        with self.assertRaises(OSError):
            shmd.SharedMemory("a/b", create=True, size=1)
        with self.assertRaises(OSError):
            shmd.SharedMemory("x" * 201, create=True, size=1)

    def test_closed_twice_is_no_error(self):
        memory = self.memory("twice", 10)
        memory.close()
        memory.close()
        self.assertIsNone(memory.buf)
        self.assertEqual((memory.name, memory.size), ("twice", 10))
        for use in (memory.fileno, memory.lock.acquire, memory.lock.release):
            self.assertRaises(ValueError, use)

    def test_close_is_refused_while_a_buffer_is_used(self):
        memory = self.memory()
        for make in (lambda buf: buf[1:3], memoryview, lambda buf: buf.cast("I")):
            view = make(memory.buf)
            self.assertRaises(BufferError, memory.close)
            view[0] = 1
            view.release()
        memory.close()
        self.assertEqual(shmd.list(), [])

    def test_dropped_while_a_buffer_is_used_it_stays_mapped(self):
        memory = shmd.SharedMemory(create=True, size=100)
        view = memory.buf[10:20]
        lock = memory.lock
        with unittest.mock.patch("sys.unraisablehook") as hook:
            del memory
            gc.collect()
        hook.assert_not_called()
        with lock:
            pass
        del lock
        view[0] = 3
        self.assertEqual((view[0], len(shmd.list())), (3, 1))
        del view
        self.assertEqual(shmd.list(), [])

    def test_it_ends_with_its_last_user(self):
        memory = shmd.SharedMemory("short", create=True, size=10)
        other = shmd.SharedMemory("short")
        memory.close()
        self.assertEqual(shmd.SharedMemory("short").size, 10)
        del other
        self.assertRaises(FileNotFoundError, shmd.SharedMemory, "short")

    def test_linger_keeps_it_for_others(self):
        shmd.SharedMemory("handed", create=True, size=10, linger=30).close()
        memory = self.attach("handed")
        self.assertEqual(shmd.show("handed").segment.linger, 30)
        memory.unlink()

    def test_persistent_stays(self):
        shmd.SharedMemory("stays", create=True, size=10, lifetime="persistent").close()
        shmd.SharedMemory("too", create=True, size=10, track=False).close()
        self.assertEqual([info.lifetime for info in shmd.list()], ["persistent"] * 2)
        shmd.unlink("stays")
        shmd.unlink("too")
        self.assertRaises(FileNotFoundError, shmd.unlink, "too")

    def test_owner_takes_it_along(self):
        owner = self.start(
            "import shmd, sys\n"
            "memory = shmd.SharedMemory('owned', create=True, size=10, lifetime='owner')\n"
            "print(flush=True)\n"
            "sys.stdin.read()"
        )
        owner.stdout.readline()
        memory = self.attach("owned")
        owner.kill()
        self.eventually(lambda: shmd.list("owned") == [])
        memory.buf[0] = 1
        memory.close()

    def test_unlink_twice_is_an_error(self):
        memory = self.memory("unlinked")
        other = self.attach("unlinked")
        other.unlink()
        self.assertRaises(FileNotFoundError, shmd.SharedMemory, "unlinked")
        self.assertRaises(FileNotFoundError, memory.unlink)
        memory.close()
        self.assertRaises(FileNotFoundError, memory.unlink)
        other.buf[0] = 1

    def test_unlink_after_close_is_none_once(self):
        memory = self.memory("closed")
        memory.close()
        memory.unlink()
        self.assertRaises(FileNotFoundError, memory.unlink)

    def test_pickled_it_is_attached(self):
        memory = self.memory("pickled", 10)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            other = pickle.loads(pickle.dumps(memory, protocol))
            self.assertIs(type(other), shmd.SharedMemory)
            other.buf[0] = protocol + 1
            self.assertEqual(memory.buf[0], protocol + 1)
            other.close()
        reader = pickle.loads(pickle.dumps(self.attach("pickled", readonly=True)))
        self.assertTrue(reader.readonly)
        reader.close()
        self.assertRaises(TypeError, pickle.dumps, shmd.SharedMemory.anonymous(10))

    def test_subclasses_flags_and_mode_are_heeded(self):
        class Optional(shmd.SharedMemory):
            _flags = os.O_CREAT | os.O_RDWR
            _mode = 0o640

        first = Optional("optional", size=100)
        second = Optional("optional")
        self.assertEqual((second.size, second.generation), (100, first.generation))
        self.assertEqual(shmd.show("optional").segment.mode, 0o640)
        self.assertEqual(repr(second), "Optional('optional', size=100)")
        self.assertRaises(OSError, Optional, "optional", size=101)
        self.assertRaises(FileNotFoundError, Optional, "elsewhere")
        first.close()
        second.close()

    def test_readonly_is_readonly(self):
        memory = self.memory("read", mode=0o600)
        reader = self.attach("read", readonly=True)
        self.assertTrue(reader.buf.readonly and reader.readonly and not memory.readonly)
        with self.assertRaises(TypeError):
            reader.buf[0] = 1
        memory.buf[0] = 9
        self.assertEqual(reader.buf[0], 9)
        self.assertRaises(PermissionError, reader.lock.acquire)

    def test_descriptor_is_for_file_locks(self):
        import fcntl

        memory = self.memory("flocked")
        other = self.attach("flocked")
        fcntl.flock(memory, fcntl.LOCK_EX)
        with self.assertRaises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_block_closes_it(self):
        with shmd.SharedMemory("block", create=True, size=10) as memory:
            self.assertEqual(len(memory.buf), 10)
        self.assertIsNone(memory.buf)

    def test_threads_share_the_connection(self):
        failures = []

        def work(number):
            try:
                for turn in range(50):
                    name = f"thread-{number}-{turn}"
                    with shmd.SharedMemory(name, create=True, size=10) as memory:
                        memory.buf[0] = number
                        with shmd.SharedMemory(name) as other:
                            assert other.buf[0] == number
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(len([c for c in shmd.clients() if c.pid == os.getpid()]), 1)

    def test_types_cannot_be_made_otherwise(self):
        memory = self.memory()
        for cls in (type(memory._segment), shmd.Lock):
            self.assertRaises(TypeError, cls)
            self.assertRaises(TypeError, object.__new__, cls)


class List(tap.TestCase):
    def make(self, *args, **kwargs):
        made = shmd.ShareableList(*args, **kwargs)
        self.addCleanup(made.shm.close)
        return made

    def test_it_is_the_standard_librarys_on_our_memory(self):
        values = ["howdy", b"HoWdY", -273.154, 100, None, True, 42]
        made = self.make(values, name="list")
        self.assertIsInstance(made, shared_memory.ShareableList)
        self.assertIs(type(made.shm), shmd.SharedMemory)
        self.assertEqual(list(self.make(name="list")), values)
        made[0] = "hello"
        self.assertEqual((made.count(True), made.index(100), len(made)), (1, 3, 7))

    def test_the_standard_librarys_own_is_left_alone(self):
        theirs = shared_memory.ShareableList([1])
        self.assertIsInstance(theirs.shm, shared_memory.SharedMemory)
        theirs.shm.close()
        theirs.shm.unlink()

    def test_pickled_it_is_attached(self):
        made = self.make([1, 2, 3])
        other = pickle.loads(pickle.dumps(made))
        self.assertIs(type(other), shmd.ShareableList)
        other[1] = 9
        self.assertEqual(made[1], 9)
        other.shm.close()


if __name__ == "__main__":
    tap.main()
