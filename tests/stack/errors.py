"""The one error of a stack that does not run as asked; its message is for people."""

from __future__ import annotations


class StackError(RuntimeError):
    """A part of the stack did not start, died, or is not running; the message names it and where its log is."""
