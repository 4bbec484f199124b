"""Random numbers against published ones, draws against their distributions."""

import numpy as np
import pytest

from m2m.vocoders.shared.philox import philox, uniforms
from m2m.vocoders.wavenet.sampling import draw, draw_class


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_authors_test_vectors(counter: str, key: str, words: str) -> None:
    """Random123's kat_vectors."""
    given, low_high, wanted = ([int(word, 16) for word in text.split()] for text in (counter, key, words))
    assert philox(np.array(given), (low_high[0], low_high[1])).tolist() == wanted


def test_uniforms_are_a_function_of_seed_stream_and_sample() -> None:
    seed, late = (7 << 32) | 5, (1 << 32) + 3
    u = uniforms(seed, np.array([4, 9]), late, 2)
    assert u.shape == (2, 2, 2)
    assert u.dtype == np.float32
    for at, stream in np.ndindex(2, 2):
        words = philox(np.array([3 + at, 1, [4, 9][stream], 0]), (5, 7))[:2]
        assert u[at, stream].tolist() == [float(np.float32((int(w) >> 8) + 0.5) * np.float32(2**-24)) for w in words]


def test_uniforms_are_uniform() -> None:
    u = uniforms(0, np.arange(20), 0, 5000).reshape(-1, 2)
    counts = np.histogram2d(u[:, 0], u[:, 1], bins=10, range=[[0, 1], [0, 1]])[0]
    assert np.abs(counts - 1000).max() < 5 * 1000**0.5


def test_classes_come_as_often_as_they_should() -> None:
    logits = np.array([0.0, 2.0, -1.0, 1.0], np.float32)
    u = uniforms(1, np.arange(1), 0, 40_000)[:, 0]
    for temperature in (1.0, 0.5):
        drawn = draw(np.tile(logits, (len(u), 1)), u, "mulaw", temperature)
        p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        assert np.abs(np.bincount(drawn, minlength=4) / len(u) - p).max() < 0.01


def test_a_class_is_the_first_up_to_which_probabilities_exceed_u() -> None:
    logits = np.log(np.array([[0.25, 0.5, 0.25]], np.float32))
    one = np.float32(1)
    for u, wanted in ((1e-8, 0), (0.2, 0), (0.26, 1), (0.74, 1), (0.76, 2), (1.0, 2)):
        assert draw_class(logits, np.array([u], np.float32), one).tolist() == [wanted]
    assert draw_class(logits, np.array([0.99], np.float32), np.float32(0)).tolist() == [1]


def test_a_gaussian_has_its_mean_and_deviation() -> None:
    u = uniforms(2, np.arange(1), 0, 40_000)[:, 0]
    outputs = np.tile(np.array([0.2, np.log(0.1)]), (len(u), 1))
    for temperature in (1.0, 0.5):
        drawn = draw(outputs, u, "gaussian", temperature)
        assert drawn.dtype == np.float32
        assert abs(drawn.mean() - 0.2) < 0.002
        assert abs(drawn.std() - 0.1 * temperature) < 0.002
    assert (draw(outputs, u, "gaussian", 0.0) == np.float32(0.2)).all()


def test_a_mixture_of_logistics_has_its_distribution() -> None:
    """The share of samples below a level is the mixture's, by the logistic function."""
    u = uniforms(3, np.arange(1), 0, 40_000)[:, 0]
    weights, means, scales = np.array([0.3, 0.7]), np.array([-0.4, 0.3]), np.array([0.02, 0.05])
    outputs = np.tile(np.concatenate([np.log(weights), means, np.log(scales)]), (len(u), 1))
    drawn = draw(outputs, u, "mol", 1.0)
    for level in (-0.5, -0.4, -0.3, 0.0, 0.3, 0.5):
        wanted = (weights / (1 + np.exp(-(level - means) / scales))).sum()
        assert abs((drawn < level).mean() - wanted) < 0.01
    assert (draw(outputs, u, "mol", 0.0) == np.float32(0.3)).all()
    assert draw(outputs[:1], np.array([[0.5, 1.0]], np.float32), "mol", 1.0).tolist() == [1.0]  # u = 1: clipped
