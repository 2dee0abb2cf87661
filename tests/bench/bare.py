"""The floor: what any operator has to do at the least, in bare aiohttp, without safety, memory or reasons.

It runs as ``python -m tests.bench.bare KUBECONFIG TEMPLATE CONCURRENCY NAMESPACE…``: it lists the policies, watches
them, and on each new generation of one in these namespaces applies one VirtualService and one status, both as the
template has them.  It says ``ready`` on standard output once it watches.  :mod:`tests.bench.site` starts it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

POLICIES = "apis/aigateway.dev/v1alpha1"
ROUTES = "apis/networking.istio.io/v1"


@dataclass(frozen=True)
class Access:
    """Where the apiserver is, and who asks."""

    server: str
    token: str
    authority: str

    def session(self) -> aiohttp.ClientSession:
        """Return a pool of connections that are authenticated."""
        context = ssl.create_default_context(cadata=self.authority)
        connector = aiohttp.TCPConnector(limit=0, ssl=context)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        headers = {"Authorization": f"Bearer {self.token}"}
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers, read_bufsize=2**22)


def read_access(kubeconfig: Path) -> Access:
    """Read a kubeconfig of the stack's: one cluster, one user with a token."""
    found = yaml.safe_load(kubeconfig.read_text())
    cluster = found["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Access(cluster["server"], found["users"][0]["user"]["token"], authority)


@dataclass(frozen=True)
class Template:
    """The VirtualService and the status of one policy as text, and the words in it that are that policy's own."""

    namespace: str
    name: str
    uid: str
    virtual_service: str
    status: str

    def for_policy(self, policy: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the VirtualService and the status patch of another policy."""
        metadata = policy["metadata"]
        both = f"[{self.virtual_service},{self.status}]"
        for mine, theirs in zip((self.name, self.namespace, self.uid), _words(metadata), strict=True):
            both = both.replace(mine, theirs)
        route, status = json.loads(both)
        for target, backend in zip(route["spec"]["http"][-1]["route"], policy["spec"]["backends"], strict=True):
            target["weight"] = backend["weight"]
        return route, {"apiVersion": policy["apiVersion"], "kind": policy["kind"], "status": status}


def _words(metadata: dict[str, Any]) -> tuple[str, str, str]:
    return metadata["name"], metadata["namespace"], metadata["uid"]


class Bare:
    """The program."""

    def __init__(
        self, access: Access, template: Template, namespaces: frozenset[str], session: aiohttp.ClientSession
    ) -> None:
        self._access = access
        self._template = template
        self._namespaces = namespaces
        self._session = session
        self._generations: dict[str, int] = {}
        self._changed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def run(self, concurrency: int) -> None:
        """List, watch and write until the process ends."""
        policies = f"{self._access.server}/{POLICIES}/aigatewaypolicies"
        async with self._session.get(policies) as answer:
            listed = await answer.json()
        for policy in listed["items"]:
            self._note(policy)
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._work())
            params = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
            async with self._session.get(policies, params=params) as stream:
                print("ready", flush=True)
                async for event in _events(stream):
                    if event["type"] in ("ADDED", "MODIFIED") and self._note(event["object"]):
                        self._changed.put_nowait(event["object"])

    def _note(self, policy: dict[str, Any]) -> bool:
        """Whether this generation is new, and ours to write."""
        uid, generation = policy["metadata"]["uid"], int(policy["metadata"]["generation"])
        known = self._generations.get(uid)
        self._generations[uid] = generation
        return known != generation and policy["metadata"]["namespace"] in self._namespaces

    async def _work(self) -> None:
        while True:
            policy = await self._changed.get()
            name, namespace, _ = _words(policy["metadata"])
            route, status = self._template.for_policy(policy)
            await self._apply(f"{ROUTES}/namespaces/{namespace}/virtualservices/{name}-gateway", route)
            await self._apply(f"{POLICIES}/namespaces/{namespace}/aigatewaypolicies/{name}/status", status)

    async def _apply(self, path: str, body: dict[str, Any]) -> None:
        url = f"{self._access.server}/{path}"
        params = {"fieldManager": "bare", "force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        async with self._session.patch(url, params=params, data=json.dumps(body), headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 400:
                print(f"{answer.status} {text.decode()}", file=sys.stderr, flush=True)


async def _events(stream: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.content:
        yield json.loads(line)


async def main(access: Access, template: Template, concurrency: int, namespaces: frozenset[str]) -> None:
    """Run until the process ends."""
    async with access.session() as session:
        await Bare(access, template, namespaces, session).run(concurrency)


if __name__ == "__main__":
    _, kubeconfig, template, concurrency, *namespaces = sys.argv
    words = json.loads(Path(template).read_text())
    asyncio.run(main(read_access(Path(kubeconfig)), Template(**words), int(concurrency), frozenset(namespaces)))
