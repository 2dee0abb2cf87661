"""``aigateway run``: the operator in the foreground, until SIGTERM or SIGINT.

Exit codes: 0 after a request to stop, 1 when something failed that no retry heals, 2 for settings that make no sense,
3 when the lead was lost to another replica (start again to stand by).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from typing import Any

import click
from pythonjsonlogger.json import JsonFormatter

from aigateway.cli.options import Decorator, administrator_options, cluster_options, setting, split
from aigateway.cluster.connection import AccessError
from aigateway.cluster.leader import LeadLost
from aigateway.process import Operator
from aigateway.settings import Settings, SettingsError

log = logging.getLogger(__name__)

_DEFAULTS = Settings()
_LEAD_LOST = 3


def _option(name: str, text: str, **more: Any) -> Decorator:  # noqa: ANN401 (click's own keyword arguments)
    """Declare a flag with the default of :class:`Settings`."""
    return setting(name, text, getattr(_DEFAULTS, name.replace("-", "_")) or None, **more)


@click.command()
@cluster_options()
@_option("namespaces", "Look only at these namespaces, separated by commas.  [default: all]", metavar="A,B")
@administrator_options()
@_option("probes-address", "Where /livez and /readyz are served.", metavar="HOST:PORT")
@_option("metrics-address", "Where /metrics is served; may be the same.", metavar="HOST:PORT")
@_option("log-level", "What is logged.", type=click.Choice(["debug", "info", "warning", "error"]))
@_option("log-format", "How it is logged.", type=click.Choice(["json", "text"]))
@_option("concurrency", "How many policies are worked on at once.", type=int)
@_option("leader-election", "false where no second replica ever runs: no Lease is used.", type=bool, metavar="BOOL")
@_option("lease-name", "Lease that replicas take turns in holding.")
@_option("lease-namespace", "Where it is.  [default: the pod's namespace]")
@_option("lease-duration", "Another replica takes over after so many seconds without a renewal.", type=int)
@_option("lease-renew-deadline", "The leader stops after so many seconds without a renewal.", type=int)
@_option("lease-retry", "Seconds between renewals, and between tries to take over.", type=int)
def run(namespaces: str | None, **options: Any) -> None:  # noqa: ANN401 (click hands over what the flags declare)
    """Run the operator."""
    try:
        settings = Settings(namespaces=split(namespaces), **options)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    _set_up_logging(settings)
    try:
        asyncio.run(_run(settings))
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    except LeadLost as lost:
        log.warning("the operator ends because it leads no more: %s", lost)
        sys.exit(_LEAD_LOST)
    except (AccessError, OSError) as error:
        log.error("the operator cannot start: %s", error)  # noqa: TRY400 (what is wrong is said; a trace says no more)
        sys.exit(1)
    except Exception:
        log.exception("the operator ends because a part of it failed; start it again")
        sys.exit(1)


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await Operator(settings).run(stop)


class _JsonLines(JsonFormatter):
    """One JSON object a line, with the time in UTC."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def _formatter(log_format: str) -> logging.Formatter:
    if log_format == "text":
        return logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    return _JsonLines("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names)


def _set_up_logging(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(settings.log_format))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # kopf logs whole objects at debug level, and at info level only its own steps.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It warns that it gets no signals in its thread, as it should be.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
