"""Plugins that mean no good: every other command works as before, and the message names the distribution and version at fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pretty_midi
import pytest
from command_line import HANGS, M2M
from distributions import Install

from m2m.core.plugins import doctor, registry

VOCODER = """
import numpy as np
from m2m.core.mel import MelSpec
from m2m.core.vocoder import Vocoder

class Vocoder(Vocoder):
    API_VERSION = 1

    def stream(self, mel, seed):
        {body}
"""
FINE = "yield np.zeros(mel.samples, np.float32)"
AT_IMPORT = {
    "raises": "raise ValueError('no')",
    "asserts": "assert False, 'no'",
    "exits": "raise SystemExit(0)",
    "interrupts": "class Like(KeyboardInterrupt): ...\nraise Like('no')",
    "hangs": "import time; time.sleep(600)",
    "dies": "import os; os._exit(0)",
    "prints": f"import os; print('loud'); os.write(1, b'louder')\n{VOCODER.format(body=FINE)}",
}
AT_WORK = {
    "nan": ("yield np.full(mel.samples, np.nan, np.float32)", "its audio holds NaN or infinite samples"),
    "short": ("yield np.zeros(mel.samples - 1, np.float32)", "samples of a mel of"),
    "long": ("while True: yield np.zeros(1000, np.float32)", "samples of a mel of"),
    "double": ("yield np.zeros(mel.samples)", "float64, (samples,) float32 was wanted"),
    "stereo": ("yield np.zeros((mel.samples, 2), np.float32)", "float32, (samples,) float32 was wanted"),
    "list": ("yield [0.0] * mel.samples", "it yielded list"),
    "nothing": ("return None", "samples of a mel of"),
    "writes": (
        "mel.values[:] = 0; yield np.zeros(mel.samples, np.float32)",
        "failed: ValueError: assignment destination is",
    ),
    "raises": ("yield np.zeros(5, np.float32); raise SystemExit(0)", "failed: SystemExit: 0"),
    "tensor": ("import torch; yield torch.zeros(mel.samples)", "it yielded Tensor"),
}
SPECS = {
    "liar": (
        "mel_spec = MelSpec(fmax=7600.0)",
        "the mel does not fit vocoder 'liar' of liar 6.6: fmax is 8000.0, wanted 7600.0",
    ),
    "odd": (
        "mel_spec = 'the usual'",
        "vocoder 'odd' of odd 6.6 broke its contract: its mel_spec is a str, not a MelSpec",
    ),
    "secretive": (
        "provenance = {'weights': b'0'}",
        "vocoder 'secretive' of secretive 6.6 broke its contract: its provenance is not text by name",
    ),
    "silent": ("provenance = None", "'silent' of silent 6.6 cannot be set up: TypeError"),
    "raising": (
        "mel_spec = property(lambda self: 1 / 0)",
        "'raising' of raising 6.6 cannot be set up: ZeroDivisionError",
    ),
}


Hostile = Callable[[str, str], None]


@pytest.fixture
def hostile(install: Install) -> Hostile:
    """Install a made-up vocoder of a name."""

    def make(name: str, code: str) -> None:
        install(name, code, version="6.6", entries=f"{name} = {name.replace('-', '_')}:Vocoder", group="m2m.vocoders")

    return make


@pytest.fixture
def score(tmp_path: Path) -> Path:
    midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, 60, 0.0, 0.2)]
    midi.instruments.append(piano)
    (tmp_path / "work").mkdir(exist_ok=True)
    midi.write(str(tmp_path / "work" / "a.mid"))
    return tmp_path / "work"


def test_every_other_command_works_beside_them(
    here: M2M, hostile: Hostile, score: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LOAD_SECONDS", HANGS)
    for name, code in AT_IMPORT.items():
        hostile(name, code)
    install("taker", "", entries="griffin-lim-2 = taker:V\nhangs = taker:V", group="m2m.vocoders", version="6.6")
    listed = here("plugins", "list", "--kind", "vocoder")
    assert (listed.returncode, "loud" in listed.stdout) == (0, False)
    assert "hangs 6.6 and taker 6.6" in listed.stdout or "taker 6.6 and hangs 6.6" in listed.stdout
    assert here("render", "a.mid", "-o", "a.wav").returncode == 0
    assert here("timbres").returncode == 0
    # Without the one that has taken a name, and without the one that hangs: the next test is about it.
    monkeypatch.setenv("M2M_LOAD_PLUGINS", ",".join(AT_IMPORT.keys() - {"hangs"}))
    done = here("doctor", "--json")
    assert done.returncode == 1
    found = {row["text"].split("'")[1]: row for row in json.loads(done.stdout) if row["topic"] == "vocoder"}
    assert found["griffin-lim"]["status"] == found["prints"]["status"] == "ok"
    for name in set(AT_IMPORT) - {"prints", "hangs"}:
        assert found[name]["status"] == "broken"
        assert found[name]["text"].startswith(f"vocoder {name!r} of {name} 6.6 ")
    assert found["hangs"]["status"] == "ok"
    assert "is not in M2M_LOAD_PLUGINS" in found["hangs"]["text"]
    assert "ended the whole process" in found["dies"]["text"]


def test_the_doctor_ends_what_hangs_and_goes_on(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOAD_SECONDS", 2.0)
    for name in ("hangs", "raises"):
        hostile(name, AT_IMPORT[name])
    hanging, other = doctor.load_all([registry.find("vocoder", name) for name in ("hangs", "raises")])
    assert hanging.text == "vocoder 'hangs' of hangs 6.6 did not finish within 2 s when it was imported"
    assert hanging.cure == "pip uninstall hangs"
    assert (hanging.status, other.status) == ("broken", "broken")
    assert "vocoder 'raises' of raises 6.6" in other.text


@pytest.mark.parametrize("name", AT_WORK)
def test_what_breaks_the_contract_is_named_and_leaves_nothing(
    here: M2M, hostile: Hostile, score: Path, name: str
) -> None:
    body, said = AT_WORK[name]
    hostile(f"bad-{name}", VOCODER.format(body=f"yield from ()\n        {body}"))
    done = here("render", "a.mid", "--vocoder", f"bad-{name}", "-o", "a.wav")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"vocoder 'bad-{name}' of bad-{name} 6.6 " in done.stderr
    assert said in done.stderr
    assert [path.name for path in score.iterdir()] == ["a.mid"]


@pytest.mark.parametrize("name", SPECS)
def test_what_lies_about_its_mel_is_refused_before_it_runs(here: M2M, hostile: Hostile, score: Path, name: str) -> None:
    line, said = SPECS[name]
    hostile(name, VOCODER.format(body="raise RuntimeError('ran')") + f"    {line}\n")
    done = here("render", "a.mid", "--vocoder", name, "-o", "a.wav")
    assert done.returncode == 1
    assert said in done.stderr
    assert "ran" not in done.stderr.split(said)[1]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "n_features = 3\n    def encode(self, n, r, s, f): return np.full((f, 3), np.nan, np.float32)",
            "roll is of NaN",
        ),
        ("n_features = 3\n    def encode(self, n, r, s, f): return np.zeros((f, 3))", "roll is of float64"),
        ("n_features = 3\n    def encode(self, n, r, s, f): return np.zeros((f, 4), np.float32)", "was wanted"),
        (
            "n_features = property(lambda s: 1 / 0)\n    def encode(self, *a): ...",
            "cannot be set up: ZeroDivisionError",
        ),
    ],
)
def test_an_encoder_that_breaks_its_contract_is_named(install: Install, code: str, said: str) -> None:
    from m2m.core.errors import M2MError
    from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
    from m2m.core.score import note_array

    head = "import numpy as np\nfrom m2m.core.encoder import ScoreEncoder\n\nclass Encoder(ScoreEncoder):\n    API_VERSION = 1\n"
    install("bad-encoder", f"{head}    {code}", version="6.6")
    with pytest.raises(M2MError, match="encoder 'bad-encoder' of bad-encoder 6.6") as caught:
        Mel2Mel(Mel2MelConfig(encoder="bad-encoder", hidden=4)).encode(note_array([]), 0, 5)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "change", ["features * float('nan')", "features.double()", "features[:, :-1]", "None", "1 / 0"]
)
def test_a_conditioner_that_breaks_its_contract_is_named(install: Install, change: str) -> None:
    import torch

    from m2m.core.errors import M2MError
    from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig

    code = (
        "from m2m.core.conditioner import TimbreConditioner\nclass Conditioner(TimbreConditioner):\n    API_VERSION = 1\n"
        f"    def forward(self, features, timbre): return {change}\n"
    )
    entries = "bad-conditioner = bad_conditioner:Conditioner"
    install("bad-conditioner", code, version="6.6", entries=entries, group="m2m.conditioners")
    model = Mel2Mel(Mel2MelConfig(conditioner="bad-conditioner", hidden=4)).eval()
    with pytest.raises(M2MError, match="conditioner 'bad-conditioner' of bad-conditioner 6.6"):
        model(torch.zeros(1, 5, 528), torch.zeros(1, 1, 10))


def test_a_thread_that_is_left_does_not_keep_m2m_from_ending(m2m: M2M, hostile: Hostile, score: Path) -> None:
    leak = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()\n        "
    hostile("leaky", VOCODER.format(body=leak + FINE))
    assert HANGS < 600
    done = m2m("render", "a.mid", "--vocoder", "leaky", "-o", "a.wav")
    assert done.returncode == 0
    assert "vocoder 'leaky' of leaky 6.6 left a thread running" in done.stderr
    assert (score / "a.wav").exists()


def test_the_suite_finds_what_is_wrong(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocoder that passes but for one promise fails that test, and says why; a hanging one is ended."""
    from m2m.core.testing import check

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    body = """
        rng = np.random.default_rng(seed)
        for first in range(0, mel.frames, 50):
            count = min(50, mel.frames - first) * mel.spec.hop_length
            at = first * mel.spec.hop_length + np.arange(count)
            loud = np.exp(mel.values[first : first + 50].max(axis=1)).repeat(mel.spec.hop_length)[:count] - 1e-5
            tone = np.sin(2 * np.pi * 440 * at / mel.spec.sample_rate + rng.uniform())
            yield (0.4 * np.maximum(loud, 0) * tone).astype(np.float32)
    """
    leak = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    hostile("monotone", VOCODER.format(body=f"{leak}{body}"))
    report = {c.name: c for c in check("vocoder", "monotone", limit=HANGS)}
    failed = {name for name, c in report.items() if c.status == "failed"}
    # one phase a block: it clicks, but no promise says that it may not; it plays one pitch, reads all first, and leaves threads
    assert failed >= {"pitch", "no_thread_is_left", "promptness"}
    assert failed - {"it_is_found_and_states_its_version", "batch_equals_single"} == {
        "pitch",
        "no_thread_is_left",
        "promptness",
    }
    assert "a sine of 220.0 Hz came out at 439" in report["pitch"].text
    assert "4 hours of mel were made for the first block" in report["promptness"].text
    assert report["no_thread_is_left"].text == "three renderings left 3 threads running."
    hostile("hangs-at-import", AT_IMPORT["hangs"])
    (only,) = check("vocoder", "hangs-at-import", limit=2.0)
    assert only.status == "failed"
    assert only.text == "vocoder 'hangs-at-import' of hangs-at-import 6.6 did not finish within 2 s"


def test_a_slow_import_says_who_is_at_work(
    install: Install, encoder_code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "PATIENCE", 0.05)
    until_told = "while any(isinstance(t, threading.Timer) for t in threading.enumerate()): time.sleep(0.01)"
    install("slow-one", f"import threading, time\n{until_told}\n{encoder_code}")
    registry.load("encoder", "slow-one")
    assert "still importing encoder 'slow-one' of slow-one 1.0; Ctrl-C stops it" in capsys.readouterr().err


def test_debug_shows_where(here: M2M, hostile: Hostile, score: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile("bad", VOCODER.format(body="1 / 0; yield"))
    monkeypatch.setenv("M2M_DEBUG", "1")
    done = here("render", "a.mid", "--vocoder", "bad")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "bad.py" in done.stderr
