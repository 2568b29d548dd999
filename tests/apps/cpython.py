#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of multiprocessing, on the bare system, under the shim, and after shmd.install().

usage: cpython.py BUILD_FOLDER [--full] [--modes=MODE,...] [--methods=METHOD,...] [--jobs=N] [--keep=FOLDER]

Each test is compared with what it does on the bare system. Differences that are meant stand in
cpython.differences, with why; any other fails, if it is there again when the test is run alone. Without
--full, only those that use shared memory, semaphores, locks, queues, pools and managers of processes, and
of these the ones that do not wait for long (cpython.slow). Needs CPython's tests, which Debian has
in libpython3.11-testsuite.
"""

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from rig import HERE, MODES, PYTHON, Rig

CLASSES = (
    "WithProcessesTestSharedMemory", "WithProcessesTestSharedCTypes", "WithProcessesTestHeap",
    "WithProcessesTestLock", "WithProcessesTestSemaphore", "WithProcessesTestCondition",
    "WithProcessesTestEvent", "WithProcessesTestBarrier", "WithProcessesTestQueue",
    "WithProcessesTestValue", "WithProcessesTestArray", "WithProcessesTestPool*",
    "WithManagerTestLock", "WithManagerTestSemaphore", "WithManagerTestCondition",
    "WithManagerTestEvent", "WithManagerTestBarrier", "WithManagerTestQueue",
    "WithManagerTestContainers", "WithManagerTestPool*", "WithManagerTestMyManager",
    "WithManagerTestRemoteManager", "WithManagerTestManagerRestart", "TestSyncManagerTypes",
    "TestSimpleQueue", "TestPoolNotLeakOnFailure", "TestInitializers", "TestResourceTracker",
    "TestNamedResource", "SemLockTests",
)


def read_results(path):
    """Outcome and seconds by test; a test that did not come to its end is not there."""
    results = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                result = json.loads(line)
                results[result["test"]] = result
    return results


def read_differences():
    """Rows of mode, start method, test and outcome, as patterns; what stands behind them is why."""
    rows = []
    with open(os.path.join(HERE, "cpython.differences"), encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                rows.append(line.split(None, 4))
    return rows


def is_meant(differences, mode, method, test, outcome):
    for row in differences:
        if all(fnmatch.fnmatchcase(*pair)
               for pair in zip((mode, method, test, outcome), row[:4])):
            return row[4].strip()
    return None


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--methods", default="fork,spawn,forkserver")
    parser.add_argument("--jobs", type=int, default=1, help="methods at once")
    parser.add_argument("--classes", help="patterns of classes, separated by commas")
    parser.add_argument("--keep", help="where results and logs are left")
    return parser.parse_args()


class Comparison:
    def __init__(self, options):
        self.options = options
        self.rig = Rig(options.build)
        self.differences = read_differences()
        self.folder = options.keep or tempfile.mkdtemp(prefix="shmd-apps-")
        os.makedirs(self.folder, exist_ok=True)
        self.bare = {}
        self.totals = []

    def start(self, mode, method, patterns, suffix=""):
        """Runs tests. Returns the results by test and the outcome, None where it did not end."""
        results = os.path.join(self.folder, f"{mode}-{method}{suffix}.json")
        command = [PYTHON, os.path.join(HERE, "cpython_run.py"), results, method,
                   "install" if mode == "module" else "plain", patterns]
        if not self.options.full:
            command.append(os.path.join(HERE, "cpython.slow"))
        start = time.monotonic()
        try:
            outcome = self.rig.run(mode, command, timeout=1200)
        except subprocess.TimeoutExpired:
            return read_results(results), None, time.monotonic() - start
        with open(os.path.join(self.folder, f"{mode}-{method}{suffix}.log"), "w",
                  encoding="utf-8") as file:
            file.write(outcome.out + outcome.err)
        return read_results(results), outcome, time.monotonic() - start

    def check(self, mode, method, found, outcome, seconds):
        name = f"{mode}, {method}"
        if outcome is None:
            self.rig.ok(False, f"{name}: it runs to its end", f"not in time, after {len(found)} tests")
            return
        self.rig.ok(outcome.status == 0 and found, f"{name}: it runs to its end",
                    f"status {outcome.status}, after {len(found)} tests", outcome.err[-4000:])
        if mode != "bare":
            self.rig.ok(outcome.created() > 0, f"{name}: the daemon was used")
            self.rig.ok(not outcome.daemon_left(), f"{name}: nothing is left in the daemon",
                        outcome.daemon_left())
        self.rig.ok(not outcome.left, f"{name}: nothing is left in /dev/shm", outcome.left)
        counts = {}
        for result in found.values():
            counts[result["outcome"]] = counts.get(result["outcome"], 0) + 1
        self.totals.append((mode, method, seconds, counts, outcome))

    def run_mode(self, mode, methods):
        """The results of all tests by method."""
        patterns = self.options.classes or ("*" if self.options.full else ",".join(CLASSES))
        with ThreadPoolExecutor(self.options.jobs) as pool:
            runs = [pool.submit(self.start, mode, method, patterns) for method in methods]
            everything = {}
            for method, run in zip(methods, runs):
                everything[method], outcome, seconds = run.result()
                self.check(mode, method, everything[method], outcome, seconds)
        return everything

    def differing(self, mode, method, found):
        """Tests that do otherwise than on the bare system, with what they do; those that were not run, too."""
        for test, expected in self.bare.get(method, {}).items():
            result = found.get(test, {"outcome": "missing", "detail": ""})
            if result["outcome"] != expected["outcome"]:
                yield test, expected["outcome"], result

    def judge(self, mode, method, found):
        unexpected = []
        for test, expected, result in self.differing(mode, method, found):
            outcome = result["outcome"]
            why = is_meant(self.differences, mode, method, test, outcome)
            self.rig.say(f"{mode}, {method}: {test}: {expected} -> {outcome}: "
                         f"{'meant, ' + why if why else 'UNEXPECTED'}")
            if not why:
                unexpected.append(test)
        if unexpected:
            again, _, _ = self.start(mode, method, ",".join(unexpected), "-again")
            found = {test: again[test] for test in unexpected if test in again}
        failed = [f"{test}: {result['outcome']}\n{result['detail']}"
                  for test, _, result in self.differing(mode, method, found) if test in unexpected]
        self.rig.ok(not failed, f"{mode}, {method}: every test does as on the bare system", *failed)

    def tell(self):
        for mode, method, seconds, counts, outcome in self.totals:
            text = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            more = f"; {outcome.created()} created, {outcome.reaped()} reaped" if mode != "bare" else ""
            self.rig.say(f"{mode:7} {method:11} {seconds:6.1f} s  {text}{more}")

    def run(self):
        methods = self.options.methods.split(",")
        self.bare = self.run_mode("bare", methods)
        for method in methods:
            bad = [f"{test}: {result['detail']}" for test, result in self.bare[method].items()
                   if result["outcome"] in ("error", "failure")]
            self.rig.ok(not bad, f"bare, {method}: no test fails", *bad)
        wanted = [mode for mode in self.options.modes.split(",") if mode not in ("", "bare")]
        for mode in self.rig.modes(wanted):
            everything = self.run_mode(mode, methods)
            for method in methods:
                self.judge(mode, method, everything[method])
        self.tell()
        if not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.rig.finish()


def main():
    options = arguments()
    probe = "import test._test_multiprocessing"
    if subprocess.run([PYTHON, "-c", probe], capture_output=True).returncode != 0:
        print("1..0 # SKIP there are no tests of CPython's (Debian: libpython3.11-testsuite)")
        return 0
    return Comparison(options).run()


if __name__ == "__main__":
    sys.exit(main())
