import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m.core.errors import M2MError
from m2m.core.instruments import REFERENCE, nearest_instrument, program_name
from m2m.core.timbre import TimbreSpace

SPACE = TimbreSpace({"piano": 0, "organ": 19, "trumpet": 56}, np.eye(3, dtype=np.float32))


def test_a_name_is_its_point() -> None:
    assert SPACE.parse("organ").curve(10, 125.0).tolist() == [0, 1, 0]


def test_weights_are_normalised() -> None:
    assert SPACE.parse("organ:2, trumpet:6").points[0].tolist() == [0, 0.25, 0.75]


def test_a_path_goes_straight_and_stays_at_its_ends() -> None:
    curve = SPACE.parse("1:piano,3:organ").curve(frames=5, frame_rate=1.0)
    assert curve[:, 1].tolist() == [0, 0, 0.5, 1, 1]
    assert np.allclose(curve.sum(axis=1), 1)


def test_coordinates() -> None:
    assert SPACE.parse("@0.5,-1,2").points[0].tolist() == [0.5, -1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trumpt", "did you mean trumpet"),
        ("zither", "there are piano, organ, trumpet"),
        ("trumpet:x,organ:1", "weights"),
        ("trumpet:-1,organ:2", "weights"),
        ("trumpet:0,organ:0", "weights"),
        ("trumpet:nan", "weights"),
        ("trumpet,organ", "every part needs a number"),
        ("5:trumpet,5:organ", "rise"),
        ("-1:trumpet,5:organ", "start at 0"),
        ("@1,2", "3 numbers"),
        ("@1,2,x", "3 numbers"),
        ("", "no timbre"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(M2MError, match=words):
        SPACE.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_a_timbre_or_one_error(text: str) -> None:
    with contextlib.suppress(M2MError):
        assert np.isfinite(SPACE.parse(text).points).all()


def test_the_plane_keeps_distances_that_fit_on_it() -> None:
    plane = TimbreSpace({"a": 0, "b": 1, "c": 2}, np.array([[0, 0], [3, 4], [6, 8.1]], np.float32)).plane()
    assert np.linalg.norm(plane[0] - plane[1]) == pytest.approx(5.0)
    assert TimbreSpace({"a": 0, "b": 1}, np.array([[0], [2]], np.float32)).plane().shape == (2, 2)


def test_every_program_finds_a_trained_instrument() -> None:
    trained = {name: program for program, name in REFERENCE.items()}
    spoken = [nearest_instrument(program, trained) for program in range(128)]
    assert [spoken[program] for program in trained.values()] == list(trained)
    assert spoken[40] == "string-ensemble"
    assert spoken[73] == "church-organ"
    assert len({program_name(program) for program in range(128)}) == 128


def test_a_model_without_the_tables_instrument_takes_the_nearest_program() -> None:
    assert nearest_instrument(40, {"flute": 73, "cello": 42}) == "cello"
