"""Removes what policies that are no more have left in other namespaces, where the cluster does not do it.

:mod:`aigateway.engine` calls it at the beginning of every pass, also of one over a policy that is gone.
"""

from __future__ import annotations

from aigateway.api.resolved import PolicyKey
from aigateway.cluster.world import World
from aigateway.cluster.writer import Trouble, Writer


async def remove_orphans(world: World, writer: Writer, key: PolicyKey) -> Trouble | None:
    """Delete what an earlier policy of this name has left; return the last trouble with it, None: nothing is left.

    Raises:
        Conflict: an object has changed since it was looked at.
    """
    last = None
    for ref, child in world.orphans(key).items():
        last = await writer.remove_orphan(key, ref, child) or last
    return last
