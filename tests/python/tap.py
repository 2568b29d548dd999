# SPDX-License-Identifier: MIT
"""What the tests of the module are made of: unittest that speaks TAP, and other processes."""

import faulthandler
import os
import subprocess
import sys
import time
import unittest

import shmd


class Result(unittest.TestResult):
    def __init__(self, *args):
        super().__init__(*args)
        self.number = 0

    def _report(self, test, ok, comment=""):
        self.number += 1
        _, _, name = test.id().rpartition("__main__.")
        print(f"{ok} {self.number} - {name}{comment}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._report(test, "ok")

    def _fail(self, test, error):
        self._report(test, "not ok")
        for line in self._exc_info_to_string(error, test).splitlines():
            print(f"# {line}", flush=True)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._fail(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self._fail(test, error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            super().addSubTest(test, subtest, error)
            self._fail(test, error)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._report(test, "ok", f" # SKIP {reason}")


class TestCase(unittest.TestCase):
    """Each test leaves the daemon without segments, or has failed."""

    def setUp(self):
        self.addCleanup(self._check_nothing_is_left)

    def _check_nothing_is_left(self):
        try:
            self.eventually(lambda: shmd.list() == [], f"what is left: {shmd.list()}")
        finally:
            for info in shmd.list("*"):
                shmd.unlink(info.name)

    def eventually(self, condition, message=None):
        """What other processes bring about: asks until it is so."""
        deadline = time.monotonic() + 20
        while not condition():
            if time.monotonic() > deadline:
                self.fail(message or "it did not come about")
            time.sleep(0.001)

    def memory(self, name=None, size=4096, **options):
        """New memory that the end of the test closes."""
        memory = shmd.SharedMemory(name, create=True, size=size, **options)
        self.addCleanup(memory.close)
        return memory

    def attach(self, name, **options):
        memory = shmd.SharedMemory(name, **options)
        self.addCleanup(memory.close)
        return memory

    def start(self, program, *args, **options):
        """Another Python, which runs that program; its output is text."""
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
        command = [sys.executable, "-c", program, *map(str, args)]
        process = subprocess.Popen(command, text=True, **options)
        self.addCleanup(self._end, process)
        return process

    def _end(self, process):
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()

    def run_quietly(self, program, *args, **options):
        """Runs it to its end, which is to be a success without a word of complaint. Its output."""
        command = [sys.executable, "-c", program, *map(str, args)]
        done = subprocess.run(command, text=True, capture_output=True, timeout=60, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout


def main():
    # What hangs is to say where.
    faulthandler.dump_traceback_later(600, exit=True)
    sys.stdout.reconfigure(line_buffering=True)
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    print(f"1..{suite.countTestCases()}")
    result = Result()
    suite.run(result)
    # What runs at exit has nothing to say to TAP.
    os._exit(0 if result.wasSuccessful() else 1)
