"""``aigateway retries``: what each attempt of a request did, from what the gateway has logged.

Exit codes: 0, whatever the log says; 1 for a file that cannot be read to its end, 2 for options that make no sense.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import IO

import click

from aigateway.cli.gateway_log import Reader
from aigateway.cli.joining import HELD_LINES, Joiner
from aigateway.cli.options import output_option
from aigateway.cli.output import as_yaml, plain, show
from aigateway.cli.printers.retries import request_text, summary_table
from aigateway.cli.views.retries import RequestView, Wanted, by_time, request_view
from aigateway.cli.views.retry_summary import summary_view


class _Log(click.File):
    """A log is read also where some of its bytes are no text."""

    def __init__(self) -> None:
        super().__init__(encoding="utf-8", errors="replace")


def _policy_name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and [bool(part) for part in value.split("/")] != [True, True]:
        raise click.BadParameter(f"{value!r} is not NAMESPACE/NAME")
    return value


class _Found:
    """The requests that are meant, and the words on how they were found."""

    def __init__(self, files: tuple[IO[str], ...], wanted: Wanted) -> None:
        self._files, self._wanted = files, wanted
        self._reader, self._joiner = Reader(), Joiner()
        self._requests = self._shown = 0

    def requests(self) -> Iterator[RequestView]:
        """Yield them as they become whole."""
        lines = (line for line in self._reader.lines(self._files) if self._wanted.line(line))
        for joined in self._joiner.join(lines):
            view = request_view(joined)
            self._requests += 1
            if self._wanted.request(view):
                self._shown += 1
                yield view

    def notes(self) -> Iterator[str]:
        """Yield what has to be known of the output, once all was read."""
        some = f"{self._requests}" if self._shown == self._requests else f"{self._shown} of {self._requests}"
        noun = "request" if self._requests == 1 else "requests"
        yield f"{some} {noun}, from {self._reader.read} lines; passed over: {self._over()}"
        if self._joiner.given_up:
            text = f"note: more than {HELD_LINES} lines waited for others; what was given up on may be shown in pieces"
            yield f"{text} ({self._joiner.given_up})"

    def _over(self) -> str:
        others = f"{self._reader.others} that are not about policies' requests"
        return f"{others}, {self._reader.damaged} damaged" if self._reader.damaged else others


@click.command()
@click.option("-f", "--filename", "files", type=_Log(), multiple=True, help="Log file, - for stdin; may be repeated.")
@click.argument("more", nargs=-1, type=_Log(), metavar="[FILE]...")
@click.option("--policy", callback=_policy_name, metavar="NAMESPACE/NAME", help="Requests of this policy.")
@click.option("--trace-id", metavar="ID", help="Requests of this trace, failed or not.")
@click.option("--request-id", metavar="ID", help="Requests with this id, failed or not.")
@click.option("--retried", is_flag=True, help="Requests with a second attempt.")
@click.option("--all", "everything", is_flag=True, help="All requests, not only those that were retried or failed.")
@click.option("--summary", is_flag=True, help="Counts of each route, of all requests that the other options leave.")
@output_option("text", "yaml", "json")
def retries(  # noqa: PLR0913 (one parameter an option)
    *,
    files: tuple[IO[str], ...],
    more: tuple[IO[str], ...],
    policy: str | None,
    trace_id: str | None,
    request_id: str | None,
    retried: bool,
    everything: bool,
    summary: bool,
    output: str,
) -> None:
    """Tell from a gateway's log what the attempts of requests did, and how long retries waited.

    Reads standard input or files, and knows policies with accessLog.  Shows requests that were retried or failed, by
    their time, with the line of each attempt; BACKOFF is the wait before it.  Nothing is shown before the input ends.
    For instance: kubectl -n istio-system logs -l istio=ingressgateway --tail=-1 | kubectl aigateway retries
    """
    if retried and everything:
        raise click.UsageError("--retried does not go with --all")
    choosing = not (everything or summary or trace_id or request_id)
    trace_id = trace_id.lower() if trace_id else None
    wanted = Wanted(policy, trace_id, request_id, retried=retried or choosing, failed=choosing and not retried)
    found = _Found((*files, *more) or (_stdin(),), wanted)
    try:
        if summary:
            _print_summary(found, output)
        else:
            _print_requests(found, output)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise  # whoever read our output has seen enough; click ends quietly
        raise click.ClickException(str(error)) from error
    for note in found.notes():
        click.echo(note, err=True)


def _stdin() -> IO[str]:
    if _on_terminal():
        raise click.UsageError("no log is given: name a file with -f, or pipe one in, as from kubectl logs")
    return click.open_file("-", encoding="utf-8", errors="replace")


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _print_requests(found: _Found, output: str) -> None:
    for view in by_time(found.requests()):
        if output == "text":
            show(request_text(view))
            continue
        data = plain(dataclasses.asdict(view))
        click.echo(json.dumps(data) if output == "json" else f"---\n{as_yaml([data])}", nl=output == "json")


def _print_summary(found: _Found, output: str) -> None:
    view = summary_view(found.requests())
    data = plain(dataclasses.asdict(view))
    if output == "json":
        click.echo(json.dumps(data, indent=2))
    elif output == "yaml":
        click.echo(as_yaml([data]), nl=False)
    elif view.routes:
        show(summary_table(view))
