# SPDX-License-Identifier: MIT
"""The standard library's ShareableList, whichever version that is, on our SharedMemory."""

import types
from multiprocessing import shared_memory

from ._memory import SharedMemory


def _on_ours(function):
    """The same function, for which SharedMemory is ours."""
    ours = types.FunctionType(
        function.__code__,
        {**vars(shared_memory), "SharedMemory": SharedMemory},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    ours.__kwdefaults__ = function.__kwdefaults__
    ours.__qualname__ = function.__qualname__
    ours.__doc__ = function.__doc__
    return ours


def _makes_memory(value):
    return isinstance(value, types.FunctionType) and "SharedMemory" in value.__code__.co_names


class ShareableList(shared_memory.ShareableList):
    __doc__ = shared_memory.ShareableList.__doc__

    locals().update(
        (name, _on_ours(value))
        for name, value in vars(shared_memory.ShareableList).items()
        if _makes_memory(value)
    )


ShareableList.__module__ = "shmd"
