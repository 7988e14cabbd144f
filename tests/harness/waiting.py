"""Waiting for something to become true, without fixed sleeps."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 5, what: str = "the condition",
               interval: float = 0.02) -> T:
    """The first true result of the predicate; AssertionError when there was none in time."""
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
        time.sleep(interval)
