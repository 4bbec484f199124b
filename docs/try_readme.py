"""Run the README's command blocks in order, as a new user would, in a copy of this folder and a fresh environment.

    python docs/try_readme.py                          # all but what wants a GPU, and the tests
    M2M_CPU=avx2 python docs/try_readme.py --venv V    # as on a machine with AVX2 only, in an environment that is there

Says how long every line took. The exit code is 1 where one failed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
LEFT_OUT = re.compile(r"# .*GPU|-m pytest")  # what a machine may lack, and what .ci/run does
SERVED = 60  # seconds after which the explorer is stopped, as its user does by Ctrl-C
INTERRUPTED = 130


@dataclass(frozen=True)
class Block:
    """A block of the README. kind: "shell", or what its fence says. line: of the file, from 1."""

    kind: str
    text: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """The indented and the fenced blocks of a Markdown file, in order.

    >>> list(blocks("Say:\\n\\n    m2m doctor\\n"))
    [Block(kind='shell', text='m2m doctor', line=3)]
    """
    found = re.compile(r"^```(\w+)\n([\s\S]*?)^```$|(?<=\n\n)((?: {4}.*\n|\n(?= {4}))+)", re.MULTILINE)
    for match in found.finditer(text.replace("\r\n", "\n")):
        kind, inner = (
            (match[1], match[2]) if match[1] else ("shell", re.sub(r"^ {4}", "", match[3], flags=re.MULTILINE))
        )
        yield Block(kind, inner.strip("\n"), text.count("\n", 0, match.start()) + 1)


def script(block: Block, plugins: Path) -> str:
    """A block as a bash script that tells the seconds of each line. plugins: where a user's plugins.toml may be written."""
    if block.kind == "python":
        return f"python - <<'END'\n{block.text}\nEND"
    if block.kind == "toml":
        plugins.write_text(block.text, encoding="utf-8")
        return f"m2m --plugins {shlex.quote(str(plugins))} plugins list"
    lines = ["set -e"]
    for line in filter(None, block.text.splitlines()):
        if LEFT_OUT.search(line):
            lines.append(f"echo {shlex.quote(f'left out: {line}')}")
            continue
        served = rf"{{ timeout --preserve-status -s INT {SERVED} \g<0> || [ $? = {INTERRUPTED} ]; }}"
        lines += ["SECONDS=0", re.sub(r"m2m serve [^#&]*[^#& ]", served, line)]
        lines.append(f'echo "$SECONDS s: "{shlex.quote(line)}')
    return "\n".join(lines)


@click.command()
@click.option("--venv", "environment", type=click.Path(path_type=Path), help="[default: a fresh one]")
def main(environment: Path | None) -> None:
    """Run the README's blocks."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "m2m"
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, tracked.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        if environment is None:
            environment = Path(work) / "venv"
            venv.create(environment, with_pip=True)
        path = os.pathsep.join([str(environment.absolute() / "bin"), os.environ["PATH"]])
        for block in blocks((folder / "README.md").read_text(encoding="utf-8")):
            click.echo(f"== README.md, line {block.line}")
            done = subprocess.run(
                ["bash", "-c", script(block, Path(work) / "plugins.toml")],
                cwd=folder,
                env={**os.environ, "PATH": path},
                check=False,
            )
            if done.returncode:
                sys.exit(f"README.md, line {block.line}: exit code {done.returncode}")


if __name__ == "__main__":
    main()
