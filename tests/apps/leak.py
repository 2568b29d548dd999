#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What processes leave that are killed with shared memory and a lock in their hands.

usage: leak.py BUILD_FOLDER [COUNT [MODE,...]]

Kills COUNT processes, 500 unless told, alone, and as many with their group; on the bare system, under the
shim and with the module.
"""

import json
import os
import sys

from rig import HERE, MODES, PYTHON, Rig


def main():
    rig = Rig(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    wanted = sys.argv[3].split(",") if len(sys.argv) > 3 else MODES
    for mode in rig.modes(wanted):
        outcome = rig.run(mode, [PYTHON, os.path.join(HERE, "leak_run.py"), str(count), mode])
        if outcome.status != 0:
            rig.ok(False, f"{mode}: it runs", outcome.err[-2000:])
            continue
        for way in json.loads(outcome.out):
            name = f"{mode}: {way['killed']} killed {'alone' if way['way'] == 'alone' else 'as a group'}"
            rig.say(f"{name}: left {way['segments']} segments and {way['semaphores']} semaphores "
                    f"({way['bytes'] >> 10} KiB) in /dev/shm, {way['in_daemon']} in the daemon; "
                    f"the tracker warned {way['tracker_warned']} times; {way['seconds']} s")
            rig.ok(way["failed"] == 0, f"{name}: each had both", outcome.err[-2000:])
            if mode != "bare":
                rig.ok(way["segments"] + way["semaphores"] == 0, f"{name}: nothing is in /dev/shm")
                rig.ok(way["in_daemon"] == 0, f"{name}: nothing is in the daemon")
            elif way["way"] == "group":
                # What the rest of this is for. Where nothing is left here, nothing is shown there.
                rig.ok(way["segments"] == count, f"{name}: as many segments are left")
        if mode != "bare":
            rig.ok(outcome.created() >= 2 * count, f"{mode}: the daemon made them",
                   f"{outcome.created()} created")
        rig.ok(not outcome.left, f"{mode}: /dev/shm is as before", outcome.left)
    return rig.finish()


if __name__ == "__main__":
    sys.exit(main())
