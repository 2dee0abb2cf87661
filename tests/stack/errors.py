"""The errors of a stack that does not run as asked; their messages are for people."""

from __future__ import annotations


class StackError(RuntimeError):
    """A part of the stack did not start, died, or is not running; the message names it and where its log is."""


class OnlyOnTheStackError(StackError):
    """Something was asked of a cluster of the user's own that only the stack itself can do."""
