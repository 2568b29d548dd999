#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whether the table in doc/moving is true, row by row.

usage: moving.py BUILD_FOLDER
"""

import json
import os
import subprocess
import sys

from rig import HERE, MODES, PYTHON, Rig

# A row: bare, shim, module.
TABLE = {
    "closed and opened": (True, False, False),
    "closed and unlinked": (True, True, True),
    "size exact": (True, True, True),
    "size can change": (True, True, False),
    "in /dev/shm": (True, False, False),
    "other program": ([True, False], [True, False], [True, True]),
    "exit": ([True, True], [True, True], [True, False]),
    "more than /dev/shm": ("SIGBUS", True, True),
    "ShareableList": (True, True, True),
    "manager": (True, True, True),
}
SMALL = 'mount -t tmpfs -o size=1m,mode=1777 none /dev/shm && exec "$@"'


def find_out(rig, mode, **environment):
    """In a /dev/shm of 1 MiB."""
    command = [PYTHON, os.path.join(HERE, "moving_run.py"), "install" if mode == "module" else "plain"]
    done = subprocess.run(["unshare", "--mount", "sh", "-c", SMALL, "sh", *rig.under(mode, command)],
                          env=rig.environment(mode, **environment), capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return {"failed": done.stdout + done.stderr}


def main():
    rig = Rig(sys.argv[1])
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        print("1..0 # SKIP mounts are not permitted")
        return 0
    for mode in rig.modes(MODES):
        found = find_out(rig, mode)
        for what, row in TABLE.items():
            expected = row[MODES.index(mode)]
            rig.ok(found.get(what) == expected, f"{mode}: {what}: {json.dumps(expected)}",
                   found.get(what, found))
        if mode == "shim":
            found = find_out(rig, mode, SHMD_PRELOAD_LINGER="1min")
            rig.ok(found.get("closed and opened") is True, "shim, SHMD_PRELOAD_LINGER: closed and opened: true",
                   found)
    return rig.finish()


if __name__ == "__main__":
    sys.exit(main())
