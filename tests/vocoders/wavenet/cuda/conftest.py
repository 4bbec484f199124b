"""The emulated GPU of these tests."""

import shutil

import pytest
from emulated_gpu import VOLTA, Emulated, Emulator, compile_headers
from once import made_once


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    if not shutil.which("g++"):
        pytest.skip("no g++ to compile the emulation with")
    folder = made_once(tmp_path_factory, "emulated", compile_headers)
    return lambda limits=VOLTA, **options: Emulated(folder, limits, **options)
