# SPDX-License-Identifier: MIT
"""What happens to segments, as it happens."""

from . import _shmd


class Events:
    """The events of segments: an iterator of Event that does not end until it is closed.

    Made by events(). It has a connection of its own; who reads it slowly holds up nobody, and is told by
    an event 'lost' what it missed. Waiting lets other threads run, and Ctrl-C ends it. Only one thread
    at a time may read; another may close it, and the iteration ends.

        for event in shmd.events("frames-*"):           async for event in shmd.events():
            print(event.kind, event.name)                   ...

    For loops of other kinds: when fileno() is readable, read() has what has come. In a forked child it
    is of no use.

    Raises ConnectionResetError when the daemon has gone, and none took its place.
    """

    def __init__(self, glob=None):
        self._subscription = _shmd.subscribe(glob)
        self._is_watched = False

    def __iter__(self):
        return self

    def __next__(self):
        event = None
        while event is None:
            if self._subscription.closed:
                raise StopIteration
            event = self._subscription.next(None)
        return event

    def next(self, timeout=None):
        """The next event, or None if none came within so many seconds; None waits for ever."""
        return self._subscription.next(timeout)

    def read(self):
        """A list of all events that have come. Does not wait."""
        events = []
        while (event := self._subscription.next(0)) is not None:
            events.append(event)
        return events

    def fileno(self):
        """A descriptor that is readable when there may be events. It stays the library's."""
        return self._subscription.fileno()

    def __aiter__(self):
        return self

    async def __anext__(self):
        import asyncio

        if self._is_watched:
            raise RuntimeError("another task is reading these events")
        loop = asyncio.get_running_loop()
        self._is_watched = True
        try:
            while not self._subscription.closed:
                event = self._subscription.next(0)
                if event is not None:
                    return event
                await _readable(loop, self.fileno())
            raise StopAsyncIteration
        finally:
            self._is_watched = False

    def close(self):
        """Ends the subscription. Again is no error."""
        self._subscription.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


Events.__module__ = "shmd"


async def _readable(loop, descriptor):
    future = loop.create_future()
    loop.add_reader(descriptor, lambda: future.done() or future.set_result(None))
    try:
        await future
    finally:
        loop.remove_reader(descriptor)


def events(glob=None):
    """Subscribes to the events of segments that the caller may see, from now on (Events).

    glob: only of segments whose name matches, as fnmatch(3) does; None: of all, also of those without a
    name, and what the daemon refused the caller's user.

    Raises OSError (EDQUOT) at the limit of subscriptions.
    """
    return Events(glob)
