"""Whole runs of the command, in a process of their own."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from command_line import HANGS, M2M
from distributions import Install

from m2m.core.checkpoint import save_model
from m2m.vocoders.parallel_wavenet.cpu.engine import available
from m2m.vocoders.parallel_wavenet.network import KIND, Student, StudentConfig
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION

FILM = ("--conditioner", "film")  # which is read and rendered in half the time of the default model


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder in which the command runs, with two scores in it."""
    (tmp_path / "work").mkdir()
    for name, programs in (("solo", [0]), ("duo", [73, 40])):
        midi = pretty_midi.PrettyMIDI()
        for program in programs:
            instrument = pretty_midi.Instrument(program, name=f"Voice {program}")
            instrument.notes = [pretty_midi.Note(90, 60 + 4 * i, 0.3 * i, 0.3 * i + 0.3) for i in range(4)]
            midi.instruments.append(instrument)
        drums = pretty_midi.Instrument(0, is_drum=True)
        drums.notes = [pretty_midi.Note(90, 38, 0.0, 0.1)] * (name == "duo")
        midi.instruments.append(drums)
        midi.write(str(tmp_path / "work" / f"{name}.mid"))
    return tmp_path / "work"


def test_one_score(work: Path, here: M2M) -> None:
    done = here("render", "solo.mid", "--timbre", "trumpet:0.7,church-organ:0.3", "-o", "out/a.flac")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "solo.mid -> out/a.flac (3.2 s)\n"
    assert soundfile.info(work / "out/a.flac").samplerate == 16_000
    again = here("render", "solo.mid", "-o", "out/a.flac")
    assert again.returncode == 1
    assert "out/a.flac exists; overwrite it with -y" in again.stderr
    assert here("rerender", "out/a.flac").stdout == "the same samples\n"


def test_the_student_of_wavenet_by_name(work: Path, here: M2M) -> None:
    """From the score to a file and again from its tags; the notice of its weights is said once."""
    torch.manual_seed(0)
    config = StudentConfig(flows=(2, 2), residual=16, skip=16, excitation=EXCITATION_VERSION)
    save_model(work / "student", KIND, config, Student(config), "")
    about = json.loads((work / "student/config.json").read_text())
    (work / "student/config.json").write_text(
        json.dumps(about | {"notice": "early weights, far from griffin-lim's sound"})
    )
    shared = ["--vocoder", "parallel-wavenet", "--vocoder-opt", "model=student", "--seed", "7"]
    done = here("render", "solo.mid", *shared, "-o", "a.flac")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    if not available():  # no C++ compiler at installation, which is said first
        assert "in plain PyTorch" in said.pop(0)
    assert said == [
        "parallel-wavenet: early weights, far from griffin-lim's sound",
        "solo.mid -> a.flac (3.2 s)",
    ]
    assert here("rerender", "a.flac").stdout == "the same samples\n"
    assert "parallel-wavenet" in here("plugins", "info", "parallel-wavenet").stdout


def test_several_scores_with_a_bad_one_among_them(work: Path, here: M2M) -> None:
    (work / "bad.mid").write_bytes(b"MThd nonsense")
    template = "r/{stem}-{timbre}-{vocoder}.wav"
    done = here(*("render", "solo.mid", "bad.mid", "duo.mid", "-o", template, "--jobs", "2", "--json", *FILM))
    assert done.returncode == 1
    assert sorted(p.name for p in (work / "r").iterdir()) == ["duo-own-griffin-lim.wav", "solo-own-griffin-lim.wav"]
    solo, bad, duo = json.loads(done.stdout)
    assert solo["error"] == duo["error"] == ""
    assert "damaged MIDI file" in bad["error"]
    assert [(o["kind"], o["count"]) for o in duo["omissions"]] == [("drums", 1)]
    assert "duo.mid: drum notes left out, since the model has no drums: 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_in_another_process_makes_the_same_samples(work: Path, here: M2M) -> None:
    assert here("render", "solo.mid", "duo.mid", *FILM, "-o", "one-{stem}.wav").returncode == 0
    assert here("render", "solo.mid", "duo.mid", *FILM, "-o", "two-{stem}.wav", "-j", "2").returncode == 0
    for name in ("solo", "duo"):
        one, two = (soundfile.read(work / f"{run}-{name}.wav")[0] for run in ("one", "two"))
        assert np.abs(one - two).max() < 1e-3  # another number of threads may sum in another order


