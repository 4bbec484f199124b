"""What the documents name is there: files, links, versions."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import m2m

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(path for pattern in ("*.md", "docs/*.md", "models/*/README.md") for path in ROOT.glob(pattern))
ROOMS: tuple[str, ...] = (
    "core",
    "encoders",
    "conditioners",
    "vocoders",
    "dataset",
    "training",
    "evaluation",
    "web",
    "commands",
)
ROOMS += ("tests", "benches", "docs", "examples", "models")
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


def test_the_version_is_one() -> None:
    changed = re.search(r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert changed
    assert changed[1] == m2m.__version__
    assert f"\nversion: {changed[1]}\n" in cited
    assert f"\ndate-released: {changed[2]}\n" in cited.replace('"', "")
