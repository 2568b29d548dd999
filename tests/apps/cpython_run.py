# SPDX-License-Identifier: MIT
"""Runs CPython's own tests of multiprocessing, and writes what became of each as a line of JSON.

usage: cpython_run.py RESULTS START_METHOD install|plain PATTERN,... [SLOW_FILE]

A pattern is of "Class" or "Class.test".

In a file of its own, as the children that are spawned import it, too: what is installed, they have from
shmd.install() in their parent, and not from here. A test that takes too long ends the run.
"""

import faulthandler
import fnmatch
import importlib
import json
import os
import signal
import sys
import time
import unittest

TEST_SECONDS = int(os.environ.get("SHMD_APPS_TEST_SECONDS", "120"))


class Result(unittest.TestResult):
    def __init__(self, file):
        super().__init__()
        self.file = file
        self.began = 0

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.outcome, self.detail = "ok", ""
        faulthandler.dump_traceback_later(TEST_SECONDS, exit=True)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        self.write(test.id(), self.outcome, time.monotonic() - self.began, self.detail)
        super().stopTest(test)

    def write(self, name, outcome, seconds, detail):
        name = ".".join(name.split(".")[-2:])
        json.dump({"test": name, "outcome": outcome, "seconds": round(seconds, 3), "detail": detail},
                  self.file)
        self.file.write("\n")
        self.file.flush()

    def note(self, test, outcome, detail):
        if isinstance(test, unittest.suite._ErrorHolder):  # setUpModule and its like
            self.write(str(test), outcome, 0, detail)
        else:
            self.outcome, self.detail = outcome, detail

    def addError(self, test, err):
        self.note(test, "error", self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        self.note(test, "failure", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "failure", self._exc_info_to_string(err, subtest))


def select(suite, patterns, slow):
    """The tests that match, by their class or whole, but for those that are listed as slow."""
    chosen = []
    for group in suite:
        for test in group:
            name = ".".join(test.id().split(".")[-2:])
            if name not in slow and any(
                    fnmatch.fnmatchcase(name if "." in p else name.split(".")[0], p) for p in patterns):
                chosen.append(test)
    return unittest.TestSuite(chosen)


def main(results, method, install, pattern, slow_file=None):
    # Ignored where a shell started us in the background, and tests are about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if install == "install":
        import shmd
        shmd.install()
    slow = set()
    if slow_file:
        with open(slow_file, encoding="utf-8") as file:
            slow = {line.strip() for line in file if line.strip() and not line.startswith("#")}
    module = importlib.import_module(f"test.test_multiprocessing_{method}")
    suite = select(unittest.defaultTestLoader.loadTestsFromModule(module), pattern.split(","), slow)
    with open(results, "w", encoding="utf-8") as file:
        suite.run(Result(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
