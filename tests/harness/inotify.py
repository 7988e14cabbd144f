"""inotify as the kernel has it, to see exactly which events a directory or file gets, and when.

    with Inotify(directory) as watch:
        ...
        assert watch.taken() == [("app.yaml", "OPEN"), ("app.yaml", "MODIFY"), ("app.yaml", "CLOSE_WRITE")]
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from pathlib import Path

from harness.waiting import wait_until

NAMES = {
    0x1: "ACCESS", 0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x10: "CLOSE_NOWRITE", 0x20: "OPEN",
    0x40: "MOVED_FROM", 0x80: "MOVED_TO", 0x100: "CREATE", 0x200: "DELETE", 0x400: "DELETE_SELF", 0x800: "MOVE_SELF",
}
BITS = {name: bit for bit, name in NAMES.items()}
# What says that something is other than it was; not what readers do.
CHANGES = [name for name in BITS if name not in ("ACCESS", "CLOSE_NOWRITE", "OPEN")]
IN_Q_OVERFLOW = 0x4000
IN_NONBLOCK = os.O_NONBLOCK

_libc = ctypes.CDLL(None, use_errno=True)

Event = tuple[str, str]


class Inotify:
    """The events of one directory or file: (name in it, kind)."""

    def __init__(self, path: Path, kinds: list[str] | None = None) -> None:
        self._descriptor = _libc.inotify_init1(IN_NONBLOCK)
        mask = sum(BITS[kind] for kind in kinds or CHANGES)
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))
        self._events: list[Event] = []
        self.times: list[float] = []

    def __enter__(self) -> Inotify:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _read(self, timeout: float) -> None:
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return
        now = time.monotonic()
        data = os.read(self._descriptor, 1 << 16)
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16:16 + length].rstrip(b"\0").decode()
            assert not mask & IN_Q_OVERFLOW
            for bit, kind in NAMES.items():
                if mask & bit:
                    self._events.append((name, kind))
                    self.times.append(now)
            data = data[16 + length:]

    def events(self, timeout: float = 0) -> list[Event]:
        """All so far; waits for the next one for so long."""
        self._read(timeout)
        return self._events

    def wait_for(self, name: str, *kinds: str, timeout: float = 5) -> None:
        """Until events of these kinds have come in this order, whatever came between."""

        def has_come() -> bool:
            found = iter(kind for event_name, kind in self.events(0.02) if event_name == name)
            return all(kind in found for kind in kinds)

        wait_until(has_come, timeout, f"{kinds} of {name or 'itself'}; there were {self._events}", 0)

    def taken(self, quiet: float = 0.5) -> list[Event]:
        """All that come until it was quiet for so long; they are forgotten then."""
        while True:
            count = len(self._events)
            self._read(quiet)
            if len(self._events) == count:
                taken, self._events = self._events, []
                self.times = []
                return taken
