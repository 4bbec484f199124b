"""Soak: what a stranger's file, a kill, a full disk or a crowd can do to m2m. Its figures are in docs/reliability.md.

    python benches/reliability.py midi checkpoints special kills crowd disk list --json out.json

midi, checkpoints   mutated files, read and (where short) rendered, in a process that is ended after ten seconds without an answer
special             the files that the issue tracker of any MIDI reader knows, through the command, with peak memory
kills               SIGINT, SIGTERM and SIGKILL at random moments of render, dataset build and train, then again until it is done
crowd               twenty renders at once, and two builds of one data set
disk                a tmpfs that is too small (needs root)
list                `m2m plugins list` with 50 packages, 10 of them broken

kills and crowd need FluidSynth and a SoundFont (--soundfont; pretty_midi's own will do). All numbers are drawn from --seed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

LIMIT = 10.0  # seconds without an answer that count as a hang
M2M = [sys.executable, "-m", "m2m"]


# --- what the tested process does -------------------------------------------------------------------------------------


def attempt(item: dict[str, str]) -> dict[str, Any]:
    """Read a score or load a model, and render if that is a matter of seconds: what became of it."""
    import resource

    from m2m.core.errors import M2MError
    from m2m.core.rendering.pipeline import Pipeline
    from m2m.core.score import note_array, read_score

    began, said, became = time.perf_counter(), "", "rendered"
    try:
        if "score" in item:
            score = read_score(item["score"])
            if score.duration > 20 or len(score.playable) > 8:
                became = "read"  # rendering works on windows and on parts, so that length and number only take time
            elif not score.playable:
                became = "read, empty"
            else:
                _pipeline().render(score)
        else:
            pipeline = (
                Pipeline(model=item["model"], vocoder_options={"iterations": 1, "updates": 1})
                if item["kind"] == "mel2mel"
                else Pipeline(vocoder=item["kind"], vocoder_options={"model": item["model"]})
            )
            pipeline.render(_score(note_array([(0.0, 0.5, 60, 90), (0.3, 0.9, 64, 70)])))
    except M2MError as error:
        became, said = "refused", str(error)
    except Exception as error:
        import traceback

        became, said = "FAILED", f"{type(error).__name__}: {error} {traceback.format_exc()[-400:]}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"became": became, "said": said, "seconds": time.perf_counter() - began, "peak_mb": peak}


_kept: list[Any] = []


def _pipeline() -> Any:
    if not _kept:
        from m2m.core.rendering.pipeline import Pipeline

        _kept.append(Pipeline(vocoder_options={"iterations": 1, "updates": 1}))
    return _kept[0]


def _score(notes: Any) -> Any:
    import numpy as np

    from m2m.core.score import Score, Track

    return Score((Track("", 0, False, notes, np.ones((1, 2)) * [0.0, 1.0]),))


# --- files ------------------------------------------------------------------------------------------------------------


def midi_file(draw: random.Random) -> bytes:
    """A MIDI file with every event there is, correct but for its music."""

    def number(value: int) -> bytes:
        out = bytes([value & 0x7F])
        while value := value >> 7:
            out = bytes([0x80 | value & 0x7F]) + out
        return out

    tracks = []
    for _ in range(draw.randint(1, 4)):
        events = b""
        for _ in range(draw.randint(0, 60)):
            channel, gap = (
                draw.randrange(16),
                number(draw.choice([0, 0, 10, 100, 480] * 40 + [draw.randrange(1 << 21)])),
            )
            key, value = draw.randrange(128), draw.randrange(128)
            events += gap + draw.choice(
                [
                    bytes([0x90 | channel, key, value]),
                    bytes([0x90 | channel, key, value]) + b"\x30" + bytes([key, 0]),  # running status
                    bytes([0x80 | channel, key, value]),
                    bytes([0xB0 | channel, draw.choice([7, 11, 64, key]), value]),
                    bytes([0xC0 | channel, key]),
                    bytes([0xE0 | channel, key, value]),
                    b"\xff\x51\x03" + draw.choice([500_000, 300_000, draw.randrange(1 << 24)]).to_bytes(3, "big"),
                    b"\xff\x58\x04" + bytes([value, draw.randrange(8), 24, 8]),
                    b"\xff\x59\x02" + bytes([draw.choice([0, 3, 7, 250] * 9 + [100]), draw.randrange(2)]),
                    b"\xff\x03" + number(5) + draw.randbytes(5),
                    b"\xf0" + number(3) + bytes([key, value, 0xF7]),
                ]
            )
        events += draw.choice([b"\0\xff\x2f\0", b""])
        tracks.append(b"MTrk" + struct.pack(">I", len(events)) + events)
    division = draw.choice([480, 960, 96] * 9 + [1, 0, 32767, 0xE250])
    return b"MThd" + struct.pack(">IHHH", 6, draw.choice([0, 1, 1] * 6 + [2]), len(tracks), division) + b"".join(tracks)


def mutate(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, lost, doubled, or everything cut off."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        if not changed:
            break
        at, length = draw.randrange(len(changed)), draw.randint(1, 16)
        what = draw.randrange(6)
        if what == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            changed[at : at + length] = draw.randbytes(length)
        elif what == 2:
            del changed[at : at + length]
        elif what == 3:
            changed[at:at] = changed[at : at + length] * draw.choice([1, 4, 64])
        elif what == 4:
            changed[at : at + 4] = draw.choice(
                [b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
            )
        else:
            del changed[at:]
    return bytes(changed)


def mutate_config(text: str, draw: random.Random) -> str:
    """A model's config with a value of another kind, an unknown key, or one too few."""
    tree = json.loads(text)
    places: list[tuple[dict[str, Any], str]] = []

    def walk(branch: dict[str, Any]) -> None:
        for key, value in branch.items():
            places.append((branch, key))
            if isinstance(value, dict):
                walk(value)

    walk(tree)
    branch, key = draw.choice(places)
    strange: list[Any] = [
        None, -1, 0, 1, 10**9, 10**400, 1e308, "", "x" * 10_000, "../../etc/passwd", "\ud800\x1b[31m\n", [], {}, [[]], True,
        "film", "concat", "onsets-frames", 65_536, 0.5,
    ]  # fmt: skip
    if draw.random() < 0.15:
        del branch[key]
    elif draw.random() < 0.15:
        branch["unknown" + key] = draw.choice(strange)
    else:
        branch[key] = draw.choice(strange)
    return json.dumps(tree)


