# SPDX-License-Identifier: MIT
"""What the programs of tests/apps/ have in common.

A rig runs a program that knows nothing of shmd in up to three modes:

  bare     on the system as it is
  shim     under `shmdctl run --preload`, where its shm_open and sem_open go to a private daemon
  module   after `shmd.install()` in the program itself, with a private daemon, too

and prints TAP. A mode whose part is not built is skipped, unless $SHMD_APPS_REQUIRE names it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

# The distribution's, which has numpy and the tests, and not one that stands first in PATH.
PYTHON = os.environ.get("SHMD_APPS_PYTHON", "/usr/bin/python3")
MODES = ("bare", "shim", "module")
HERE = os.path.dirname(os.path.abspath(__file__))

# Counts what the daemon has seen before it ends with the command; "$0" gets it.
STATUS_SCRIPT = '"$@"; status=$?; "$SHMDCTL" --json status >"$0" || exit 99; exit $status'


class Outcome:
    """How a program ended in one mode."""

    def __init__(self, status, out, err, report, counters, left):
        self.status = status
        self.out = out
        self.err = err
        self.report = report  # of shmdctl run --report; {} on the bare system
        self.counters = counters  # of the daemon; {} likewise
        self.left = left  # new in /dev/shm

    def created(self):
        return self.counters.get("created", 0)

    def daemon_left(self):
        return [entry["name"] for entry in self.report.get("left", [])]

    def reaped(self):
        return len(self.report.get("reaped", [])) + self.report.get("reaped_untold", 0)


# "$0" becomes /dev/shm, for this program and its children alone.
MOUNT_SCRIPT = 'mount --bind "$0" /dev/shm && exec "$@"'


class SharedMemoryFolder:
    """A /dev/shm of the program's own, where mounts are permitted, so that what it leaves there is told
    from what others do meanwhile. Elsewhere everything that is new counts as left."""

    def __init__(self):
        self.path, self.before = "/dev/shm", set(os.listdir("/dev/shm"))
        self.prefix = []
        folder = tempfile.mkdtemp(prefix="shmd-apps-", dir="/dev/shm")
        prefix = ["unshare", "--mount", "sh", "-c", MOUNT_SCRIPT, folder]
        if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            os.chmod(folder, 0o1777)
            self.path, self.before, self.prefix = folder, set(), prefix
        else:
            os.rmdir(folder)

    def left(self):
        return sorted(set(os.listdir(self.path)) - self.before)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.prefix:
            shutil.rmtree(self.path)


class Rig:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.shmdctl = os.path.join(self.build, "shmdctl")
        self.number = 0
        self.failed = 0
        # Who is asked to end clears up, too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    # --- modes --------------------------------------------------------------------------------

    def environment(self, mode, **more):
        environment = dict(os.environ, SHMDCTL=self.shmdctl, **more)
        environment.pop("SHMD_SOCKET", None)
        if mode == "shim":
            # What falls back to the native call has not been tested.
            environment["SHMD_PRELOAD_REQUIRE"] = "1"
        if mode == "module":
            environment["PYTHONPATH"] = os.pathsep.join([os.path.join(self.build, "python"), HERE])
        return environment

    def under(self, mode, command):
        """The command as it is started in that mode."""
        if mode == "bare":
            return list(command)
        options = ["--preload"] if mode == "shim" else []
        return [self.shmdctl, "--json", "run", "--report", *options, "--", *command]

    def missing(self, mode):
        """Why the mode cannot be had, or None."""
        if mode == "bare":
            return None
        probe = [PYTHON, "-c", "import shmd; shmd.install()" if mode == "module" else ""]
        done = subprocess.run(self.under(mode, probe), env=self.environment(mode),
                              capture_output=True, text=True)
        if done.returncode == 0:
            return None
        lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        return lines[-1] if lines else f"status {done.returncode}"

    def modes(self, wanted=MODES):
        """Those of the wanted modes that are there; says which are not."""
        required = os.environ.get("SHMD_APPS_REQUIRE", "").split(",")
        for mode in wanted:
            why = self.missing(mode)
            if why is None:
                yield mode
            elif mode in required:
                self.ok(False, f"{mode}: it is there", why)
            else:
                self.skip(mode, why)

    def run(self, mode, command, timeout=600, **environment):
        """Runs a command in a mode, and tells what is left of it."""
        with SharedMemoryFolder() as shm, tempfile.TemporaryDirectory(prefix="shmd-apps-") as folder:
            os.chmod(folder, 0o1777)
            status_file = os.path.join(folder, "status")
            if mode != "bare":
                command = ["sh", "-c", STATUS_SCRIPT, status_file, *command]
            # It returns when all have ended that have its output, the resource tracker, too.
            done = subprocess.run(shm.prefix + self.under(mode, command),
                                  env=self.environment(mode, **environment), capture_output=True,
                                  text=True, timeout=timeout, stdin=subprocess.DEVNULL, errors="replace")
            left = shm.left()
            counters = {}
            if os.path.exists(status_file):
                with open(status_file, encoding="utf-8") as file:
                    counters = json.load(file).get("counters", {})
        report, err = {}, done.stderr
        if mode != "bare":
            lines = err.splitlines()
            for index in range(len(lines) - 1, -1, -1):
                if lines[index].startswith('{"reaped":'):
                    report = json.loads(lines.pop(index))
                    break
            err = "\n".join(lines)
        return Outcome(done.returncode, done.stdout, err, report, counters, left)

    # --- TAP ----------------------------------------------------------------------------------

    def ok(self, passed, name, *comments):
        self.number += 1
        if not passed:
            self.failed += 1
        print(f"{'ok' if passed else 'not ok'} {self.number} - {name}")
        if not passed:
            for comment in comments:
                self.say(comment)
        sys.stdout.flush()

    def skip(self, name, why):
        self.number += 1
        print(f"ok {self.number} - {name} # SKIP {why}")

    @staticmethod
    def say(text):
        for line in str(text).splitlines():
            print(f"# {line}")
        sys.stdout.flush()

    def finish(self):
        print(f"1..{self.number}")
        return 1 if self.failed else 0
