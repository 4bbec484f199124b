"""The documentation's generated parts are as the code has them."""

import importlib.util
from pathlib import Path

import pytest
from click import ClickException
from click.testing import CliRunner

SCRIPT = Path(__file__).parents[2] / "docs" / "generate.py"
spec = importlib.util.spec_from_file_location("generate", SCRIPT)
assert spec
assert spec.loader
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


def test_nothing_is_stale() -> None:
    found = CliRunner().invoke(generate.main, ["--check"])
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("name", list(generate.PARTS))
def test_what_was_edited_by_hand_is_written_anew(name: str) -> None:
    text = f"before\n<!-- generated: {name} -->\nby hand\n<!-- end -->\nafter"
    fresh, stale = generate.written_anew(text)
    assert stale == [name]
    assert "by hand" not in fresh
    assert fresh.startswith(f"before\n<!-- generated: {name} -->\n")
    assert fresh.endswith("\n<!-- end -->\nafter")
    assert generate.written_anew(fresh) == (fresh, [])


def test_a_part_that_is_stale_fails_the_check_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("nothing generated")
    (tmp_path / "docs" / "a.md").write_text("<!-- generated: kinds -->\nold\n<!-- end -->")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    found = CliRunner().invoke(generate.main, ["--check"])
    assert found.exit_code == 1
    assert "stale: docs/a.md (kinds)" in found.output
    assert "old" in (tmp_path / "docs" / "a.md").read_text()
    assert CliRunner().invoke(generate.main).exit_code == 0
    assert CliRunner().invoke(generate.main, ["--check"]).exit_code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!-- generated: kinds -->\nold", "has no <!-- end -->"),
        ("<!-- generated: kin -->\n<!-- end -->", "there is no part 'kin'"),
    ],
)
def test_a_part_that_cannot_be_written_is_refused(text: str, words: str) -> None:
    with pytest.raises(ClickException, match=words):
        generate.written_anew(text)