# --- sections ---------------------------------------------------------------------------------------------------------


def soak(items: list[dict[str, str]]) -> dict[str, Any]:
    from m2m.core.plugins.isolation import Lost, each

    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    figures: dict[str, Any] = {
        "files": len(items),
        "became": {},
        "slowest_s": 0.0,
        "peak_mb": 0.0,
        "wrong": [],
        "reasons": {},
    }
    warm = [items[0], *items]  # the first waits for torch
    for number, answer in enumerate(each("reliability:attempt", warm, LIMIT)):
        if number == 0:
            continue
        if isinstance(answer, Lost):
            answer = {"became": "FAILED", "said": answer.text, "seconds": answer.seconds, "peak_mb": 0.0}
        figures["became"][answer["became"]] = figures["became"].get(answer["became"], 0) + 1
        if answer["became"] == "refused":
            why = re.sub(r"\S*[/\\]\S*|[\d,.]+|'[^']*'", "#", answer["said"])[:70]
            figures["reasons"][why] = figures["reasons"].get(why, 0) + 1
        figures["slowest_s"] = max(figures["slowest_s"], round(answer["seconds"], 2))
        figures["peak_mb"] = max(figures["peak_mb"], round(answer["peak_mb"]))
        if answer["became"] == "FAILED" or "\n" in answer["said"]:
            figures["wrong"].append([warm[number], answer["said"]])
    return figures


def midi(folder: Path, draw: random.Random, count: int, **_: Any) -> dict[str, Any]:
    seeds = [path.read_bytes() for path in (Path(__file__).parents[1] / "examples").glob("*.mid")]
    items = []
    for number in range(count):
        whole = draw.choice(seeds) if draw.random() < 0.2 else midi_file(draw)
        path = folder / f"{number}.mid"
        path.write_bytes(whole if number % 4 == 0 else mutate(whole, draw))
        items.append({"score": str(path)})
    return soak(items)


