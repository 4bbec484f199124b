"""Words that select tracks."""

import pytest

from m2m.core.errors import M2MError
from m2m.core.score import Score, Track, constant, note_array
from m2m.core.track_selection import select

NOTES = note_array([(0.0, 1.0, 60, 90)])
SCORE = Score(
    (
        Track("Piano", 0, False, NOTES, constant(1.0)),
        Track("Bass, Double Bass", 32, False, NOTES, constant(1.0)),
        Track("Kit", 0, True, NOTES, constant(1.0)),
        Track("", 32, False, NOTES, constant(1.0)),
    )
)


def test_by_program_number_and_name() -> None:
    assert select(SCORE, {32: "a"}) == {2: "a", 4: "a"}
    assert select(SCORE, {"32": "a", "track:4": "b"}) == {2: "a", 4: "b"}
    assert select(SCORE, {"name:double bass": "c"}) == {2: "c"}
    assert select(SCORE, {"name:Bass, Double Bass": "c"}) == {2: "c"}
    assert select(SCORE, {"track:2": "d", 32: "a"}) == {2: "d", 4: "a"}  # a track goes before its program
    assert select(SCORE, {0: "e"}) == {1: "e"}  # a drum kit is no program


def test_a_word_that_selects_nothing_here_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert select(SCORE, {"track:9": "a", "name:flute": "b", 5: "c"}) == {}
    told = capsys.readouterr().err
    for words in ("track 9", "name flute", "program 5"):
        assert words in told


@pytest.mark.parametrize("word", ["128", "-1", "track:0", "track:x", "name:", "bass", "track:", "1.5", 128, "part:2"])
def test_words_that_are_none(word: object) -> None:
    with pytest.raises(M2MError, match="selects no track"):
        select(SCORE, {word: "a"})  # type: ignore[dict-item]
