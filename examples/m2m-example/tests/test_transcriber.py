import numpy as np
from m2m_example.transcriber import RATE, ExampleTranscriber

from m2m.core.testing import TranscriberConformance


class TestContract(TranscriberConformance):
    name = "example-transcriber"


def test_a_harmonic_tone_is_its_key():
    time = np.arange(2 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 220 * n * time) / n for n in range(1, 6)).astype(np.float32)
    tone[:RATE] = 0
    ((start, end, key, _),) = ExampleTranscriber().transcribe(tone / 4, RATE).tolist()
    assert key == 57
    assert abs(start - 1) < 0.05
    assert abs(end - 2) < 0.05
