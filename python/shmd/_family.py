# SPDX-License-Identifier: MIT
"""To whom a worker of multiprocessing hands over what it makes, closes, and tells the name of."""

import os
import sys

from . import _shmd

# The process whose end is looked after: a forked child is another one.
_looked_after = 0


def heir():
    """The process that started this one by multiprocessing, of whatever start method; 0 in others."""
    process = sys.modules.get("multiprocessing.process")
    parent = process.parent_process() if process is not None else None
    if parent is None:
        return 0
    if _looked_after != os.getpid():
        _look_after(parent.pid)
    return parent.pid


def _look_after(parent):
    """What this process still has open when it ends by itself is handed over, too."""
    from multiprocessing import util

    global _looked_after
    util.Finalize(None, _hand_over, args=(parent,), exitpriority=-1)
    _looked_after = os.getpid()


def _hand_over(parent):
    try:
        _shmd.hand_over(parent)
    except OSError:
        pass  # neither the parent nor the daemon has to be there