def checkpoints(folder: Path, draw: random.Random, count: int, **_: Any) -> dict[str, Any]:
    from m2m.core.checkpoint import save_model
    from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
    from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig
    from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

    made: dict[str, Any] = {
        "mel2mel": Mel2Mel(Mel2MelConfig(hidden=8, timbre_dim=3)),
        "wavenet": WaveNet(WaveNetConfig(layers=4, residual=16, skip=16, classes=16)),
        "parallel-wavenet": Student(StudentConfig(flows=(2, 3), residual=4, skip=4)),
    }
    for kind, model in made.items():
        save_model(folder / kind, kind, model.config, model, "# a model")
    items = []
    for number in range(count // 4):
        kind = list(made)[number // 3 % len(made)]
        copy = shutil.copytree(folder / kind, folder / str(number))
        config_file, weights = copy / "config.json", copy / "model.safetensors"
        if number % 3 == 0:
            weights.write_bytes(mutate(weights.read_bytes(), draw))
        elif number % 3 == 1:
            config_file.write_text(mutate_config(config_file.read_text(), draw))
        else:
            config_file.write_bytes(mutate(config_file.read_bytes(), draw))
        items.append({"kind": kind, "model": str(copy)})
    return soak(items)


def special(folder: Path, **_: Any) -> dict[str, Any]:
    def midi(events: bytes, division: int = 480, kind: int = 1) -> bytes:
        return b"MThd" + struct.pack(">IHHH", 6, kind, 1, division) + b"MTrk" + struct.pack(">I", len(events)) + events

    note = b"\0\x90\x3c\x50\x83\x60\x80\x3c\x00"
    files = {
        "ten million notes": midi(b"\0\x90\x3c\x50" + b"\x01\x3c\0\0\x3c\x50" * 10_000_000),
        "a hundred thousand notes at once": midi(
            b"".join(b"\0\x90" + bytes([n % 88 + 21, 80]) for n in range(100_000))
        ),
        "the largest tick there is": midi(b"\xff\xff\xff\x7f\x90\x3c\x50\xff\xff\xff\x7f\x80\x3c\0"),
        "a number without an end": midi(b"\xff" * 1_000_000),
        "zero tempo": midi(b"\0\xff\x51\x03\0\0\0" + note),
        "zero ticks a quarter": midi(note, 0),
        "SMPTE division": midi(note, 0xE250),
        "type 2": midi(note, kind=2),
        "an endless note": midi(b"\0\x90\x3c\x50\x87\x40\x90\x40\x50\x87\x40\x80\x40\x00"),
        "overlapping notes": midi(b"\0\x90\x3c\x50" * 50 + b"\x83\x60\x80\x3c\x00" * 50),
        "running status": midi(b"\0\x90\x3c\x50\x83\x60\x3c\x00\0\x40\x50\x83\x60\x40\0"),
        "empty": b"",
        "not MIDI": b"%PDF-1.7",
        "text of a megabyte": midi(b"\0\xff\x01\xbd\x84\x40" + b"x" * 1_000_000 + note),
        "two hours": midi(note + b"".join(b"\xff\x7f\x90\x3c\x50\x10\x80\x3c\0" for _ in range(415))),
    }
    for name, data in files.items():
        (folder / f"{name}.mid").write_bytes(data)
    with (folder / "two gigabytes of zeros.mid").open("wb") as file:
        file.truncate(2 << 30)
    (folder / "a directory.mid").mkdir()
    os.mkfifo(folder / "a FIFO.mid")
    (folder / "a loop of links.mid").symlink_to("a loop of links.mid")
    figures = {}
    for path in sorted(folder.glob("*.mid")):
        began = time.perf_counter()
        # rendered where it is music, by the plainest setting there is
        options = ["--vocoder-opt", "iterations=0", "--vocoder-opt", "updates=1"]
        process = subprocess.Popen(
            [*M2M, "render", path.name, "-o", "out.wav", "-y", *options], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        figures[path.stem] = {
            "exit": os.waitstatus_to_exitcode(status),
            "said": said.strip()[-250:],
            "seconds": round(time.perf_counter() - began, 1),
            "peak_mb": usage.ru_maxrss >> 10,
            "lines": said.count("\n"),
        }
        assert "Traceback" not in said, said
    return figures


def tune(folder: Path, seconds: float = 4.0, key: int = 60) -> Path:
    import pretty_midi

    music, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, key + n * 5 % 13, 0.25 * n, 0.25 * n + 0.3) for n in range(int(seconds * 4))]
    music.instruments.append(piano)
    folder.mkdir(parents=True, exist_ok=True)
    music.write(str(folder / f"tune-{key}.mid"))
    return folder / f"tune-{key}.mid"


def digest(folder: Path, pattern: str) -> dict[str, str]:
    """A hash of what each file says; safetensors writes its metadata in whatever order, so its bytes may differ."""
    from safetensors import SafetensorError, safe_open

    hashes = {}
    for path in sorted(p for p in folder.rglob(pattern) if p.name[0] != "."):
        content = hashlib.sha256()
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, framework="numpy") as file:
                    content.update(json.dumps(file.metadata(), sort_keys=True).encode())
                    for name in sorted(file.keys()):
                        content.update(name.encode() + file.get_tensor(name).tobytes())
            except SafetensorError as error:  # half-written: equal to nothing
                content.update(str(error).encode())
        else:
            content.update(path.read_bytes())
        hashes[path.name] = content.hexdigest()
    return hashes


