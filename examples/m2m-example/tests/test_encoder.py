from m2m_example.encoder import ExampleEncoder

from m2m.core.score import note_array
from m2m.core.testing import EncoderConformance


class TestContract(EncoderConformance):
    name = "example-encoder"


def test_a_key_is_on_while_it_sounds():
    roll = ExampleEncoder().encode(note_array([(0.02, 0.04, 60, 127)]), 100, 0, 6)
    assert roll[:, 60 - 21].tolist() == [0, 0, 1, 1, 0, 0]
    assert roll.sum() == 2
