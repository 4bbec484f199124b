"""The emulated GPU of these tests."""

import shutil

import pytest
from emulated_gpu import VOLTA, Emulated, Emulator


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    if not shutil.which("g++"):
        pytest.skip("no g++ to compile the emulation with")
    folder = tmp_path_factory.mktemp("emulated")
    return lambda limits=VOLTA, **options: Emulated(folder, limits, **options)
