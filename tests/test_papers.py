"""What the documents name is there: files, links, versions."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import m2m

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(path for pattern in ("*.md", "docs/*.md", "models/*/README.md") for path in ROOT.glob(pattern))
PACKAGE = (
    "core",
    "encoders",
    "conditioners",
    "vocoders",
    "transcribers",
    "dataset",
    "training",
    "evaluation",
    "web",
    "commands",
)
ROOMS = (*PACKAGE, "tests", "benches", "docs", "examples", "models")
PATH = re.compile(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+|[\w-]+\.(?:py|toml|md|cff|txt))`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[\w-]*)?\)")
OURS = ("plugins.toml", "setup.py", "cli.py", "pyproject.toml", "constraints.txt")  # others may be a reader's own


def named(document: Path) -> Iterator[Path]:
    """The paths that a document speaks of; the changelog's may be of files that are gone."""
    text = document.read_text(encoding="utf-8")
    for name in () if document.name == "CHANGELOG.md" else PATH.findall(text):
        if "/" in name or name in OURS:
            yield ROOT / name
    for name in LINK.findall(text):
        yield document.parent / name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(document: Path) -> None:
    assert [str(path.relative_to(ROOT)) for path in named(document) if not path.exists()] == []


def test_documents_name_files_at_all() -> None:
    assert len(list(named(ROOT / "CONTRIBUTING.md"))) > 50


def test_every_module_of_weight_is_named() -> None:
    """In CONTRIBUTING.md, which says what is changed where, or among the files of docs/architecture.md."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "docs/architecture.md"))
    modules = [path for room in PACKAGE for path in (ROOT / room).rglob("*.py")]
    assert len(modules) > 100
    heavy = [path for path in modules if len(path.read_text(encoding="utf-8").splitlines()) > 60]
    assert [str(path.relative_to(ROOT)) for path in heavy if f"`{path.relative_to(ROOT)}`" not in text] == []


def test_the_version_is_one() -> None:
    changed = re.search(r"^## (\d.+?) - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert changed
    assert changed[1] == m2m.__version__
    assert f"\nversion: {changed[1]}\n" in cited
    assert f"\ndate-released: {changed[2]}\n" in cited.replace('"', "")
