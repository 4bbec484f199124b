"""A lesser processor that stands in for this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from command_line import HANGS, M2M

from m2m.core.errors import M2MError
from m2m.core.system import processor
from m2m.core.system.processor import has_bf16

SEEN = """
import json
import m2m
import torch
from m2m.core.system.processor import has_bf16
from m2m.training.loop import LoopConfig
from m2m.vocoders.shared.cpu import training_stack
from m2m.vocoders.wavenet.cpu import engine
sets = [*engine.available(), *training_stack.available()]
print(json.dumps([torch.backends.cpu.get_cpu_capability(), has_bf16("cpu"), LoopConfig().autocasts, sets]))
"""


def seen(**environment: str) -> list[object]:
    """What a process sees of its processor."""
    command = [sys.executable, "-c", SEEN]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def test_a_processor_with_avx2_alone_stands_in() -> None:
    capability, bf16, autocasts, sets = seen(M2M_CPU="avx2")
    assert capability in ("AVX2", "DEFAULT", "NO AVX")
    assert (bf16, autocasts) == (False, False)
    assert isinstance(sets, list)
    assert set(sets) <= {"avx2", "generic"}


def test_without_it_all_of_the_processor_is_used() -> None:
    _, bf16, autocasts, sets = seen(M2M_CPU="")
    assert bf16 == autocasts == has_bf16("cpu")
    assert isinstance(sets, list)
    assert ("avx512_bf16" in sets) <= bool(bf16)


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch, here: M2M) -> None:
    monkeypatch.setenv("M2M_CPU", "avx3")
    with pytest.raises(M2MError, match="M2M_CPU is 'avx3'; it may be avx2, or not be set"):
        processor.allows("avx2")
    told = {row["topic"]: row["status"] for row in json.loads(here("doctor", "--json").stdout)}
    assert told["processor"] == "broken"


def test_the_doctor_says_so(monkeypatch: pytest.MonkeyPatch, here: M2M) -> None:
    monkeypatch.setenv("M2M_CPU", "avx2")
    told = [row for row in json.loads(here("doctor", "--json").stdout) if row["topic"] == "processor"]
    assert [row["text"] for row in told] == ["kernels, PyTorch and oneDNN are limited to avx2, since M2M_CPU says so"]
