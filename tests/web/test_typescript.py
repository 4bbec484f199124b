"""The page's scripts and the server mean the same messages."""

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="m2m[web] is not installed")

from m2m.web.typescript import declarations

DECLARED = Path(__file__).parents[2] / "web" / "messages.d.ts"


def test_the_declarations_are_those_of_the_messages() -> None:
    assert DECLARED.read_text(encoding="utf-8") == declarations(), (
        "run: python -m m2m.web.typescript > web/messages.d.ts"
    )


def test_what_a_request_may_leave_out_is_optional_and_an_answer_has_every_field() -> None:
    text = declarations()
    request = text.partition("interface JobRequest {")[2].partition("}")[0]
    assert "\n  score: string;" in request
    assert "\n  timbre?: string | null;" in request
    answer = text.partition("interface JobInfo {")[2].partition("}")[0]
    assert "\n  timbre: string | null;" in answer
    assert "?:" not in answer
