"""``aigateway crd``: the definition from the package alone."""

from __future__ import annotations

import json

import yaml
from click.testing import CliRunner

from aigateway.api.crd import custom_resource_definition
from aigateway.cli.crd import crd


def test_prints_the_definition() -> None:
    """The text is what could be applied: the definition that the models give."""
    result = CliRunner().invoke(crd)

    assert 0 == result.exit_code
    assert custom_resource_definition() == yaml.safe_load(result.stdout)


def test_prints_json() -> None:
    """JSON holds the same object."""
    result = CliRunner().invoke(crd, ["-o", "json"])

    assert custom_resource_definition() == json.loads(result.stdout)
