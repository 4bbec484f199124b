"""Docstrings of public functions say what shapes their arrays have, and what they raise.

An array argument has a line `name: (shape) dtype, unit, range`; what is returned has its shape in the sentence. An override
without a docstring has its contract's.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

import m2m
from m2m.core.errors import M2MError

PACKAGE = Path(m2m.__file__).parent
ROOMS = ("core", "commands", "conditioners", "dataset", "encoders", "evaluation", "transcribers", "web")
ARRAY = re.compile(r"\b(NDArray|ndarray|Tensor|Array|ArrayOrTensor)\b")
SHAPE = r"\((?=[^()]*(?:\([^()]*\)[^()]*)*,)(?:[^()]|\([^()]*\))*\)"  # (frames, n_mels), (ceil(samples / hop_length),)
SHAPES = re.compile(rf"{SHAPE}|\(\.\.\.\)|(?:same|any) shape|scalar|shaped like|shape of `")
ITEM = re.compile(r"(?m)^ *`?(\w+(?:, \w+)*)`?: +")  # `name: ...` or `one, other: ...` at the beginning of a line


def modules(room: str) -> list[str]:
    paths = sorted((PACKAGE / room).rglob("*.py"))
    names = (path.relative_to(PACKAGE).with_suffix("").parts for path in paths)
    return [".".join(["m2m", *(part for part in parts if part != "__init__")]) for parts in names]


def functions(room: str) -> Iterator[tuple[str, FunctionType, str]]:
    """Public functions and methods of a room: its place, the function, its docstring or its contract's."""
    for name in modules(room):
        module = import_module(name)
        for key, value in vars(module).items():
            if key.startswith("_") or getattr(value, "__module__", "") != name:
                continue
            if inspect.isclass(value):
                for attribute, member in vars(value).items():
                    function = _function(member)
                    if function and not attribute.startswith("_") and function.__module__ == name:
                        yield f"{name}.{key}.{attribute}", function, inspect.getdoc(getattr(value, attribute)) or ""
            elif function := _function(value):
                yield f"{name}.{key}", function, inspect.getdoc(function) or ""


def _function(value: object) -> FunctionType | None:
    """The plain function of a method, a property, or what a decorator has made of one."""
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "func", value)  # cached_property
    value = inspect.unwrap(getattr(value, "__func__", value))  # type: ignore[arg-type]
    return value if isinstance(value, FunctionType) and value.__name__ != "<lambda>" else None


def raises_m2m_error(function: Callable[..., object]) -> bool:
    """An M2MError is raised in its own body."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):  # a dataclass's generated methods have no source
        return False
    todo: list[ast.AST] = list(tree.body[0].body)  # type: ignore[attr-defined]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Raise) and node.exc and "M2MError" in ast.unparse(node.exc):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)
    return False


def faults(function: Callable[..., object], doc: str) -> list[str]:
    """What a docstring leaves unsaid."""
    hints = {name: str(hint) for name, hint in inspect.get_annotations(function).items()}
    arrays = [name for name, hint in hints.items() if ARRAY.search(hint) and "Callable[" not in hint]
    # [prose, names, text of the item, names, text, ..]; an item ends with the next one or an empty line
    parts = ITEM.split(doc)
    told_of = zip(parts[1::2], parts[2::2], strict=True)
    items = {name: text.split("\n\n")[0] for names, text in told_of for name in names.split(", ")}
    wanted = [name for name in arrays if name != "return"]
    found = [f"no shape of `{name}`" for name in wanted if not SHAPES.search(items.get(name, ""))]
    told = len(SHAPES.findall(doc)) - len({items[name] for name in wanted if name in items})
    if "return" in arrays and told < 1:
        found.append("no shape of what is returned")
    if raises_m2m_error(function) and not re.search(r"\b[Rr]aises?\b", doc):
        found.append("raises M2MError and does not say so")
    return found


def silent(wave: NDArray[np.float32], others: list[Tensor]) -> NDArray[np.float32]:
    """Add up (mono) waves."""
    raise M2MError("no")


def outspoken(wave: NDArray[np.float32], others: list[Tensor]) -> NDArray[np.float32]:
    """Add up waves: (samples,) float32. Raises M2MError where there are none.

    wave: (samples,) float32, -1..1.
    others: each of the same shape.
    """
    raise M2MError("no")


def test_what_is_left_unsaid_is_found() -> None:
    assert faults(silent, silent.__doc__ or "") == [
        "no shape of `wave`",
        "no shape of `others`",
        "no shape of what is returned",
        "raises M2MError and does not say so",
    ]
    assert faults(outspoken, outspoken.__doc__ or "") == []


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_say_shapes_and_what_they_raise(room: str) -> None:
    said = {place: missing for place, function, doc in functions(room) if (missing := faults(function, doc))}
    assert not said, "\n".join(f"{place}: {', '.join(missing)}" for place, missing in said.items())
