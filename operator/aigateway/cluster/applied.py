"""What a server-side apply of ours would make of an object, for who wants to know before it is sent.

The command line shows it as the second half of a difference.  It follows the API server's rule for fields: ours are
set, what only we had set and no longer want goes, everything else stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aigateway.cluster.client import JsonObject
from aigateway.cluster.resources import FIELD_MANAGER
from aigateway.core.identity import FINGERPRINT_ANNOTATION
from aigateway.core.observation import Json

Path = tuple[str, ...]


def after_apply(live: Json | None, body: Json) -> JsonObject:
    """Return the object that there would be; ``live`` is what there is now, whole, with managedFields if possible.

    Without managedFields (kubectl hides them) all of the spec counts as ours, unless the same was applied before.
    """
    if live is None:
        return dict(body)
    if "managedFields" in live["metadata"]:
        gone = {path for path in _only_ours(live) if not _has(body, path)}
    elif _fingerprint(live) != _fingerprint(body):
        gone = {("spec", key) for key in live.get("spec") or {} if key not in body["spec"]}
    else:
        gone = set()
    return _merged(_without(live, gone), body)


def _only_ours(live: Json) -> set[Path]:
    """Return the fields that nobody but us has set."""
    entries = [entry for entry in live["metadata"]["managedFields"] if not entry.get("subresource")]
    owned: dict[bool, set[Path]] = {True: set(), False: set()}
    for entry in entries:
        owned[entry.get("manager") == FIELD_MANAGER] |= set(_leaves(entry.get("fieldsV1") or {}))
    return owned[True] - owned[False]


def _leaves(fields: Json, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of a fieldsV1 set; lists are leaves, since those of the kinds in question are atomic."""
    for key, below in fields.items():
        if key.startswith("f:"):
            inner = tuple(_leaves(below, (*path, key[2:])))
            yield from inner or ((*path, key[2:]),)


def _has(body: Any, path: Path) -> bool:  # noqa: ANN401 (any JSON value)
    return not path or (isinstance(body, Mapping) and path[0] in body and _has(body[path[0]], path[1:]))


def _without(value: Json, gone: set[Path]) -> JsonObject:
    """Return an object without some fields, and without the objects that they leave empty."""
    result: JsonObject = {}
    for key, member in value.items():
        below = {path[1:] for path in gone if path[0] == key}
        if () in below:
            continue
        kept = _without(member, below) if below and isinstance(member, Mapping) else member
        if kept or not below:
            result[key] = kept
    return result


def _merged(old: Json, new: Json) -> JsonObject:
    result = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            result[key] = _merged(before, value)
        elif key == "ownerReferences":
            result[key] = [*(item for item in before or () if item not in value), *value]
        else:
            result[key] = value
    return result


def _fingerprint(body: Json) -> object:
    return (body["metadata"].get("annotations") or {}).get(FINGERPRINT_ANNOTATION)
