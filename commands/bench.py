"""Benches and listening tests: `bench`, `bench compare`, `mos make`, `mos report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import click

from m2m.commands.terminal import (
    names,
    output_options,
    pairs,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
)
from m2m.core.choices import (
    BENCH_REPEATS,
    BENCH_SECONDS,
    BENCH_SPLIT,
    LISTENING_RECORDINGS,
    LISTENING_SECONDS,
    MAX_SEED,
    STAGES,
    Split,
)


@click.group(invoke_without_command=True)
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file with any of these, see docs/bench.md.")
@names("--vocoders", "'griffin-lim,wavenet'.  [default: all installed]")
@names("--conditioners", "'film,concat'.  [default: all with a model]")
@names("--losses", "Only models trained with these.")
@names("--models", "Models or runs, or folders of them.  [default: those that ship]", "FOLDERS")
@names("--stages", f"Of {','.join(STAGES)}; transcribed, where there is a transcriber.  [default: the first four]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="A data set, or a folder of recordings.  [default: built in]"
)
@click.option("--split", type=click.Choice(get_args(Split)), help=f"Of the data set.  [default: {BENCH_SPLIT}]")
@names("--files", "Names, or the first so many.  [default: all]")
@names("--instruments", "[default: all]")
@click.option("--seconds", type=float, help=f"Of each recording.  [default: {BENCH_SECONDS:g}]")
@click.option(
    "--repeats", type=click.IntRange(0), help=f"Of the speed measurement; 0: none.  [default: {BENCH_REPEATS}]"
)
@click.option("--transcriber", metavar="NAME", help="Score notes too, by what this transcriber hears.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED))
@click.option("--device", help="cpu, cuda, or auto.  [default: cpu]")
@pairs("--set", "values", "Any field of the config, such as vocoder_options.griffin-lim.iterations=5.")
@click.option("--quick", is_flag=True, help="The built-in set in under two minutes; other options go on top.")
@click.option(
    "-o",
    "--output",
    default="bench",
    show_default=True,
    type=click.Path(path_type=Path),
    help="An unfinished one is continued.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes.  [default: 1; 2 with --quick]")
@click.option("--retry", is_flag=True, help="Compute once more what has failed.")
@click.option("--json", "as_json", is_flag=True, help="What was done as a JSON object, instead of the summary.")
@click.pass_context
@output_options
def bench(
    context: click.Context,
    config: Path | None,
    quick: bool,
    output: Path,
    jobs: int | None,
    retry: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare components: quality against recordings, speed, memory; tables, plots and sound in OUTPUT/report.html.

    The exit code is 1 if anything failed.
    """
    if context.invoked_subcommand:
        return
    from m2m.core.system.run_config import load_run
    from m2m.evaluation.bench.plan import BenchConfig
    from m2m.evaluation.bench.sweep import QUICK, run_bench

    values = given.pop("values")
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen.get("files") and chosen["files"][0].isdecimal():
        chosen["files"] = chosen["files"][0]
    if quick:
        print_note(
            "a quick bench takes under two minutes on two idle processors; Ctrl-C stops it, and it can be continued"
        )
    jobs = jobs or (min(2, os.cpu_count() or 1) if quick else 1)
    outcome = run_bench(
        load_run(BenchConfig, config, {**chosen, **values}, QUICK if quick else {}), output, jobs, retry
    )
    if as_json:
        print_json({"folder": str(output), **vars(outcome)})
    else:
        print_line((output / "summary.md").read_text(encoding="utf-8").rstrip())
    print_note(
        f"{outcome.cells} cells, {outcome.computed} computed now, {outcome.failed} failed, {outcome.skipped} skipped: "
        f"{output / 'report.html'}"
    )
    if outcome.failed:
        raise SystemExit(1)


@bench.command("compare")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Also what is the same.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@output_options
def compare_benches(old: Path, new: Path, everything: bool, as_json: bool) -> None:
    """Say what got better or worse from one bench to another, beyond the noise; the exit code is 1 if anything got worse."""
    from m2m.evaluation.bench.compare import broken, compare
    from m2m.evaluation.bench.results import read_results

    before, after = read_results(old), read_results(new)
    changes, failures = compare(before, after), broken(before, after)
    if as_json:
        print_json({"changes": [vars(change) for change in changes], "failures": failures})
    else:
        shown = [change for change in changes if everything or change.verdict != "same"]
        rows = [("", "SYSTEM", "MEASURE", "OLD", "NEW", "DIFFERENCE, 95 %")]
        rows += [
            (c.verdict, c.system, c.measure, f"{c.old:.4g}", f"{c.new:.4g}", f"{c.low:+.4g} to {c.high:+.4g}")
            for c in shown
        ]
        print_table(rows if shown else [("nothing changed beyond the noise",)])
        print_note(f"{len(changes)} compared, {sum(c.verdict == 'same' for c in changes)} the same within the noise")
    for failure in failures:
        print_error(failure)
    if failures or any(change.verdict == "worse" for change in changes):
        raise SystemExit(1)


@click.group()
def mos() -> None:
    """Make a listening test from a bench, and compute what its listeners said."""


@mos.command("make")
@click.argument("folder", metavar="BENCH", type=click.Path(path_type=Path))
@click.option("-o", "--output", default="listening", show_default=True, type=click.Path(path_type=Path))
@names("--systems", "As the bench's summary names them.  [default: all]")
@click.option(
    "--recordings",
    default=LISTENING_RECORDINGS,
    show_default=True,
    type=click.IntRange(1),
    help="How many, spread over the bench.",
)
@click.option(
    "--seconds", default=LISTENING_SECONDS, show_default=True, type=click.FloatRange(0.1), help="Of each, at most."
)
@click.option("--seed", default=0, show_default=True, help="Of the choice.")
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite an existing test.")
@output_options
def make_listening_test(folder: Path, output: Path, **chosen: Any) -> None:
    """Make a blind listening test: a page to open from a file or any web server, and the key to it, not to be shown."""
    from m2m.evaluation.listening.blind_test import make_blind_test

    made = make_blind_test(folder, output, **chosen)
    print_note(f"{made.stimuli} stimuli of {made.systems} systems and {made.recordings} recordings; key: {made.key}")
    print_line(str(made.page))


@mos.command("report")
@click.argument("key", type=click.Path(path_type=Path))
@click.argument("ratings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@output_options
def report_listening_test(key: Path, ratings: tuple[Path, ...], as_json: bool) -> None:
    """Mean opinion scores with standard error and 95 % interval, from the listeners' RATINGS (JSON files, or folders)."""
    from m2m.evaluation.listening.mos import mos_report

    found = mos_report(key, ratings)
    if as_json:
        print_json(vars(found))
        return
    rows = [("SYSTEM", "MOS", "STANDARD ERROR", "95 % INTERVAL", "RATINGS")]
    for s in found.systems:
        interval = f"{s['low']:.2f} to {s['high']:.2f}" if s["low"] is not None else "-"
        error = f"{s['error']:.3f}" if s["error"] is not None else "-"
        rows.append((s["system"], f"{s['mos']:.3f}", error, interval, str(s["ratings"])))
    print_table(rows)
    for name, reason in found.screened.items():
        print_note(f"listener {name} is left out: {reason}")
    print_note(f"{found.listeners} listeners count")