def done(command: list[str], cwd: Path) -> float:
    began = time.monotonic()
    ran = subprocess.run([*M2M, *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (command, ran.stderr)
    return time.monotonic() - began


def kills(folder: Path, draw: random.Random, count: int, soundfont: Path, **_: Any) -> dict[str, Any]:
    """Every kind of signal at every moment; what is left must be whole, and the last run's result that of one undisturbed."""
    scores = [tune(folder / "midi", key=key) for key in (50, 55, 60, 65)]
    split = {"train": [s.name for s in scores[:3]], "validation": [scores[3].name], "test": []}
    (folder / "split.json").write_text(json.dumps(split))
    build = ["dataset", "build", "midi", "--soundfont", str(soundfont), "--split", "split.json", "--programs", "0,56"]
    build += ["--set", "seconds=3", "--set", "tail=0.5"]
    short = ["--set", "model.hidden=16", "--set", "sequence=64", "--set", "loop.checkpoint_every=5", "--steps", "40"]
    short += ["--set", "loop.validate_every=20", "--set", "loop.batch_size=4", "--set", "loop.threads=1"]
    train = ["train", "mel2mel", "reference-set", *short]
    render = ["render", str(scores[0]), "--vocoder-opt", "blind_iterations=100", "--vocoder-opt", "iterations=100"]
    durations = {
        "render": done([*render, "-o", "reference.wav"], folder),
        "dataset": done([*build, "-o", "reference-set"], folder),
        "train": done([*train, "-o", "reference-run"], folder),
    }
    want = {
        "render": digest(folder, "reference.wav")["reference.wav"],
        "dataset": digest(folder / "reference-set", "*.safetensors"),
        "train": digest(folder / "reference-run", "training.safetensors"),
    }
    tally = {f"{name} {kind.name}": 0 for name in durations for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)}
    figures: dict[str, Any] = {"kills": 0, "finished": 0, "left_over": 0, "wrong": [], "by": tally}

    def finished(name: str) -> bool:
        """Whether the last run reached its end; and nothing half-written stands under a final name."""
        if name == "render":
            out = folder / "out.wav"
            if out.exists() and hashlib.sha256(out.read_bytes()).hexdigest() != want["render"]:
                figures["wrong"].append("a rendering that is not whole")
            return out.exists()
        if name == "dataset":
            got = digest(folder / "set", "*.safetensors")
            if not got.items() <= want["dataset"].items():
                figures["wrong"].append("a shard that is not whole")
            return got == want["dataset"]
        return digest(folder / "run", "training.safetensors") == want["train"]

    while figures["kills"] < count:
        name, kind = draw.choice(list(durations)), draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
        command = {
            "render": [*render, "-o", "out.wav"],
            "dataset": [*build, "-o", "set"],
            "train": [*train, "-o", "run"],
        }[name]
        if name == "train" and (folder / "run" / "training.safetensors").exists():
            command += ["--resume"]
        click.echo(f"{figures['kills']} kills, {len(figures['wrong'])} wrong; {name} and {kind.name} next", err=True)
        process = subprocess.Popen(
            [*M2M, *command],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            process.wait(draw.uniform(0.2, 1.0) * durations[name])
        except subprocess.TimeoutExpired:
            figures["kills"] += 1
            tally[f"{name} {kind.name}"] += 1
            process.send_signal(kind)
        assert process.stderr
        said = process.stderr.read()
        code = process.wait(60)
        # -SIGINT: an interruption that passes through a library's C code makes Python end itself so, whatever we return
        if "Traceback" in said or code not in (0, -kind, 128 + kind, -signal.SIGINT):
            figures["wrong"].append([name, kind.name, code, said[-300:]])
        if finished(name):
            figures["finished"] += 1
            path = folder / {"render": "out.wav", "dataset": "set", "train": "run"}[name]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    figures["left_over"] = sum(1 for p in folder.rglob(".*") if p.is_file())
    for name, command in (("render", [*render, "-o", "out.wav"]), ("dataset", [*build, "-o", "set"])):
        done([*command, *(["-y"] if name == "render" else [])], folder)
    state = folder / "run" / "training.safetensors"
    done([*train, "-o", "run", *(["--resume"] if state.exists() else [])], folder)
    figures["last_runs_equal_undisturbed"] = all(finished(name) for name in durations)
    return figures


def crowd(folder: Path, soundfont: Path, **_: Any) -> dict[str, Any]:
    scores = [tune(folder / "midi", 2.0, key) for key in range(50, 54)]
    done(["render", str(scores[0]), "-o", "reference.wav"], folder)
    build = [
        "dataset",
        "build",
        "midi",
        "--soundfont",
        str(soundfont),
        "--programs",
        "0,56",
        "--set",
        "seconds=3",
        "--set",
        "tail=0.5",
    ]
    done([*build, "-o", "reference-set"], folder)
    commands = [["render", str(scores[0]), "-o", f"out-{n}.wav"] for n in range(20)] + [[*build, "-o", "set"]] * 2
    crowd = [
        subprocess.Popen([*M2M, *c], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands
    ]
    said = [process.communicate()[1].decode() for process in crowd]
    waves = set(digest(folder, "out-*.wav").values())
    return {
        "exit codes": sorted({process.returncode for process in crowd}),
        "renders": len(list(folder.glob("out-*.wav"))),
        "all the same as alone": waves == {digest(folder, "reference.wav")["reference.wav"]},
        "data set as alone": digest(folder / "set", "*.safetensors")
        == digest(folder / "reference-set", "*.safetensors"),
        "tracebacks": sum("Traceback" in text for text in said),
    }


def disk(folder: Path, soundfont: Path, **_: Any) -> dict[str, Any]:
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    figures = {}
    try:
        score = tune(folder / "midi", 6.0)
        commands = {
            suffix: ["render", str(score), "-o", f"small/out{suffix}"] for suffix in (".wav", ".flac", ".ogg", ".mp3")
        }
        commands["dataset"] = [
            "dataset",
            "build",
            "midi",
            "--soundfont",
            str(soundfont),
            "--programs",
            "0",
            "-o",
            "small/set",
        ]
        (small / "ballast").write_bytes(bytes(40_000))
        for name, command in commands.items():
            ran = subprocess.run([*M2M, *command], cwd=folder, capture_output=True, text=True, check=False)
            left = sorted(p.name for p in small.rglob("*") if p.is_file() and p.name not in ("ballast", "dataset.json"))
            figures[name] = {"exit": ran.returncode, "said": ran.stderr.strip()[-200:], "left": left}
            assert "Traceback" not in ran.stderr
    finally:
        subprocess.run(["umount", small], check=True)
    return figures


def listing(folder: Path, **_: Any) -> dict[str, Any]:
    for n in range(50):
        module = f"many_{n}"
        (folder / f"{module}.py").write_text("raise SystemExit('broken')" if n % 5 == 0 else "import torch")
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: many-{n}\nVersion: 1.0\nSummary: made up\n")
        (info / "entry_points.txt").write_text(f"[m2m.vocoders]\nmany-{n} = {module}:Vocoder\n")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        ran = subprocess.run([*M2M, "plugins", "list"], env=environment, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
    return {"best of 9, s": round(min(seconds), 3), "lines": ran.stdout.count("made up")}


SECTIONS = {
    "midi": midi, "checkpoints": checkpoints, "special": special, "kills": kills, "crowd": crowd, "disk": disk, "list": listing,
}  # fmt: skip


@click.command()
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--count", type=int, help="Files, or kills.  [default: 2000 files, 100 kills]")
@click.option("--seed", default=0, show_default=True)
@click.option("--soundfont", type=click.Path(path_type=Path), help="[default: the one that pretty_midi brings]")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(sections: list[str], count: int | None, seed: int, soundfont: Path | None, json_path: Path | None) -> None:
    """Run sections and print their figures."""
    import pretty_midi

    font = soundfont or Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")
    figures = {}
    for name in sections or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            many = count or (100 if name == "kills" else 2000)
            figures[name] = SECTIONS[name](
                folder=Path(folder), draw=random.Random(seed), count=many, soundfont=font.resolve()
            )
        click.echo(json.dumps({name: figures[name]}, indent=1, ensure_ascii=True))
        if json_path:
            json_path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
