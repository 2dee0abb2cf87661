"""Kubernetes in and out: client, caches, watches, work queue, writes and events.

:mod:`aigateway.engine` and :mod:`aigateway.process` use it.  It decides nothing: what should be written, and why, is
:mod:`aigateway.core`'s.
"""
