"""What `m2m plugins new` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import M2M

from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.plugins.scaffold import EXAMPLE, new_plugin

KINDS = {
    "vocoder": "my-vocoder",
    "conditioner": "my-conditioner",
    "encoder": "my-encoder",
    "transcriber": "my-transcriber",
}


def test_every_file_of_the_example_has_a_place_in_a_new_package(tmp_path: Path) -> None:
    made: set[str] = set()
    for kind, name in KINDS.items():
        folder = new_plugin(name, kind, tmp_path)
        made |= {
            path.relative_to(folder).as_posix().replace(name.replace("-", "_"), "m2m_example")
            for path in folder.rglob("*")
            if path.is_file()
        }
        text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
        assert "xample" not in text
        assert not [other for other in KINDS if other != kind and f"m2m.{other}s" in text]
    litter = ("__pycache__", "build", ".egg-info", ".pytest_cache")
    whole = (p for p in EXAMPLE.rglob("*") if p.is_file() and not any(part.endswith(litter) for part in p.parts))
    assert made == {path.relative_to(EXAMPLE).as_posix() for path in whole}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["My_Vocoder", "--kind", "vocoder"], 1, "small letters, digits and single hyphens"),
        (["../evil", "--kind", "vocoder"], 1, "cannot be a plugin's name"),
        (["json", "--kind", "encoder"], 1, "a Python module that is something else"),
        (["torch", "--kind", "vocoder"], 1, "a Python module that is something else"),
        (["typing-extensions", "--kind", "vocoder"], 1, "a Python module that is something else"),
        (["griffin-lim", "--kind", "vocoder"], 1, "is the name of vocoder 'griffin-lim' of m2m"),
        (["there", "--kind", "vocoder"], 1, "there exists; choose another name"),
        (["mine", "--kind", "vocoder", "-o", "/proc/x"], 1, "cannot make the folder"),
        (["mine"], 2, "Missing option '--kind'"),
    ],
)
def test_a_package_that_cannot_be_written(
    here: M2M, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "work" / "there").mkdir()
    done = here("plugins", "new", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["there"]


def test_a_package_is_written_here(here: M2M, tmp_path: Path) -> None:
    done = here("plugins", "new", "mine", "--kind", "encoder")
    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert (tmp_path / "work" / "mine" / "mine" / "encoder.py").read_text().count("class Mine") == 2
    assert Mel2Mel(Mel2MelConfig(hidden=4))  # nothing of m2m's is hurt
