"""Everything that is wrong with policies in files, by the rules of the API and against each other.

:mod:`aigateway.cli.lint` reads the files.  No cluster is asked: whether a Service exists is for ``aigateway plan``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aigateway.api.administrator import Administrator
from aigateway.api.problems import Rejection
from aigateway.api.reasons import CONFLICTED
from aigateway.api.resolve import load
from aigateway.api.resolved import ResolvedPolicy
from aigateway.cli.manifests import Document, NotReadableError
from aigateway.core.claims import Claim, claims_of

NOT_READABLE = "NotReadable"
REPEATED_KEY = "RepeatedKey"
DUPLICATE = "Duplicate"


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake: where it is, which rule it breaks and what to do (both in ``message``).

    ``reason`` is one word: a reason of the condition Accepted, or one of those above.  ``policy`` is
    ``namespace/name`` and ``field`` a path such as ``spec.hosts``, both empty where they are not known.
    """

    file: str
    line: int
    policy: str
    field: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class LintView:
    """How many policies were checked, and what is wrong, file by file from top to bottom."""

    policies: int
    findings: tuple[Finding, ...]


def check(policies: Sequence[Document], unreadable: Sequence[NotReadableError], default_gateway: str) -> LintView:
    """Return every mistake; ``default_gateway`` stands for the operator's where a policy names none."""
    administrator = Administrator(default_gateway)
    findings = [
        Finding(error.file, error.line, "", "", NOT_READABLE, f"not YAML: {error.message}") for error in unreadable
    ]
    resolved: list[tuple[Document, ResolvedPolicy]] = []
    for document in policies:
        findings += _repeated_keys(document)
        answer = load(document.value, administrator)
        if isinstance(answer, Rejection):
            findings += _problems(document, answer)
        else:
            resolved.append((document, answer))
    findings += [*_duplicates(policies), *_overlaps(resolved)]
    files = list(dict.fromkeys([*(error.file for error in unreadable), *(document.file for document in policies)]))
    return LintView(len(policies), tuple(sorted(findings, key=lambda f: (files.index(f.file), f.line))))


def _problems(document: Document, rejection: Rejection) -> Iterator[Finding]:
    for problem in rejection.problems:
        yield _finding(document, problem.field, str(rejection.reason), problem.message)


def _repeated_keys(document: Document) -> Iterator[Finding]:
    for key, line in document.repeated_keys():
        message = f"the field {key} is there twice and only the last one counts: remove one"
        yield Finding(document.file, line, document.key, "", REPEATED_KEY, message)


def _duplicates(policies: Sequence[Document]) -> Iterator[Finding]:
    first: dict[str, Document] = {}
    for document in policies:
        earlier = first.setdefault(document.key, document)
        if earlier is not document:
            message = (
                f"{earlier.file}:{earlier.line()} has a policy of the same name, and the one that is applied last "
                "replaces the other: rename or remove one"
            )
            yield _finding(document, "metadata.name", DUPLICATE, message)


def _overlaps(policies: Sequence[tuple[Document, ResolvedPolicy]]) -> Iterator[Finding]:
    """Yield each policy that claims what an earlier one in the files claims too."""
    earlier: dict[str, list[tuple[Claim, Document, ResolvedPolicy]]] = {}
    for document, policy in policies:
        claims = sorted(claims_of(policy))
        met: dict[str, tuple[Claim, Document]] = {}
        for claim in claims:
            for other, place, holder in earlier.get(claim.subject, ()):
                if holder.key != policy.key and claim.overlaps(other):
                    met.setdefault(place.key, (claim, place))
        for key, (claim, place) in met.items():
            message = (
                f"{claim} is claimed by {key} ({place.file}:{place.line()}) too, and only the older policy will have "
                "it: give one of them another host, path, Service or workload"
            )
            yield _finding(document, "spec", str(CONFLICTED), message)
        for claim in claims:
            earlier.setdefault(claim.subject, []).append((claim, document, policy))


def _finding(document: Document, field: str, reason: str, message: str) -> Finding:
    return Finding(document.file, document.line(field), document.key, field, reason, message)
