"""The `m2m` command. Thin: a command reads its arguments, imports what it needs, calls it; so `--help` is instant.

Standard output carries results only; notes, progress and errors go to standard error. A failure that its reader can
mend is one line and exit code 1, wrong usage is 2, Ctrl-C is 130. M2M_DEBUG=1 shows tracebacks.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import click

from m2m import __version__
from m2m.commands import bench, dataset, plugins, render, score, serve, train, transcribe
from m2m.commands.terminal import output_options, print_error, print_note
from m2m.core.errors import M2MDeprecationWarning, explain
from m2m.core.system import progress

LEAVE_SECONDS = 2.0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--plugins",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your plugins.toml: defaults, options, components switched off.  [default: M2M_PLUGINS, else ./plugins.toml]",
)
@output_options
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli(plugins: Path | None) -> None:
    """Render scores as music with neural networks; every stage is a plugin."""
    if plugins is not None:
        os.environ["M2M_PLUGINS"] = str(plugins.absolute())  # worker processes read it too


for command in (
    render.render,
    render.rerender,
    render.timbres,
    score.score,
    transcribe.transcribe,
    transcribe.translate,
    plugins.plugins,
    plugins.doctor,
    dataset.dataset,
    train.train,
    bench.bench,
    bench.mos,
    serve.serve,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; every failure is one line and an exit code."""
    interrupted = [130]  # 128 + SIGINT
    progress.open_streams()

    def terminate(*_: object) -> None:
        interrupted[0] = 128 + signal.SIGTERM
        raise KeyboardInterrupt  # as Ctrl-C does, so that temporary files go and worker processes end

    signal.signal(signal.SIGTERM, terminate)
    shown = warnings.showwarning

    def show(message: Any, category: Any, *where: Any, **more: Any) -> None:
        if issubclass(category, M2MDeprecationWarning):  # for the user: a line, without the code that it came from
            print_note(f"m2m: {message}")
        else:
            shown(message, category, *where, **more)

    warnings.showwarning = show
    try:
        code = cli.main(prog_name="m2m", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe can still be told from a success
    except click.ClickException as error:  # wrong usage: click shows it with the command's synopsis
        usage = io.StringIO()
        error.show(usage)
        click.echo(progress.shown(usage.getvalue()), err=True, nl=False)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = interrupted[0]
        if any(thread.name.startswith("m2m-part") for thread in threading.enumerate()):
            os._exit(code)  # Python would wait for the blocks that they compute; all else is tidied
    except BrokenPipeError:  # the reader has had enough: nothing is left to say, nor to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        print_error(explain(error))
        code = 1
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # nothing is left to tidy, and a handler may not run while Python ends
        signal.signal(number, signal.SIG_DFL)
    _leave_threads(code or 0)
    gc.freeze()  # or Python's end would search all of PyTorch for cycles to free: 0.4 s
    sys.exit(code or 0)


def _leave_threads(code: int) -> None:
    """Python waits at its end for every thread; one that a plugin has started and never ends is waited for in vain."""
    registry = sys.modules.get("m2m.core.plugins.registry")
    if registry is None or not registry.lingering():
        return

    def leave() -> None:
        left = {str(component) for component in registry.lingering().values()}
        if left and not threading.main_thread().is_alive():
            print(
                f"m2m: {' and '.join(sorted(left))} left a thread running, m2m ends without it",
                file=sys.stderr,
                flush=True,
            )
            os._exit(code)

    watch = threading.Timer(LEAVE_SECONDS, leave)
    watch.daemon = True
    watch.start()
