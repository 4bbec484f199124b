from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from m2m.core.errors import M2MError
from m2m.core.plugins import settings

ROOT = Path(__file__).parents[3]


Write = Callable[[str], object]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a plugins.toml into the working directory."""
    monkeypatch.chdir(tmp_path)
    return (tmp_path / "plugins.toml").write_text


def test_no_file_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.settings() == settings.Settings()


def test_what_a_file_may_say(write: Write) -> None:
    write('[defaults]\nvocoder = "mine"\n[vocoders.mine.options]\npasses = 3\n[encoders.other]\ndisabled = true\n')
    found = settings.settings()
    assert found.defaults == {"vocoder": "mine"}
    assert found.use("vocoder", "mine").options == {"passes": 3}
    assert found.use("encoder", "other").disabled
    assert not found.use("encoder", "mine").disabled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1", "unknown key 'colour'; known here are defaults, encoders, conditioners, vocoders"),
        (
            "[defaults]\nvocodr = 'x'",
            "unknown key 'defaults.vocodr'; known here are model, encoder, conditioner, vocoder, transcriber, timbre",
        ),
        ("[vocoders.x]\ndisable = true", "unknown key 'vocoders.x.disable'; known here are disabled, options"),
        ("[vocoders.x]\ndisabled = 'perhaps'", "'vocoders.x.disabled'"),
        ("vocoders = 3", "'vocoders'"),
        ("[vocoders]\nx = 3", "'vocoders.x'"),
        ("[defaults]\nvocoder = 3", "'defaults.vocoder'"),
        ("[[[", "is not valid TOML"),
        ("x = " + "[" * 5000, "is not valid TOML"),
    ],
)
def test_what_it_may_not(write: Write, text: str, said: str) -> None:
    write(text)
    with pytest.raises(M2MError) as caught:
        settings.settings()
    assert said in str(caught.value)
    assert "plugins.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted(settings.CODE_KEYS))
def test_it_cannot_name_code(write: Write, key: str) -> None:
    write(f"[vocoders.x]\n{key} = 'os:system'\n")
    with pytest.raises(M2MError, match=f"'{key}' under .vocoders.x. would name code"):
        settings.settings()


def test_a_table_of_built_ins_in_the_working_directory_means_nothing(write: Write) -> None:
    write("built-in = true\n[defaults]\nvocoder = 'evil'\n[vocoders.evil]\nclass = 'evil:Evil'\n")
    assert settings.settings() == settings.Settings()


def test_the_checkout_is_no_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert settings.settings() == settings.Settings()


def test_naming_the_built_in_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2M_PLUGINS", str(ROOT / "plugins.toml"))
    with pytest.raises(M2MError, match="m2m's own table"):
        settings.settings()


def test_the_environment_comes_first(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("[defaults]\nvocoder = 'here'\n")
    other = tmp_path / "other.toml"
    other.write_text("[defaults]\nvocoder = 'there'\n")
    monkeypatch.setenv("M2M_PLUGINS", str(other))
    assert settings.settings().defaults["vocoder"] == "there"
    monkeypatch.setenv("M2M_PLUGINS", "")
    assert settings.settings() == settings.Settings()
    monkeypatch.setenv("M2M_PLUGINS", str(tmp_path / "nowhere.toml"))
    with pytest.raises(M2MError, match="is not a file"):
        settings.settings()


def test_odd_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("plugins.toml")  # reading it would hang
    assert settings.settings() == settings.Settings()
    Path("plugins.toml").unlink()
    Path("plugins.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(M2MError, match="not valid TOML"):
        settings.settings()
    Path("plugins.toml").write_bytes(b"a." * 30_000 + b"a = 1")  # tomllib would take seconds for each command
    with pytest.raises(M2MError, match="has more than 4,000 dots"):
        settings.settings()
    Path("plugins.toml").write_bytes(b"a = " + b"[" * 5_000)
    with pytest.raises(M2MError, match="not valid TOML"):
        settings.settings()
    Path("plugins.toml").write_bytes(b"#" * (settings.MAX_BYTES + 1))
    with pytest.raises(M2MError, match="are the most for a plugins.toml"):
        settings.settings()
