"""The API's messages as TypeScript, so that a type checker finds where the page's scripts disagree with the server.

python -m m2m.web.typescript > web/messages.d.ts
"""

from __future__ import annotations

import json
import textwrap
from inspect import isclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from m2m.web import messages

HEADER = "// Written by `python -m m2m.web.typescript` from messages.py.\n"
WIDTH = 110  # of a comment's line
SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def declarations() -> str:
    """An interface for each message. A field with a default may be left out of a request, and is in every answer."""
    models = [
        model
        for model in vars(messages).values()
        if isclass(model) and issubclass(model, BaseModel) and model is not BaseModel
    ]
    _, schema = models_json_schema([(model, "validation") for model in models])
    interfaces = [_interface(name, about) for name, about in schema["$defs"].items()]
    return "\n".join([HEADER, *interfaces])


def _interface(name: str, schema: dict[str, Any]) -> str:
    always = schema["properties"] if not name.endswith("Request") else schema.get("required", ())
    lines = _comment(schema["description"], "")
    lines.append(f"export interface {name} {{")
    for field, about in schema["properties"].items():
        lines += _comment(about.get("description", ""), "  ")
        lines.append(f"  {field}{'' if field in always else '?'}: {_type(about)};")
    return "\n".join([*lines, "}", ""])


def _comment(text: str, indent: str) -> list[str]:
    lines = [line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, WIDTH) or [""]]
    if len(lines) < 2:
        return [f"{indent}/** {line} */" for line in lines]
    return [f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */"]


def _type(schema: dict[str, Any]) -> str:
    """A field's type.

    >>> _type({"anyOf": [{"type": "integer"}, {"type": "null"}]})
    'number | null'
    """
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if "prefixItems" in schema:
        return f"[{', '.join(_type(one) for one in schema['prefixItems'])}]"
    if schema["type"] == "array":
        item = _type(schema["items"])
        return f"({item})[]" if " | " in item else f"{item}[]"
    if schema["type"] == "object":
        return f"Record<string, {_type(schema['additionalProperties'])}>"
    return SIMPLE[schema["type"]]


if __name__ == "__main__":
    print(declarations(), end="")
