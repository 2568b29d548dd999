#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""numpy arrays in shared memory and pools of processes, in three modes: the sums are right, nothing is
left, and what the resource tracker says.

usage: numpy_pools.py BUILD_FOLDER [METHOD,...]

Needs numpy for the Python that is used (Debian: python3-numpy).
"""

import json
import os
import re
import subprocess
import sys

from rig import HERE, MODES, PYTHON, Rig


def run(rig, mode, method):
    name = f"{mode}, {method}"
    outcome = rig.run(mode, [PYTHON, os.path.join(HERE, "numpy_run.py"), method,
                             "install" if mode == "module" else "plain"])
    if outcome.status != 0:
        rig.ok(False, f"{name}: it runs", outcome.err[-3000:])
        return
    result = json.loads(outcome.out)
    warnings = len(re.findall(r"UserWarning: resource_tracker", outcome.err))
    errors = len(re.findall(r"^(?:KeyError|FileNotFoundError)", outcome.err, re.M))
    rig.say(f"{name}: the resource tracker warned {warnings} times, and failed {errors} times; what a worker "
            f"made and closed {'is there' if result['handed'] else 'is gone'} when it has ended; attached by "
            f"another program, a name {'stays' if result['stays'] else 'is gone'} at its end")
    rig.ok(result["pool"], f"{name}: a pool of four makes the right sums")
    rig.ok(result["manager"], f"{name}: segments of a manager have the right sums")
    rig.ok(result["stranger"], f"{name}: another program has written")
    # Elsewhere it may be gone, and need not be yet: doc/moving.
    if mode != "shim" or method != "spawn":
        rig.ok(result["handed"], f"{name}: what a worker made and closed is there when it has ended")
        rig.ok(result["pooled"], f"{name}: what a pool's workers made and closed is there when it is terminated")
    if mode == "module":
        rig.ok(warnings == 0 and errors == 0, f"{name}: no word of the resource tracker", outcome.err[-3000:])
        rig.ok(result["stays"], f"{name}: another program takes nothing away")
    if mode != "bare":
        rig.ok(outcome.created() > 0, f"{name}: the daemon was used")
        rig.ok(not outcome.daemon_left(), f"{name}: nothing is left in the daemon", outcome.daemon_left())
    rig.ok(not outcome.left, f"{name}: nothing is left in /dev/shm", outcome.left)


def main():
    if subprocess.run([PYTHON, "-c", "import numpy"], capture_output=True).returncode != 0:
        print("1..0 # SKIP there is no numpy")
        return 0
    rig = Rig(sys.argv[1])
    methods = sys.argv[2].split(",") if len(sys.argv) > 2 else ("fork", "spawn", "forkserver")
    for mode in rig.modes(MODES):
        for method in methods:
            run(rig, mode, method)
    return rig.finish()


if __name__ == "__main__":
    sys.exit(main())
