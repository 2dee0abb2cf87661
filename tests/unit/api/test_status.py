"""The shape of a status: what the operator writes fits, and what is not declared would be pruned."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from aigateway.api.status import Status
from tests.policies import change
from tests.statuses import FULL


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="nothing yet"),
        pytest.param(FULL, id="everything"),
        pytest.param({"backends": [{"name": "v1"}]}, id="a backend that nothing is known of"),
    ],
)
def test_a_status_fits(status: dict[str, Any]) -> None:
    """A part that is not known yet is left out, and what is written comes back as it was."""
    read = Status.model_validate(status)

    assert status == read.model_dump(by_alias=True, exclude_none=True, mode="json")


def test_the_full_status_has_every_field() -> None:
    """The status of the tests names every declared field, so that the API server is asked about each."""
    assert {info.alias for info in Status.model_fields.values()} == set(FULL)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"phase": "Ready"}, id="an undeclared field"),
        pytest.param({"conditions[0].status": "true"}, id="a condition that is not True, False or Unknown"),
        pytest.param({"conditions[0].message": "m" * 32_769}, id="a message that is too long"),
        pytest.param({"conditions[1]": FULL["conditions"][0]}, id="a condition twice"),
        pytest.param({"backends[1]": {"name": "v1"}}, id="a backend twice"),
        pytest.param({"backends[0].weight": 101}, id="more than everything"),
        pytest.param({"children[0]": {"kind": "VirtualService"}}, id="a child without a name"),
    ],
)
def test_what_the_api_server_would_not_keep_is_refused(changes: dict[str, Any]) -> None:
    """A mistake in what is written shows in a test and not as a field that is missing in the cluster."""
    with pytest.raises(ValidationError):
        Status.model_validate(change(copy.deepcopy(FULL), changes))
