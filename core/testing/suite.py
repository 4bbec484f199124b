"""What the suites share: how a component is made, what holds for every kind, and how a suite is run and reported."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar, Literal, TypeVar
from unittest import SkipTest

from m2m.core.choices import TEST_SECONDS
from m2m.core.errors import M2MError, explain
from m2m.core.plugins import registry
from m2m.core.plugins.isolation import Lost, each
from m2m.core.plugins.kinds import KINDS
from m2m.core.plugins.options import describe, validate

T = TypeVar("T")


class BrokenPromiseError(AssertionError):
    """A promise of the contract that a component does not keep; the message is one sentence."""


def require(kept: bool, otherwise: str) -> None:
    """Raise `BrokenPromiseError` unless a promise is kept."""
    if not kept:
        raise BrokenPromiseError(otherwise)


class Conformance:
    """What holds for components of every kind. A test that does not apply is skipped (unittest.SkipTest).

    name:    the component's, as in its entry point.
    options: what it is set up with; the defaults are what counts most.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    options: ClassVar[Mapping[str, object]] = {}

    @property
    def made_by(self) -> Any:
        """The component's class."""
        return registry.load(self.kind, self.name)

    def test_it_is_found_and_states_its_version(self) -> None:
        """It is found by its name and says which version of the contract it was written for"""
        found = registry.find(self.kind, self.name)
        made_by = self.made_by
        contract = registry.contract(self.kind)
        stated = [c for c in made_by.__mro__ if "API_VERSION" in vars(c) and c is not contract]
        require(
            bool(stated), f"{found.target} states no API_VERSION: write `API_VERSION = {contract.API_VERSION}` in it."
        )
        require(bool(found.summary), f"{found.distribution} has no summary: `description` in its pyproject.toml.")

    def test_options_are_described_and_refused_clearly(self) -> None:
        """Its options have descriptions, and a wrong one is refused with a sentence that names it"""
        model = self.made_by.Options
        nameless = [option.name for option in describe(model) if not option.description]
        require(
            not nameless, f"these options have no description: {', '.join(nameless)}; write Field(description=...)."
        )
        require(
            bool(model.model_config.get("frozen")), f"{model.__name__} is not frozen: derive it from the contract's."
        )
        wrong: dict[str, object] = {"no-such-option": 1}
        try:
            validate(model, {**self.options, **wrong}, self.name)
        except M2MError as error:
            require("no-such-option" in str(error), f"an unknown option is refused without being named: {error}")
        else:
            raise BrokenPromiseError(f"{model.__name__} takes unknown options: derive it from the contract's.")
        known = validate(model, self.options, self.name)
        again = model.model_validate(json.loads(known.model_dump_json()))
        require(again == known, "its options are others after a way through JSON, which is how a file remembers them.")

    def at_once(self, work: Callable[[int], T], times: int = 4) -> list[T]:
        """The results of work(0), work(1), ... done in as many threads at once."""
        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(work, range(times)))


def made(kind: str, name: str, options: Mapping[str, object], *args: Any, **kwargs: Any) -> Any:
    """The component, set up once and kept: its weights may take a while."""
    return _made(kind, name, json.dumps(dict(options), sort_keys=True), args, tuple(sorted(kwargs.items())))


@lru_cache(maxsize=4)
def _made(kind: str, name: str, options: str, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
    return registry.create(kind, name, *args, options=json.loads(options), **dict(kwargs))


@dataclass(frozen=True)
class Check:
    """What became of one test. text: what it is about, or what was found instead."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    text: str
    seconds: float


def check(
    kind: str, name: str, options: Mapping[str, object] | None = None, limit: float = TEST_SECONDS
) -> Iterator[Check]:
    """Run a component's suite in a process of its own, without pytest.

    limit: seconds that a test may take before it is ended and counts as failed. Where the component cannot even be found or
    imported, that is the only result.
    """
    suite = suite_of(kind)
    names = [test for test, _ in inspect.getmembers(suite, inspect.isfunction) if test.startswith("test_")]
    names.sort(key=lambda test: _order(suite, test))
    items = [{"kind": kind, "name": name, "options": dict(options or {}), "test": test} for test in names]
    component = registry.find(kind, name)
    for test, answer in zip(names, each("m2m.core.testing.suite:attempt", items, limit), strict=True):
        title = test.removeprefix("test_")
        if isinstance(answer, Lost):
            yield Check(title, "failed", f"{component} {answer.text}", answer.seconds)
        else:
            yield Check(title, **answer)
        if test == names[0] and (isinstance(answer, Lost) or answer["status"] == "failed"):
            return


def attempt(item: dict[str, Any]) -> dict[str, Any]:
    """Run one test, in the process that `check` has started."""
    made_up = type("Suite", (suite_of(item["kind"]),), {"name": item["name"], "options": item["options"]})
    test = getattr(made_up(), item["test"])
    began = time.perf_counter()
    status, text = "passed", (test.__doc__ or "").strip()
    try:
        with registry.attribute_errors(
            registry.find(item["kind"], item["name"]), passing=(BrokenPromiseError, SkipTest)
        ):
            test()
    except SkipTest as reason:
        status, text = "skipped", str(reason)
    except BrokenPromiseError as error:
        status, text = "failed", str(error)
    except Exception as error:
        status, text = "failed", explain(error)
    return {"status": status, "text": text, "seconds": round(time.perf_counter() - began, 3)}


def suite_of(kind: str) -> type[Conformance]:
    """The suite for a kind of component. Raises M2MError for a kind that has none."""
    suites = {kind.name: kind.suite for kind in KINDS.values() if kind.suite}
    if kind not in suites:
        raise M2MError(f"there is no suite for a {kind}; there are suites for {', '.join(suites)}.")
    module, _, name = suites[kind].partition(":")
    suite: type[Conformance] = getattr(import_module(module), name)
    return suite


def _order(suite: type[Conformance], test: str) -> tuple[int, int]:
    """As they are written: what holds for every kind first."""
    owners = [c for c in reversed(suite.__mro__) if test in vars(c)]
    return suite.__mro__[::-1].index(owners[0]), list(vars(owners[0])).index(test)
