#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker is killed inside `with lock:`. On the bare system the others wait for ever (here until a
time-out); under the shim with SHMD_PRELOAD_RECOVER=1 they go on; with the module's lock they go on, and
the first is told.

usage: killed_holder.py BUILD_FOLDER [METHOD,...]
"""

import json
import os
import sys

from rig import HERE, MODES, PYTHON, Rig

# How long those wait who are to wait in vain, and those who are not.
IN_VAIN, ENOUGH = "1.5", "30"


def tell(rig, name, waiters):
    text = ", ".join("never" if w["ms"] is None else f"{w['ms']} ms" + (" (told)" if w["told"] else "")
                     for w in waiters)
    rig.say(f"{name}: went on after {text}")


def run(rig, mode, method, recover):
    name = f"{mode}, {method}" + (", RECOVER" if recover else "")
    goes_on = mode == "module" or recover
    environment = {"SHMD_PRELOAD_RECOVER": "1"} if recover else {}
    outcome = rig.run(mode, [PYTHON, os.path.join(HERE, "killed_holder_run.py"),
                             "module" if mode == "module" else "multiprocessing", method,
                             ENOUGH if goes_on else IN_VAIN], **environment)
    if outcome.status != 0:
        rig.ok(False, f"{name}: it runs", outcome.err[-2000:])
        return
    waiters = json.loads(outcome.out)
    tell(rig, name, waiters)
    if goes_on:
        rig.ok(all(w["ms"] is not None for w in waiters), f"{name}: all go on")
    else:
        rig.ok(all(w["ms"] is None for w in waiters), f"{name}: all wait in vain")
    told = sum(w["told"] for w in waiters)
    rig.ok(told == (1 if mode == "module" else 0), f"{name}: as many are told as can be", f"{told} were")
    rig.ok(not outcome.left and not outcome.daemon_left(), f"{name}: nothing is left",
           outcome.left, outcome.daemon_left())


def main():
    rig = Rig(sys.argv[1])
    methods = sys.argv[2].split(",") if len(sys.argv) > 2 else ("fork", "spawn")
    for mode in rig.modes(MODES):
        for method in methods:
            run(rig, mode, method, False)
            if mode == "shim":
                run(rig, mode, method, True)
    return rig.finish()


if __name__ == "__main__":
    sys.exit(main())
