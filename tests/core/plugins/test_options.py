from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from m2m.core.errors import M2MError
from m2m.core.plugins.options import describe, validate


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    must: int
    mode: Literal["fast", "exact"] = "fast"
    loud: bool = False
    sizes: list[int] = Field(default_factory=lambda: [512], description="FFT sizes")
    level: float | None = None
    small: Annotated[int, Field(le=9)] = 1


def test_strings_become_what_is_wanted() -> None:
    given = {"must": "3", "loud": "true", "sizes": "[256, 512]", "level": "null", "mode": "exact"}
    made = validate(Options, given, "x")
    assert made == Options(must=3, loud=True, sizes=[256, 512], level=None, mode="exact")


def test_description() -> None:
    assert [str(o) for o in describe(Options)] == [
        "must: int",
        "mode: 'fast' | 'exact' = fast",
        "loud: bool = False",
        "sizes: list[int] = [512]",
        "level: float | None = None",
        "small: int = 1",
    ]
    assert describe(Options)[3].description == "FFT sizes"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "x: option 'must' must be given"),
        ({"must": "1", "mode": "slow"}, "option 'mode': input should be 'fast' or 'exact', not 'slow'"),
        ({"must": "1", "sizes": "512"}, "option 'sizes'"),
        ({"must": "1", "small": 10}, "option 'small'"),
        ({"must": "1", "what": "2"}, "there is no option 'what'"),
    ],
)
def test_one_sentence(given: dict[str, int | str] | dict[str, object] | dict[str, str], said: str) -> None:
    with pytest.raises(M2MError) as caught:
        validate(Options, given, "x")
    assert said in str(caught.value)
    assert "options are must: int, mode: 'fast' | 'exact' = fast" in str(caught.value)
    assert "\n" not in str(caught.value)
