"""The operator with one handle more: SIGUSR1 ends kopf's watch of policies, as a fault inside it would.

Started by tests as ``python -m tests.integration.restartable_operator run …``.
"""

from __future__ import annotations

import asyncio
import signal

from aigateway.cli import run
from aigateway.cli.main import main
from aigateway.process import Operator


class RestartableOperator(Operator):
    """The operator, listening to SIGUSR1."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.policies.restart)
        await super().run(stop)


if __name__ == "__main__":
    run.Operator = RestartableOperator  # type: ignore[attr-defined]
    main()
