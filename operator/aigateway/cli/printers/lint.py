"""Findings as lines that editors and people read: ``file:line: policy: field: what is wrong``."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from aigateway.cli.views.lint import Finding, LintView


def lines(view: LintView) -> Iterator[Text]:
    """Yield one line for each finding."""
    for finding in view.findings:
        yield _line(finding)


def summary(view: LintView) -> str:
    """Return the result in a few words."""
    policies = f"{view.policies} {'policy' if view.policies == 1 else 'policies'}"
    if not view.findings:
        return f"{policies}, no problem"
    count = len(view.findings)
    return f"{policies}, {count} {'problem' if count == 1 else 'problems'}"


def _line(finding: Finding) -> Text:
    parts = [part for part in (finding.policy, finding.field, finding.message) if part]
    return Text.assemble((f"{finding.file}:{finding.line}: ", "bold"), ": ".join(parts))
