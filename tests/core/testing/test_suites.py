from m2m.core.testing import ConditionerConformance, EncoderConformance, TranscriberConformance, VocoderConformance


class TestGriffinLim(VocoderConformance):
    name = "griffin-lim"


class TestOnsetsFrames(EncoderConformance):
    name = "onsets-frames"


class TestOnsetsFramesDecay(EncoderConformance):
    name = "onsets-frames-decay"


class TestFiLM(ConditionerConformance):
    name = "film"


class TestConcat(ConditionerConformance):
    name = "concat"


class TestOnsetsFramesTranscriber(TranscriberConformance):
    name = "onsets-frames"
