# SPDX-License-Identifier: MIT
"""SharedMemory, as the standard library's is used; and what makes one otherwise."""

import os

from . import _family, _shmd

# What options are where the caller says nothing. install() may set others.
defaults = {"lifetime": "clients", "linger": 0}
# What connect() was called with, for the processes that are started by this one.
socket = None


class SharedMemory:
    """Creates shared memory, or attaches what another process has created.

    It is multiprocessing.shared_memory.SharedMemory in all that this class has, with these differences:

      - It does not outlive its users. The resource tracker is not needed, and knows nothing of it.
      - So memory that nobody has open any more is gone: who creates it, closes it and has others attach
        it later says linger= or lifetime=. unlink() after close() is no error all the same. But what a
        process of multiprocessing makes, and closes, is kept for the one that started it, as long as that
        lives or until unlink(); unless it is killed with the memory open, or a moment later.
      - The size is exact, never rounded, and nobody can change it.
      - Dropped without close(), it closes when the last buffer and lock made of it are gone, too.

    name: 1 to 200 bytes of UTF-8 without '/'. None with create: one is made up.
    create: make it, and fail with FileExistsError if the name is there; else attach it, and fail with
        FileNotFoundError if it is not.
    size: bytes, with create.

    What only shmd has:

    readonly: attach it so that the kernel refuses every write. What was published can be attached in no
        other way.
    lifetime: what ends it (drops its name): "clients", when no process has it open or mapped any
        more, also one that only inherited it; "owner", when its creator dies or closes it;
        "persistent", when it is unlinked. Memory stays valid for those who have it.
    linger: seconds that it stays after that end, for somebody to pick it up.
    permits: how many may hold its lock at the same time; 0: it has no lock.
    mode: permission bits, as of a file; 0o600 unless given.
    track: as in Python 3.13; False makes what is created persistent.

    Raises OSError (EDQUOT) at the daemon's limits, and PermissionError where mode or policy refuse it.
    """

    _name = None
    _segment = None
    _buf = None
    _lock = None
    # Subclasses of the standard library's override these two.
    _flags = os.O_RDWR
    _mode = 0o600

    def __init__(
        self,
        name=None,
        create=False,
        size=0,
        *,
        track=True,
        readonly=False,
        lifetime=None,
        linger=None,
        permits=1,
        mode=None,
    ):
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create:
            if size == 0:
                raise ValueError("'size' must be a positive number different from zero")
            if readonly:
                raise ValueError("what is created can be written to")
            self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        if not self._flags & os.O_CREAT:
            if name is None:
                raise ValueError("'name' can only be None if create=True")
            segment = _shmd.attach(name, readonly)
            self._set(segment, "/" + name)
            return
        if lifetime is None:
            lifetime = defaults["lifetime"] if track else "persistent"
        if linger is None:
            linger = defaults["linger"] if lifetime != "persistent" else 0
        options = (size, self._mode if mode is None else mode, lifetime, linger, permits)
        if name is None:
            self._create_unnamed(options)
        elif self._flags & os.O_EXCL:
            self._set(_shmd.create(name, *options, False, _family.heir()), "/" + name)
        else:
            self._set(_create_or_attach(name, options), "/" + name)

    def _set(self, segment, name):
        self._segment = segment
        self._name = name
        self._buf = memoryview(segment)

    def _create_unnamed(self, options):
        from multiprocessing import shared_memory

        if not self._flags & os.O_EXCL:
            raise ValueError("'name' can only be None if create=True")
        while True:
            name = shared_memory._make_filename()
            try:
                segment = _shmd.create(name, *options, False, _family.heir())
            except FileExistsError:
                continue
            return self._set(segment, name)

    @classmethod
    def anonymous(cls, size, *, lifetime=None, linger=None, permits=0, mode=None):
        """Memory without a name, to be filled and then published. Nobody else can see it.

        What is said here holds for what publish() makes of it. Who can only read needs no lock, so
        there is none unless permits says so.
        """
        if not size > 0:
            raise ValueError("'size' must be a positive number different from zero")
        lifetime = lifetime or defaults["lifetime"]
        if linger is None:
            linger = defaults["linger"] if lifetime != "persistent" else 0
        mode = cls._mode if mode is None else mode
        return cls._wrap(_shmd.create(None, size, mode, lifetime, linger, permits, False, 0), None)

    @classmethod
    def _wrap(cls, segment, name):
        self = cls.__new__(cls)
        self._set(segment, name)
        return self

    # There is no __del__: when this goes, the memory goes with the last buffer and lock made of it.

    def __reduce__(self):
        if self._name is None:
            raise TypeError("anonymous shared memory cannot be pickled")
        if self._segment.readonly:
            return _attach_readonly, (self.__class__, self.name)
        return self.__class__, (self.name, False, self.size)

    def __repr__(self):
        return f"{self.__class__.__name__}({self.name!r}, size={self.size})"

    def __enter__(self):
        """The memory itself, which the end of the block closes."""
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def buf(self):
        """A memoryview of the bytes; read-only where writing is refused. None once it is closed."""
        return self._buf

    @property
    def name(self):
        """The name that others attach it by; None if it is anonymous."""
        name = self._name
        return name[1:] if name and name.startswith("/") else name

    @property
    def size(self):
        """The size in bytes, exactly as it was created."""
        return self._segment.size

    @property
    def lock(self):
        """The segment's semaphore as a lock (Lock), for "with"; the same object each time.

        What holds it is this process, not this object: close() does not release it.
        """
        lock = self._lock
        if lock is None:
            lock = self._lock = self._segment.lock
        return lock

    @property
    def generation(self):
        """A number that only grows: a later segment of the same name has a greater one."""
        return self._segment.generation

    @property
    def semaphore(self):
        """The semaphore's name for sem_open(3); None if there is none, or it is closed.

        Asks the daemon the first time, as the first acquire() does: the semaphore is made for the
        first who wants it.
        """
        return self._segment.semaphore

    @property
    def readonly(self):
        """Whether it can only be read: it was attached so, or has been published."""
        return self._segment.readonly

    def fileno(self):
        """The descriptor, for file locks (fcntl.flock). It stays the library's: do not close it."""
        return self._segment.fileno()

    def close(self):
        """Gives the memory back to the system, as far as this object has it.

        The last one to do so ends a segment of the lifetime "clients". Again is no error. Raises
        BufferError while somebody uses a buffer made of it, and leaves it open.
        """
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._segment is not None:
            try:
                self._segment.close()
            except BufferError:
                self._buf = memoryview(self._segment)
                raise

    def unlink(self):
        """Drops the name. Those who have the memory keep it, and nobody new can attach it.

        Raises FileNotFoundError if that has been done; but not if the name ended when this was closed.
        """
        if self._name is not None:
            self._segment.unlink(self._name)

    def publish(self, name, *, writable=False):
        """Binds memory that is anonymous() to a name in one step, as its next generation.

        It is sealed first: from now on nobody can change it, this process neither, and buf is read-only.
        What bore the name loses it, and lives on for those who have it. writable=True leaves it as it
        is, for memory that others are to write to, but not before it is ready.

        Until it is superseded or unlinked, or this process ends, the name counts as a user of it, so
        that it can be closed here at once.

        Raises BufferError while somebody uses a buffer made of it (all of them could write), PermissionError
        if the name is another user's, OSError (EBUSY) if another process has it mapped, as a forked
        child has, and OSError (EINVAL) if it has a name.
        """
        view = self._buf
        if view is not None and not writable:
            view.release()
            self._buf = None
        try:
            self._segment.publish(name, writable)
            self._name = "/" + name
        finally:
            if self._buf is None and not self._segment.closed:
                self._buf = memoryview(self._segment)


