"""What pyproject.toml cannot say: the root folder is the package `m2m`, and plugins.toml is its list of entry points.

Shipped are the packages named here and nothing else; of the root folder, only its own modules, not this file.
"""

import os
import platform
import re
import shutil
import tomllib
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
ROOT_MODULES = {"__init__", "__main__", "cli"}
ROOMS = (
    "core",
    "commands",
    "encoders",
    "conditioners",
    "vocoders",
    "transcribers",
    "dataset",
    "training",
    "evaluation",
    "web",
)
Path(ROOT, "build").mkdir(exist_ok=True)  # `egg_base` below must exist


class BuildPy(build_py):
    """Copies the packages, from scratch: setuptools would ship what an earlier build has left in build/lib."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, "m2m"), ignore_errors=True)
        super().run()

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        return [m for m in modules if package != "m2m" or m[1] in ROOT_MODULES]


def entry_points() -> dict[str, list[str]]:
    """The command, and of each kind's table in plugins.toml the classes by name."""
    tables = tomllib.loads((ROOT / "plugins.toml").read_text(encoding="utf-8"))
    scripts = {"console_scripts": ["m2m = m2m.cli:main"]}
    return scripts | {
        f"m2m.{kind}": [f"{name} = {entry['class']}" for name, entry in table.items() if "class" in entry]
        for kind, table in tables.items()
        if kind not in ("built-in", "defaults")
    }


def kernels() -> list[Extension]:
    """The CPU kernels, one library for each instruction set; the best that runs is loaded. wavenet.h draws WaveNet's samples
    (vocoders/wavenet/cpu), student.h its student's (vocoders/parallel_wavenet/cpu), stack.h trains the layers of both
    (vocoders/shared/cpu), which pays only where bfloat16 is multiplied, lstm.h runs Mel2Mel's LSTM
    (core/lstm), where PyTorch's is as fast as a generic one.

    They are no Python modules, only built like some: with a C interface, and each optional by itself, so that m2m installs
    with an old compiler or none.
    """
    avx512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mfma"]
    playing = ("core/lstm", "vocoders/wavenet/cpu", "vocoders/parallel_wavenet/cpu")
    training, shared = "vocoders/shared/cpu", "core/cpu"
    flags: dict[str, list[str]] = {f"{folder}/generic": [] for folder in playing if folder != "core/lstm"}
    if platform.machine() in ("x86_64", "AMD64"):
        for folder in playing:
            flags |= {
                f"{folder}/avx2": ["-mavx2", "-mfma"],
                f"{folder}/avx512": avx512,
                f"{folder}/avx512_bf16": [*avx512, "-mavx512vnni", "-mavx512bf16"],
            }
        flags |= {
            f"{training}/stack_avx512_bf16": [*avx512, "-mavx512bf16"],
            f"{training}/stack_amx": [*avx512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"],
        }
    warnings = [] if platform.system() == "Windows" else ["-Wall", "-Wextra"]
    speed = [] if "-O" in os.environ.get("CXXFLAGS", "") else ["-O3"]  # whoever builds may ask for another level
    headers = [
        str(path.relative_to(ROOT)) for folder in (*playing, training, shared) for path in (ROOT / folder).glob("*.h")
    ]
    return [
        Extension(
            f"m2m.{source.replace('/', '.')}",
            [f"{source}.cpp"],
            include_dirs=[shared],  # vector.h, matrix.h and more are of all
            depends=headers,
            extra_compile_args=["-std=c++17", *speed, "-g0", "-fvisibility=hidden", "-pthread", *warnings, *extra],
            extra_link_args=["-pthread"],
            optional=True,
        )
        for source, extra in flags.items()
    ]


def version() -> str:
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "__init__.py has no __version__"
    return found[1]


packages = find_packages(str(ROOT), include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")])
setup(
    version=version(),
    package_dir={"m2m": "."},
    packages=["m2m", *(f"m2m.{package}" for package in packages)],
    include_package_data=False,
    package_data={
        "m2m": [
            "plugins.toml",
            "py.typed",
            "models/*/config.json",
            "models/*/model.safetensors",
            "models/*/README.md",
            "examples/*.mid",
            "vocoders/wavenet/cuda/*.cu",
            "vocoders/wavenet/cuda/*.h",
            "web/static/*.html",
            "web/static/*.css",
            "web/static/*.js",
            "web/static/*.svg",
            # what `m2m plugins new` copies
            "examples/m2m-example/pyproject.toml",
            "examples/m2m-example/README.md",
            "examples/m2m-example/.gitignore",
            "examples/m2m-example/.github/workflows/tests.yml",
            "examples/m2m-example/m2m_example/*.py",
            "examples/m2m-example/tests/*.py",
            "evaluation/*/*.html",
            "evaluation/quick/*",
        ]
    },
    entry_points=entry_points(),
    ext_modules=kernels(),
    cmdclass={"build_py": BuildPy},
    # Not in the root: `python -m ...` puts the working directory on sys.path, where a stale m2m.egg-info would be taken
    # for the installed m2m, entry points and all.
    options={"egg_info": {"egg_base": "build"}, "build_ext": {"parallel": os.cpu_count()}},
)