def test_standard_output_is_a_wav(work: Path) -> None:
    command = [sys.executable, "-m", "m2m", "render", "solo.mid", *FILM, "-o", "-"]
    # Under CI=..., pyfluidsynth, which pretty_midi imports, prints where it found its library.
    done = subprocess.run(command, cwd=work, capture_output=True, timeout=HANGS, env=os.environ | {"CI": "true"})
    assert done.returncode == 0
    assert done.stdout[:4] == b"RIFF"


def test_a_panned_score_is_stereo_unless_mono_is_wanted(work: Path, here: M2M) -> None:
    midi = pretty_midi.PrettyMIDI(str(work / "duo.mid"))
    midi.instruments[0].control_changes = [pretty_midi.ControlChange(10, 0, 0.0)]
    midi.write(str(work / "panned.mid"))
    arguments = ("render", "panned.mid", "--stems", "-o")
    assert here(*arguments, "s.flac").returncode == 0
    stems = sorted(path.name for path in work.glob("s*.flac"))
    assert len(stems) == 4
    assert all(soundfile.info(work / stem).channels == 2 for stem in stems)
    assert here(*arguments, "m.wav", "--channels", "1").returncode == 0
    assert soundfile.info(work / "m.wav").channels == 1
    assert "is not one of '1', '2'" in here(*arguments, "t.wav", "--channels", "3").stderr
    command = [sys.executable, "-m", "m2m", "render", "solo.mid", *FILM, "--channels", "2", "-o", "-"]
    done = subprocess.run(command, cwd=work, capture_output=True, timeout=HANGS)
    assert soundfile.info(io.BytesIO(done.stdout)).channels == 2


def test_a_reader_that_has_had_enough_and_a_disk_that_is_full_are_no_bugs(work: Path) -> None:
    for command, words in (
        ("-o - | true", ""),
        ("-o - > /dev/full", "m2m: error: solo.mid: cannot write to standard output: No space left"),
    ):
        done = subprocess.run(
            f"{sys.executable} -m m2m render solo.mid --conditioner film {command}",
            shell=True,
            cwd=work,
            capture_output=True,
            text=True,
        )
        assert done.stderr.startswith(words)
        assert done.stderr.count("\n") == bool(words)


def test_what_stems_would_overwrite_is_seen_before_anything_is_rendered(work: Path, here: M2M) -> None:
    (work / "d-2-voice-40.wav").write_text("mine")
    done = here("render", "duo.mid", "-o", "d.wav", "--stems")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "d-2-voice-40.wav exists" in done.stderr
    assert not (work / "d.wav").exists()


def test_a_template_knows_the_models_conditioner(work: Path, here: M2M) -> None:
    assert here("render", "solo.mid", "--model", "mel2mel-concat", "-o", "{conditioner}.wav").returncode == 0
    assert (work / "concat.wav").exists()


