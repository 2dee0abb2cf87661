"""What a row of the tables is."""

from __future__ import annotations

from dataclasses import dataclass

from tests.policies import GONE, Raw, change, valid

V1, V2 = "spec.backends[0]", "spec.backends[1]"
MATCH = "spec.routes[0].matches[0]"
NOTHING_OF_GATEWAYS = {"spec.errorFormat": GONE, "spec.accessLog": GONE, "spec.timeouts.deadlineHeader": GONE}
"""Changes after which the valid policy asks for nothing that gateways alone do."""


@dataclass(frozen=True)
class Mistake:
    """Changes to the valid policy that break one rule.

    The model says ``message`` at ``at``.  The API server says the same at ``server_at`` ("": the same place), or, where
    the rule is one of its own kinds, exactly ``server_message``.
    """

    changes: Raw
    at: str
    message: str
    server_at: str = ""
    server_message: str = ""

    def raw(self) -> Raw:
        """Return the policy with the mistake in it."""
        return change(valid(), self.changes)
