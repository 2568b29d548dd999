# SPDX-License-Identifier: MIT
"""publish() and wait(): whole generations."""

import array
import threading

import shmd
import tap


class Publish(tap.TestCase):
    def end(self, *names):
        for name in names:
            shmd.unlink(name)

    def test_what_is_published_can_be_read(self):
        frame = shmd.SharedMemory.anonymous(10)
        self.assertEqual((frame.name, repr(frame)), (None, "SharedMemory(None, size=10)"))
        before = frame.generation
        frame.buf[:] = b"0123456789"
        frame.publish("frame")
        self.assertEqual((frame.name, bytes(frame.buf)), ("frame", b"0123456789"))
        self.assertGreater(frame.generation, before)
        reader = self.attach("frame", readonly=True)
        self.assertEqual(bytes(reader.buf), b"0123456789")
        self.assertEqual(reader.generation, frame.generation)
        self.end("frame")
        frame.close()

    def test_published_it_is_read_only_for_all(self):
        frame = shmd.SharedMemory.anonymous(10)
        frame.publish("sealed")
        self.assertTrue(frame.readonly and frame.buf.readonly)
        with self.assertRaises(TypeError):
            frame.buf[0] = 1
        self.assertRaises(PermissionError, shmd.SharedMemory, "sealed")
        self.end("sealed")
        frame.close()

    def test_refused_while_somebody_could_write(self):
        frame = shmd.SharedMemory.anonymous(10)
        view = frame.buf[2:4]
        self.assertRaises(BufferError, frame.publish, "busy")
        view[0] = 1
        view.release()
        frame.buf[1] = 1
        frame.publish("busy")
        self.assertEqual(bytes(frame.buf[:3]), b"\0\1\1")
        self.end("busy")
        frame.close()

    def test_the_old_view_is_released_and_not_a_trap(self):
        frame = shmd.SharedMemory.anonymous(10)
        old = frame.buf
        frame.publish("trap")
        with self.assertRaises(ValueError):
            old[0] = 1
        self.end("trap")
        frame.close()

    def test_writable_stays_writable(self):
        memory = shmd.SharedMemory.anonymous(10, permits=1)
        view = memory.buf[:1]
        memory.publish("ready", writable=True)
        view[0] = 7
        other = self.attach("ready")
        other.buf[1] = 8
        self.assertEqual(bytes(memory.buf[:2]), b"\7\10")
        with other.lock:
            self.assertFalse(memory.lock.acquire(False))
        view.release()
        self.end("ready")
        memory.close()

    def test_refused_by_the_daemon_it_can_be_published_elsewhere(self):
        frame = shmd.SharedMemory.anonymous(10)
        with self.assertRaises(OSError):
            frame.publish("no/name")
        self.assertIsNone(frame.name)
        self.assertEqual(frame.buf.readonly, frame.readonly)
        frame.publish("name")
        with self.assertRaises(OSError):
            frame.publish("again")
        self.assertEqual(frame.name, "name")
        self.end("name")
        frame.close()

    def test_names_cannot_be_given_to_what_has_one(self):
        memory = self.memory("named")
        with self.assertRaises(OSError):
            memory.publish("other")
        self.assertEqual((memory.name, memory.buf.readonly), ("named", memory.readonly))

    def test_anything_with_a_buffer_can_be_published(self):
        backwards = memoryview(b"abcdef")[::-2]
        for data, seen in (
            (b"bytes", b"bytes"),
            (bytearray(b"array"), b"array"),
            (array.array("I", [1, 2]), array.array("I", [1, 2]).tobytes()),
            (memoryview(b"abcd").cast("B", (2, 2)), b"abcd"),
            (backwards, b"fdb"),
        ):
            generation = shmd.publish("data", data)
            reader = self.attach("data", readonly=True)
            self.assertEqual((bytes(reader.buf), reader.generation), (seen, generation))
            self.assertIsNone(reader.semaphore)
        self.assertRaises(ValueError, shmd.publish, "data", b"")
        self.assertRaises(TypeError, shmd.publish, "data", "text")
        self.end("data")

    def test_mode_and_lifetime_are_passed_on(self):
        shmd.publish("modes", b"x", mode=0o644, lifetime="persistent")
        info = shmd.show("modes").segment
        self.assertEqual((info.mode, info.lifetime, info.sealed), (0o644, "persistent", True))
        self.end("modes")

    def test_it_ends_with_its_publisher(self):
        self.run_quietly("import shmd; shmd.publish('gone', b'x'); print(shmd.list('gone'))")
        self.eventually(lambda: shmd.list() == [])


class Wait(tap.TestCase):
    def test_what_is_there_comes_at_once(self):
        generation = shmd.publish("there", b"x")
        got = shmd.wait("there")
        self.assertEqual((got.name, got.generation, got.readonly), ("there", generation, True))
        got.close()
        shmd.unlink("there")

    def test_time_out(self):
        for timeout in (0, 0.05):
            with self.assertRaises(TimeoutError):
                shmd.wait("never", timeout=timeout)
        self.assertRaises(ValueError, shmd.wait, "never", timeout=-1)
        self.assertRaises(TypeError, shmd.wait, "never", timeout="1")
        self.assertRaises(TypeError, shmd.wait, "never", "1")
        self.assertRaises(OverflowError, shmd.wait, "never", 1 << 64)

    def test_only_the_newer_comes(self):
        first = shmd.publish("news", b"1")
        self.assertRaises(TimeoutError, shmd.wait, "news", first, 0)
        got = []
        reader = threading.Thread(target=lambda: got.append(shmd.wait("news", first, 20)))
        reader.start()
        second = shmd.publish("news", b"2")
        reader.join()
        self.assertEqual((bytes(got[0].buf), got[0].generation), (b"2", second))
        got.pop().close()
        shmd.unlink("news")

    def test_a_reader_in_another_process_sees_whole_generations(self):
        reader = self.start(
            "import shmd\n"
            "known = last = 0\n"
            "while last < 255:\n"
            "    with shmd.wait('whole', known, 20) as memory:\n"
            "        known, new = memory.generation, memory.buf[0]\n"
            "        assert new > last and bytes(memory.buf) == bytes([new]) * 5000, (last, new)\n"
            "        last = new\n"
        )
        for number in range(1, 256):
            shmd.publish("whole", bytes([number]) * 5000)
        self.assertEqual(reader.wait(20), 0)
        shmd.unlink("whole")

    def test_memory_to_write_to(self):
        memory = self.memory("write")
        got = shmd.wait("write", readonly=False)
        got.buf[0] = 5
        self.assertEqual(memory.buf[0], 5)
        got.close()


if __name__ == "__main__":
    tap.main()
