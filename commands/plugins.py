"""What is installed: `plugins list`, `info`, `new`, `check`, and `doctor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from m2m.commands.terminal import Command, output_options, pairs, print_json, print_line, print_note, print_table
from m2m.core.choices import TEST_SECONDS
from m2m.core.plugins.kinds import KINDS


@click.group()
def plugins() -> None:
    """List the installed components, look into one, check one, write a new one."""


def _kind(help: str) -> Callable[[Command], Command]:
    return click.option("--kind", type=click.Choice(list(KINDS)), help=help)


@plugins.command("list")
@_kind("Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for programs.")
@output_options
def list_plugins(kind: str | None, as_json: bool) -> None:
    """List the installed components of every kind, importing none of them."""
    from m2m.core.plugins import registry

    found = registry.components(kind)
    if as_json:
        print_json([vars(component) for component in found])
        return
    defaults = {(k, registry.default(k)) for k in KINDS}
    rows = [("KIND", "NAME", "STATUS", "PACKAGE", "SUMMARY")]
    for c in found:
        star = "*" if (c.kind, c.name) in defaults else ""
        rows.append((c.kind, c.name + star, c.status, f"{c.distribution} {c.version}", c.note or c.summary))
    print_table(rows)
    print_note("* is the default; `m2m plugins info NAME` shows options")


@plugins.command("info")
@click.argument("name")
@_kind("Needed where two kinds share the name.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@output_options
def plugin_info(name: str, kind: str | None, as_json: bool) -> None:
    """Show one component and its options; loads it."""
    from m2m.core.plugins import registry
    from m2m.core.plugins.options import describe

    component = registry.find(kind, name)
    loaded = registry.load(component.kind, name)
    options = describe(loaded.Options)
    if as_json:
        print_json(vars(component) | {"api_version": loaded.API_VERSION, "options": [vars(o) for o in options]})
        return
    print_line(f"{component}: {component.summary}")
    print_line(f"{component.target}, API version {loaded.API_VERSION}  {component.url}".rstrip())
    print_line("\nOptions:" if options else "\nIt has no options.")
    print_table(
        [(f"  {o.name}", o.type, "required" if o.required else f"= {o.default}", o.description) for o in options]
    )


@plugins.command("new")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([kind.name for kind in KINDS.values() if kind.example]),
    required=True,
    help="What it is.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(), help="Where its folder is made.  [default: here]"
)
@output_options
def new_plugin(name: str, kind: str, output: Path) -> None:
    """Write a package for a plugin: complete, installable, with tests that pass."""
    from m2m.core.plugins import scaffold

    folder = scaffold.new_plugin(name, kind, output)
    print_line(str(folder))
    print_note(f"next: pip install -e '{folder}[test]' && m2m plugins check {name}")


@plugins.command("check")
@click.argument("name")
@_kind("Needed where two kinds share the name.")
@pairs("--opt", "options", "An option that it is set up with, see `m2m plugins info`.")
@click.option(
    "--timeout", default=TEST_SECONDS, show_default=True, type=click.FloatRange(1), help="Seconds that a test may take."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@output_options
def check_plugin(name: str, kind: str | None, options: dict[str, str], timeout: float, as_json: bool) -> None:
    """Check whether a component keeps its contract; the exit code is 1 if not."""
    from m2m.core.plugins import registry

    component = registry.find(kind, name)  # before torch
    from m2m.core import testing

    checks = []
    for check in testing.check(component.kind, name, options, timeout):
        checks.append(check)
        if not as_json:
            print_line(f"{check.status:7} {check.seconds:5.1f} s  {check.name.replace('_', ' ')}: {check.text}")
    failed = sum(check.status == "failed" for check in checks)
    if as_json:
        print_json(vars(component) | {"kept": not failed, "checks": [vars(check) for check in checks]})
    else:
        done = sum(check.status == "passed" for check in checks)
        print_line(f"{component}: {done} passed, {failed} failed, {len(checks) - done - failed} skipped")
    if failed:
        raise SystemExit(1)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for programs.")
@output_options
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing, and the command that would mend it."""
    from m2m.core.plugins.doctor import examine

    findings = list(examine())
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        print_table([(f.status, f.topic, f.text + (f"  ->  {f.cure}" if f.cure else "")) for f in findings])
    if any(finding.status == "broken" for finding in findings):
        raise SystemExit(1)
