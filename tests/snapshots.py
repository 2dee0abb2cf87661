"""Texts that a test compares with a file; ``UPDATE_GOLDEN=1`` writes the file, and a person reviews the difference."""

from __future__ import annotations

import os
from pathlib import Path


def check_text(file: Path, text: str) -> None:
    """Compare a text with a file, or write the file when asked to."""
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == text
