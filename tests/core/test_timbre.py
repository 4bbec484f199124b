import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m.core.errors import M2MError
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
        ("@1,2,1e30", "3 numbers"),
        ("map@1", "2 numbers"),
        ("map@1,2,3", "2 numbers"),
        ("0:piano; 0:organ", "rise"),
        ("0:piano; organ", "seconds:timbre"),
        ("0:piano; 4:zither", "there are piano"),
        ("0:piano:0.5,organ:0.5", "stands ';'"),
        (";", "start at 0"),
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


@given(st.text(alphabet="@map;:,.0123456789- organtrumpeti", max_size=30))
def test_anything_like_a_timbre_is_one_or_one_error(text: str) -> None:
    with contextlib.suppress(M2MError):
        assert np.isfinite(SPACE.parse(text).curve(3, 1.0)).all()


def test_a_path_leads_through_points_written_in_any_way() -> None:
    path = SPACE.parse("0:organ:3,trumpet:1; 2:@0,1,0; 6:map@0,0;")
    assert path.seconds.tolist() == [0, 2, 6]
    assert path.points[:2].tolist() == [[0, 0.75, 0.25], [0, 1, 0]]
    assert np.array_equal(path.points[2], SPACE.parse("map@0,0").points[0])


POINTS = st.integers(2, 6).flatmap(
    lambda dims: st.lists(
        st.lists(st.integers(-5, 5), min_size=dims, max_size=dims), min_size=2, max_size=8, unique_by=tuple
    )
)


@given(POINTS)
def test_the_map_holds_every_instrument_where_it_shows_it(points: list[list[int]]) -> None:
    space = TimbreSpace({str(i): i for i in range(len(points))}, np.array(points, np.float32))
    plane = space.plane()
    apart = np.linalg.norm(plane[:, None] - plane, axis=-1) + 9.0 * np.eye(len(points))
    alone = apart.min(axis=1) > 0.1  # two at one place of the map share it
    assert np.allclose(space.lift(plane)[alone], space.points[alone], atol=0.05)
    assert np.isfinite(space.lift(np.array([[1e5, -1e5], [0, 0]]))).all()


def test_in_two_dimensions_the_map_is_the_space() -> None:
    space = TimbreSpace({"a": 0, "b": 1, "c": 2}, np.array([[0, 0], [3, 4], [6, 8.1]], np.float32))
    corners = space.lift(np.array([[0, 0], [1, 0], [0, 1]]))
    assert np.linalg.norm(corners[1] - corners[0]) == pytest.approx(1.0, rel=1e-5)
    assert (corners[1] - corners[0]) @ (corners[2] - corners[0]) == pytest.approx(0.0, abs=1e-5)


def test_the_maps_axes_have_a_sign_of_their_own() -> None:
    points = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    names = {str(i): i for i in range(6)}
    turned = TimbreSpace(names, points[::-1].copy()).plane()[::-1]
    assert np.allclose(TimbreSpace(names, points).plane(), turned, atol=1e-5)