def test_stems_and_sidecar(work: Path, here: M2M) -> None:
    done = here("render", "duo.mid", "-o", "d.wav", "--stems", "--sidecar", "--map", "40=trumpet", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(p.name for p in work.glob("d*")) == [
        "d-1-voice-73.wav",
        "d-2-voice-40.wav",
        "d-3.wav",
        "d.json",
        "d.wav",
        "duo.mid",
    ]
    about = json.loads((work / "d.json").read_text())
    assert about["map"] == {"40": "trumpet"}
    assert about["vocoder"]["name"] == "griffin-lim"
    mix, *stems = (
        soundfile.read(path)[0] for path in sorted(work.glob("d*.wav"), key=lambda path: path != work / "d.wav")
    )
    assert np.abs(sum(stems) - mix).max() < 1e-3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["render", ".", "-o", "a.wav"], 1, ". is a folder, a MIDI file was wanted"),
        (["absent.mid"], 1, "cannot read absent.mid: No such file"),
        (["solo.mid", "--vocoder", "griffin-lin"], 1, "did you mean griffin-lim?"),
        (["solo.mid", "--conditioner", "nil"], 1, "no mel2mel model with conditioner 'nil' ships"),
        (["solo.mid", "--timbre", "kazoo"], 1, "no timbre 'kazoo'"),
        (["solo.mid", "--vocoder-opt", "passes=3"], 1, "passes"),
        (["solo.mid", "--vocoder-opt", "iterations=lots"], 1, "iterations"),
        (["solo.mid", "--model", "nowhere"], 1, "there is no model 'nowhere'"),
        (["solo.mid", "-o", "a.aiff"], 1, "cannot write .aiff"),
        (["solo.mid", "-o", "solo.mid"], 1, "cannot write .mid"),
        (["solo.mid", "-o", "{name}.wav"], 1, "there is no field {name}"),
        (["solo.mid", "duo.mid", "-o", "a.wav"], 1, "several scores would be written to a.wav"),
        (["solo.mid", "duo.mid", "-o", "{stem}/../a.wav"], 1, "several scores would be written to duo/../a.wav"),
        (["solo.mid", "duo.mid", "-o", "-"], 1, "standard output (-o -) takes one score"),
        (["solo.mid", "-o", "/proc/a.wav"], 1, "cannot write /proc/a.wav"),
        (["solo.mid", "--map", "200=trumpet"], 2, "'200' selects no track: a General MIDI program, 0 to 127"),
        (["solo.mid", "--map", "trumpet"], 2, "TRACKS=TIMBRE was wanted"),
        (["solo.mid", "--json", "-o", "-"], 2, "both want standard output"),
        (["solo.mid", "--jobs", "0"], 2, "--jobs"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_one_line(work: Path, here: M2M, arguments: list[str], code: int, words: str) -> None:
    before = sorted(work.iterdir())
    done = here("render", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.count("\n") == 1
    assert sorted(work.iterdir()) == before


REFUSED = """
import contextlib, io, json, sys
from m2m.cli import cli
from m2m.core.errors import explain

for words in sys.argv[1:]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            cli(words.split(), standalone_mode=False)
        except SystemExit:
            pass
        except Exception as error:
            said.write(explain(error))
    print(json.dumps([said.getvalue(), "torch" in sys.modules]))
"""


def test_what_can_be_refused_without_torch_does_not_wait_for_it(work: Path) -> None:
    (work / "bad.mid").write_bytes(b"MThd nonsense")
    refused = {
        "render bad.mid": "damaged MIDI file",
        "render solo.mid -o a.wav --timbre trumpot": "no timbre 'trumpot'; did you mean trumpet",
        "render solo.mid -o a.wav --timbre trumpet:0.7,kazoo:0.3": "no timbre 'kazoo'",
        "render solo.mid -o a.wav --timbre @1,2,3": "'@' and 24 numbers are wanted",
        "render solo.mid -o a.wav --map 0=kazoo": "no timbre 'kazoo'",
        "render solo.mid -o a.wav --vocoder griffin-lin": "did you mean griffin-lim?",
        "render solo.mid -o a.wav --conditioner nil": "no mel2mel model with conditioner 'nil' ships",
        "render solo.mid -o a.wav --model nowhere": "there is no model 'nowhere'",
        "render solo.mid -o /proc/new/a.wav": "cannot make the folder /proc/new",
        "render solo.mid -o bad.mid/a.wav": "cannot write bad.mid/a.wav",
        "rerender bad.mid": "cannot read bad.mid",
        "timbres --model nowhere": "there is no model 'nowhere'",
        "serve --model nowhere": "there is no model 'nowhere'",
        "plugins check griffin-lin": "did you mean griffin-lim?",
    }
    before = sorted(work.iterdir())
    command = [sys.executable, "-c", REFUSED, *refused]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=HANGS, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    for (words, wanted), (error, torch_is_there) in zip(refused.items(), said, strict=True):
        assert wanted in error, words
        assert not torch_is_there, words
    assert sorted(work.iterdir()) == before


def test_a_mix_mutes_and_its_mistakes_are_told(work: Path, here: M2M) -> None:
    done = here("render", "duo.mid", "-o", "m.wav", "--stems", "--mix", "name:Voice 73=-6dB", "--mix", "40=mute", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in work.glob("m*.wav")) == ["m-1-voice-73.wav", "m-3.wav", "m.wav"]
    for mix, words in (
        ("name:Bass=-6dB", "duo.mid: no track is name bass; there are 1 'Voice 73', 2 'Voice 40'"),
        ("track:1=loud", "Invalid value for --mix: 'loud' is no level"),
        ("track:x=1", "Invalid value for --mix: 'track:x' selects no track"),
    ):
        wrong = here("render", "duo.mid", "-o", "wrong.wav", "--mix", mix)
        assert wrong.returncode
        assert words in " ".join(wrong.stderr.split())
        assert not (work / "wrong.wav").exists()


def test_no_stem_is_written_over_another_scores_mix(work: Path, here: M2M) -> None:
    (work / "duo-1-voice-73.mid").write_bytes((work / "solo.mid").read_bytes())
    done = here("render", "duo.mid", "duo-1-voice-73.mid", "--stems")
    assert done.returncode == 1
    assert "several scores would be written to duo-1-voice-73.wav" in done.stderr
    assert not list(work.glob("*.wav"))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_half_written(work: Path, stop: signal.Signals) -> None:
    midi = pretty_midi.PrettyMIDI()
    instrument = pretty_midi.Instrument(0)
    instrument.notes = [pretty_midi.Note(90, 60, 0.5 * i, 0.5 * i + 0.4) for i in range(2400)]
    midi.instruments.append(instrument)
    midi.write(str(work / "long.mid"))
    command = [sys.executable, "-m", "m2m", "render", "solo.mid", "long.mid", *FILM, "-o", "{stem}.wav"]
    process = subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, text=True)
    while not (work / "solo.wav").exists():  # then the long one is begun: twenty minutes of music
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + stop
    assert "Traceback" not in errors
    assert sorted(p.name for p in work.iterdir()) == ["duo.mid", "long.mid", "solo.mid", "solo.wav"]


CRASHING = """
import os
import numpy as np
from m2m.core.vocoder import Vocoder

class Encoder(Vocoder):
    def stream(self, mel, seed):
        if mel.samples > 4 * 16_000:
            os._exit(7)
        print("a line that is no result")
        yield np.zeros(mel.samples, np.float32)
"""


def test_a_score_that_a_process_dies_of_is_reported_and_the_rest_go_on(work: Path, m2m: M2M, install: Install) -> None:
    install("crashing", CRASHING, group="m2m.vocoders")
    midi = pretty_midi.PrettyMIDI(str(work / "solo.mid"))
    midi.instruments[0].notes.append(pretty_midi.Note(90, 60, 2.0, 3.0))
    midi.write(str(work / "long.mid"))
    done = m2m("render", "solo.mid", "long.mid", "duo.mid", *FILM, "--vocoder", "crashing", "--jobs", "2", "--json")
    assert done.returncode == 1
    death = "its process ended with exit code 7; at work was vocoder 'crashing' of crashing 1.0."
    told = [(outcome["score"], outcome["error"]) for outcome in json.loads(done.stdout)]
    assert told == [("solo.mid", ""), ("long.mid", death), ("duo.mid", "")]
    assert f"m2m: error: long.mid: {death}\n" in done.stderr
    assert sorted(p.name for p in work.glob("*.wav")) == ["duo.wav", "solo.wav"]


WRITING = """
import os, time
import numpy as np
import soundfile
from m2m.core.vocoder import Vocoder

class Encoder(Vocoder):
    def stream(self, mel, seed):
        yield np.zeros(mel.samples, np.float32)

def write(self, wave):
    open(f"writing-{os.getpid()}", "w").close()
    time.sleep(600)

soundfile.SoundFile.write = write
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_that_are_stopped_while_they_write_leave_nothing(
    work: Path, install: Install, stop: signal.Signals
) -> None:
    """Ctrl-C reaches all of them, SIGTERM and SIGKILL the command alone."""
    install("writing", WRITING, group="m2m.vocoders")
    command = [sys.executable, "-m", "m2m", "render", "solo.mid", "duo.mid", *FILM, "--vocoder", "writing", "-j", "2"]
    process = subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + HANGS
        while len(workers := [path.name.split("-")[1] for path in work.glob("writing-*")]) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(list(work.glob(".*.wav"))) == 2
        if stop == signal.SIGINT:
            os.killpg(process.pid, stop)
        else:
            process.send_signal(stop)
        _, errors = process.communicate(timeout=HANGS)  # to the end of what the processes may say
        assert not any(running(worker) for worker in workers)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (-stop if stop == signal.SIGKILL else 128 + stop)
    assert "Traceback" not in errors
    assert sorted(p.name for p in work.iterdir() if "writing" not in p.name) == ["duo.mid", "solo.mid"]


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_reader_that_leaves_early_is_no_traceback(work: Path) -> None:
    command = f"{sys.executable} -m m2m render solo.mid --conditioner film -o - | head -c 10 > /dev/null"
    done = subprocess.run(command, shell=True, cwd=work, capture_output=True, text=True, timeout=HANGS, env=os.environ)
    assert "Traceback" not in done.stderr


def test_timbres_and_doctor(here: M2M) -> None:
    listed = json.loads(here("timbres", "--json").stdout)
    assert [row["name"] for row in listed["timbres"]][:2] == ["grand-piano", "bright-acoustic-piano"]
    assert sum(len(row["programs"]) for row in listed["timbres"]) == 128
    assert "pizzicato-strings  45" in here("timbres", "--conditioner", "concat").stdout
    found = json.loads(here("doctor", "--json").stdout)
    assert {"m2m", "torch", "cuda", "audio", "fluidsynth", "vocoder", "model"} <= {row["topic"] for row in found}
