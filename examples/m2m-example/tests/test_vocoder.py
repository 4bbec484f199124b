import numpy as np
from m2m_example.vocoder import ExampleVocoder

from m2m.core.mel import Mel, MelSpec
from m2m.core.testing import VocoderConformance


class TestContract(VocoderConformance):
    name = "example-vocoder"


def test_level_is_a_factor():
    mel = Mel(np.full((20, 80), -3.0, np.float32), MelSpec())
    soft, loud = (ExampleVocoder(ExampleVocoder.Options(level=level)).synthesize(mel) for level in (0.2, 0.4))
    np.testing.assert_allclose(2 * soft, loud, rtol=1e-5)
