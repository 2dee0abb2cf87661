"""Wait for the world to become as a test says, with a deadline and the last state in the message.

Used by every integration test.  A test asserts no times: the deadline only bounds how long a failure takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kubernetes.client.exceptions import ApiException

NOT_YET = (AssertionError, LookupError, OSError, ApiException)
"""What a check may raise to say *not yet*; anything else is a mistake in the check and ends the wait."""


_Result = TypeVar("_Result")


def eventually(
    check: Callable[[], _Result],
    what: str = "",
    *,
    within: float = 30,
    every: float = 0.1,
    retry: tuple[type[Exception], ...] = NOT_YET,
) -> _Result:
    """Return the first result of ``check`` that is neither None nor False and comes without an error.

    ``check`` asserts what should be so, or returns it; errors other than ``retry`` pass through at once.  Its last
    error or result is in the message of the ``AssertionError`` raised after ``within`` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            result = check()
        except retry as error:
            last: object = error
        else:
            if result is not None and result is not False:
                return result
            last = result
        if time.monotonic() > deadline:
            msg = f"{what or check.__name__}: not within {within:.0f} s; last: {last!r}"
            raise AssertionError(msg)
        time.sleep(every)