SharedMemory.__module__ = "shmd"


def _create_or_attach(name, options):
    """What subclasses ask for whose _flags have O_CREAT without O_EXCL; without a size, it must exist."""
    if options[0] == 0:
        return _shmd.attach(name, False)
    return _shmd.create(name, *options, True, _family.heir())


def _attach_readonly(cls, name):
    return cls(name, readonly=True)


def connect(path=None):
    """Connects to the daemon at that socket, for all that this process asks from now on.

    None is $SHMD_SOCKET, else the system's socket: what is done without this call when the daemon is
    first needed. A relative path counts from where this process is now. Memory that was attached before
    stays with the daemon it came from.

    Raises FileNotFoundError or ConnectionRefusedError where there is no daemon.
    """
    global socket

    path = None if path is None else os.fspath(path)
    # An empty one is left for the library to refuse.
    if path and not os.path.isabs(path):
        path = os.path.join(os.getcwd(), os.fsdecode(path))
    _shmd.connect(path)
    socket = path


def publish(name, data, *, lifetime=None, linger=None, mode=None):
    """Publishes a copy of the bytes of data, which is bytes or anything with a buffer, under the name.

    Returns its generation. It stays until it is superseded or unlinked, or this process ends; then
    lifetime and linger decide. For no copy, fill SharedMemory.anonymous() and publish() that.
    """
    view = memoryview(data)
    with SharedMemory.anonymous(view.nbytes, lifetime=lifetime, linger=linger, mode=mode) as memory:
        memory.buf[:] = view.cast("B") if view.c_contiguous else view.tobytes()
        memory.publish(name)
        return memory.generation


def wait(name, newer_than=0, timeout=None, *, readonly=True):
    """Waits until a name exists, or is newer than a generation, and attaches what bears it then.

    newer_than: the generation that the caller knows; 0: any will do.
    timeout: in seconds; None waits for ever, 0 does not wait.
    readonly: what was published can only be read; False is for memory that others write to.

    Returns SharedMemory: the newest generation, and not each one that came meanwhile. Raises
    TimeoutError if none came in time, and whatever attaching it may raise.
    """
    return SharedMemory._wrap(_shmd.wait(name, newer_than, timeout, readonly), "/" + name)
