"""A TCP forwarder on the loopback address that a test can cut, as a network does: silently, and with bytes on the way.

Tests put one before the apiserver for each process that they want to cut off.  TLS passes through it untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHUNK = 2**16
_GAP_SECONDS = 1.0
"""Between what was held back and what its sender sent after it: time enough for the receiver to act on the first."""


class Proxy:
    """``with Proxy(6443) as proxy``: connections to ``proxy.port`` reach that port of the loopback address.

    Nothing is refused or closed while it is cut: what was sent waits, and is delivered when it heals, even where the
    sender has given up.
    """

    def __init__(self, target: int) -> None:
        """Forward to a port of the loopback address."""
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._requests = asyncio.Event()
        self._answers = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        """Listen."""
        self.heal()
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # What a test does ---------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Hold everything back, both ways."""
        self._in_loop(self._requests.clear)
        self._in_loop(self._answers.clear)

    def hold_requests(self) -> None:
        """Hold back what clients send; what the server sends (watch events, too) passes."""
        self._in_loop(self._requests.clear)

    def heal(self) -> None:
        """Deliver what waits, and forward again."""
        self._in_loop(self._requests.set)
        self._in_loop(self._answers.set)

    # In the proxy's thread ----------------------------------------------------------------------------------------

    def _in_loop(self, act: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(act)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            self._pump(reader, to_server, self._requests)
            self._pump(from_server, writer, self._answers)

    def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passes: asyncio.Event) -> None:
        task = self._loop.create_task(_copy(source, sink, passes))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, passes: asyncio.Event) -> None:
    """Forward one direction until its end; nothing goes on before ``passes`` is set."""
    try:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                held = not passes.is_set()
                await passes.wait()
                sink.write(data)
                await sink.drain()
                await asyncio.sleep(_GAP_SECONDS if held else 0)
            await passes.wait()
    finally:
        sink.close()
