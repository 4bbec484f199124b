"""The API against its own OpenAPI description: whatever fits the description, and much that does not, is answered as it says."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings


def as_it_is(_: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()


def test_every_answer_is_as_described(client: httpx.Client) -> None:
    schemathesis = pytest.importorskip(
        "schemathesis", reason="schemathesis is not installed"
    )  # here: it loads for seconds
    schemathesis.serializer("audio/midi")(as_it_is)
    checks = schemathesis.checks
    answers = [
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    for found in schemathesis.openapi.from_url(f"{client.base_url}/api/openapi.json").get_all_operations():

        @settings(max_examples=12, suppress_health_check=list(HealthCheck))
        @given(case=found.ok().as_strategy())
        def one(case: Any) -> None:
            case.call_and_validate(checks=answers, timeout=120)

        one()


def test_the_description_is_whole(client: httpx.Client) -> None:
    described = client.get("/api/openapi.json").json()
    operations = [about for methods in described["paths"].values() for about in methods.values()]
    assert len(operations) >= 14
    for about in operations:
        assert about["summary"]
        assert about["description"].endswith(".")
        assert {"404", "422", "503"} <= about["responses"].keys()
    assert "HTTPValidationError" not in json.dumps(described)  # every failure is a Problem
