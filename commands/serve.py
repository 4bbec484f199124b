"""The timbre explorer: `serve`."""

from __future__ import annotations

import click

from m2m.commands.terminal import output_options, pairs, print_line
from m2m.core.system import progress


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; others need a token.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--model", "models", multiple=True, metavar="FOLDER", help="A trained model of yours, beside those that ship."
)
@click.option(
    "--token", envvar="M2M_TOKEN", default="", help="What clients must know.  [default: made up where one is needed]"
)
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that the server may be asked for by."
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto.")
@pairs(
    "--limit",
    "limits",
    "How much clients may ask for, such as jobs=8 or score_seconds=120; docs/explorer.md has them all.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in your browser.")
@output_options
def serve(
    host: str,
    port: int,
    models: tuple[str, ...],
    token: str,
    hosts: tuple[str, ...],
    device: str,
    limits: dict[str, str],
    open_page: bool,
) -> None:
    """Open the timbre explorer: a page that plays, and an HTTP API (see /docs.html on it)."""
    from m2m.core.errors import M2MError
    from m2m.core.plugins.options import validate
    from m2m.core.rendering.model_choice import choose_model

    for model in models:  # before torch
        choose_model(model)
    try:
        from m2m.web.limits import ServerLimits
        from m2m.web.serve import serve as run
    except ImportError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette"):
            raise
        raise M2MError(f"'m2m serve' needs {error.name}: pip install 'm2m[web]'.") from error

    def told(address: str) -> None:
        print_line(address)
        progress.results().flush()
        if open_page:
            click.launch(address)

    checked = validate(ServerLimits, limits, "--limit")
    run(host, port, models=models, limits=checked, token=token, hosts=hosts, device=device, announce=told)
