"""What a plugin has promised, checked: the suites that its author runs, and that m2m's own components pass too.

With pytest, three lines (the name is the one in the entry point, so the package must be installed):

    from m2m.core.testing import VocoderConformance

    class TestMyVocoder(VocoderConformance):
        name = "my-vocoder"

Without: `m2m plugins check my-vocoder`. A suite's attributes say what it does and within which tolerance; a subclass may set
them, and add tests of its own.
"""

from m2m.core.testing.conditioner import ConditionerConformance
from m2m.core.testing.encoder import EncoderConformance
from m2m.core.testing.suite import BrokenPromiseError, Check, check, require
from m2m.core.testing.transcriber import TranscriberConformance
from m2m.core.testing.vocoder import VocoderConformance

__all__ = [
    "BrokenPromiseError",
    "Check",
    "ConditionerConformance",
    "EncoderConformance",
    "TranscriberConformance",
    "VocoderConformance",
    "check",
    "require",
]
