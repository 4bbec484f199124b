from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from command_line import M2M
from distributions import Install

from m2m.core.errors import M2MDeprecationWarning, M2MError
from m2m.core.plugins import registry


def listed(name: str) -> registry.Component:
    return next(c for c in registry.components() if c.name == name)


def test_built_ins_come_from_the_table() -> None:
    names = {(c.kind, c.name): c for c in registry.components()}
    assert {("encoder", "onsets-frames"), ("conditioner", "film"), ("vocoder", "griffin-lim")} <= names.keys()
    assert names["conditioner", "film"].distribution == "m2m"
    assert names["conditioner", "film"].summary
    assert all((kind, registry.default(kind)) in names for kind in registry.KINDS)


def test_built_ins_load_by_the_same_road() -> None:
    from m2m.conditioners.film import FiLM

    assert registry.load("conditioner", "film") is FiLM
    assert isinstance(registry.create("conditioner", "film", 4, 2), FiLM)


def test_loaded_the_moment_it_is_installed(install: Install) -> None:
    with pytest.raises(M2MError, match="no encoder 'late-comer'"):
        registry.load("encoder", "late-comer")
    install("late-comer")
    assert registry.load("encoder", "late-comer").__name__ == "Encoder"


def test_stevedores_disk_cache_is_never_asked(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    from stevedore import _cache

    monkeypatch.setattr(_cache, "get_group_all", lambda *_: pytest.fail("stale by up to 128 s"))
    install("fresh-one")
    assert registry.load("encoder", "fresh-one")


def test_loading_one_imports_no_other(install: Install) -> None:
    install("wanted")
    install("bystander", "raise SystemExit('imported')")
    registry.load("encoder", "wanted")
    assert "bystander" not in sys.modules


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('two\\nlines \\x1b[31m')", "ValueError: two lines [31m (broken_one.py, line 1; "),
        ("raise AssertionError('no')", "AssertionError: no"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("class Odd(BaseException): ...\nraise Odd('odd')", "Odd: odd"),
        ("class Like(KeyboardInterrupt): ...\nraise Like('like')", "Like: like"),
        ("import not_there_at_all", "No module named 'not_there_at_all'"),
        ("class Worse(Exception):\n    def __str__(self): raise RuntimeError\nraise Worse", "Worse: (no message)"),
        ("this is no Python", "SyntaxError"),
        ("", "has no attribute 'Encoder'"),
    ],
)
def test_broken_at_import_names_the_distribution(install: Install, code: str, said: str) -> None:
    install("broken-one", code, version="2.5")
    with pytest.raises(M2MError) as caught:
        registry.load("encoder", "broken-one")
    assert "encoder 'broken-one' of broken-one 2.5 cannot be imported" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert registry.load("encoder", "onsets-frames")  # and nothing else is hurt


def test_ctrl_c_passes(install: Install) -> None:
    install("slow-one", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry.load("encoder", "slow-one")


def test_print_at_import_stays_off_standard_output(
    install: Install, encoder_code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install("chatty", f"print('hello')\n{encoder_code}")
    registry.load("encoder", "chatty")
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("class Encoder: pass", "is not a subclass of m2m.core.encoder.ScoreEncoder"),
        ("Encoder = 3", "is not a subclass"),
        ("class Encoder(Encoder): API_VERSION = 99", "too new: API version 99, this m2m has 1; upgrade m2m."),
        ("class Encoder(Encoder): API_VERSION = 0", "too old: API version 0, this m2m has 1; upgrade odd-one."),
        ("class Encoder(Encoder): API_VERSION = 'x'", "too old: API version x"),
        ("class Encoder(Encoder): Options = dict", "Options is not a pydantic model"),
        ("class Encoder(ScoreEncoder): pass", "does not define encode, n_features"),
        (
            "class M(type(Encoder)):\n    Options = property(1)\nclass Encoder(Encoder, metaclass=M): pass",
            "cannot be examined: TypeError",
        ),
    ],
)
def test_not_of_the_contract(install: Install, encoder_code: str, change: str, said: str) -> None:
    install("odd-one", f"{encoder_code}\n{change}\n")
    with pytest.raises(M2MError, match="encoder 'odd-one' of odd-one 1.0") as caught:
        registry.load("encoder", "odd-one")
    assert said in str(caught.value)


class TestVersions:
    """docs/plugins.md has the policy."""

    @pytest.fixture
    def version_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An m2m whose encoder contract has moved on, and that still loads the version before."""
        from m2m.core import errors
        from m2m.core.encoder import ScoreEncoder

        monkeypatch.setattr(ScoreEncoder, "API_VERSION", 2)
        monkeypatch.setattr(errors, "_warned", set())

    def test_one_that_states_none_was_written_for_the_first(
        self, install: Install, encoder_code: str, version_two: None
    ) -> None:
        install("unstated", encoder_code)
        with pytest.warns(
            M2MDeprecationWarning, match="unstated 1.0 is written for API version 1, which is deprecated"
        ):
            registry.load("encoder", "unstated")

    def test_the_version_before_warns_once_and_names_what_replaces_it(
        self, install: Install, encoder_code: str, version_two: None
    ) -> None:
        install("ageing", f"{encoder_code}\n    API_VERSION = 1\n")
        with pytest.warns(M2MDeprecationWarning, match="use one for version 2 instead") as caught:
            registry.load("encoder", "ageing")
        registry.load("encoder", "ageing")  # a second warning would be an error
        assert len(caught) == 1

    def test_too_old_and_too_new_are_refused_before_anything_is_made(
        self, install: Install, encoder_code: str, version_two: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from m2m.core.encoder import ScoreEncoder

        monkeypatch.setattr(ScoreEncoder, "API_OLDEST", 2)
        spoiled = f"{encoder_code}\n    def __init__(self, options=None): raise SystemExit('made')\n"
        install("unstated", spoiled)
        install("too-new", f"{spoiled}\n    API_VERSION = 3\n")
        install("just-right", f"{encoder_code}\n    API_VERSION = 2\n")
        with pytest.raises(M2MError, match="unstated 1.0 is too old: API version 1, this m2m has 2; upgrade unstated."):
            registry.create("encoder", "unstated")
        with pytest.raises(M2MError, match="too-new 1.0 is too new: API version 3, this m2m has 2; upgrade m2m."):
            registry.create("encoder", "too-new")
        assert registry.create("encoder", "just-right")

    @pytest.mark.filterwarnings("always")
    def test_the_command_shows_a_line_without_code(
        self, here: M2M, install: Install, encoder_code: str, version_two: None
    ) -> None:
        install("ageing", encoder_code)
        done = here("plugins", "info", "ageing")
        assert done.returncode == 0
        assert done.stderr == (
            "m2m: encoder 'ageing' of ageing 1.0 is written for API version 1, which is deprecated; "
            "use one for version 2 instead.\n"
        )


def test_every_built_in_states_its_version() -> None:
    for component in registry.components():
        if component.distribution == "m2m":
            made_by = registry.load(component.kind, component.name)
            assert any("API_VERSION" in vars(c) for c in made_by.__mro__ if c is not registry.contract(component.kind))


def test_switched_off_by_the_user(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("noisy")
    tmp_path.joinpath("plugins.toml").write_text("[encoders.noisy]\ndisabled = true\n[vocoders.typo]\n")
    monkeypatch.chdir(tmp_path)
    assert listed("noisy").status == "disabled"
    assert listed("typo").status == "missing"
    with pytest.raises(M2MError, match=r"switched off in plugins\.toml"):
        registry.load("encoder", "noisy")


def test_unknown_names_say_what_is_near() -> None:
    with pytest.raises(M2MError, match="did you mean griffin-lim"):
        registry.load("vocoder", "griffinlim")
    with pytest.raises(M2MError, match="there are concat, film"):
        registry.load("conditioner", "zzz")
    with pytest.raises(M2MError, match="no kind of component 'stage'"):
        registry.load("stage", "film")


def test_options_are_merged_and_coerced(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("with-options")
    file = tmp_path / "mine.toml"
    file.write_text("[encoders.with-options.options]\nwidth = 5\nmode = 'user'\n")
    monkeypatch.setenv("M2M_PLUGINS", str(file))
    assert registry.create("encoder", "with-options").options.model_dump() == {"width": 5, "mode": "user"}
    made = registry.create("encoder", "with-options", options={"width": "7"})
    assert made.options.model_dump() == {"width": 7, "mode": "user"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wdith": "7"}, "encoder 'with-options': there is no option 'wdith'"),
        ({"width": "0"}, "option 'width': input should be greater than 0, not '0'"),
        ({"width": "wide"}, "not 'wide'"),
    ],
)
def test_bad_options_list_the_good_ones(install: Install, options: dict[str, str], said: str) -> None:
    install("with-options")
    with pytest.raises(M2MError) as caught:
        registry.create("encoder", "with-options", options=options)
    assert said in str(caught.value)
    assert "(options are width: int = 3, mode: str | None = None)" in str(caught.value)


def test_failure_of_the_constructor_is_the_distributions(install: Install, encoder_code: str) -> None:
    install("falls-over", f"{encoder_code}\n    def __init__(self, options=None): 1 / 0\n")
    with pytest.raises(M2MError, match="of falls-over 1.0 cannot be set up: ZeroDivisionError"):
        registry.create("encoder", "falls-over")


def test_attribute_errors_lets_a_reader_stop_early() -> None:
    def blocks() -> Generator[int]:
        with registry.attribute_errors(listed("film")):
            yield 1
            yield 2

    reading = blocks()
    next(reading)
    reading.close()
