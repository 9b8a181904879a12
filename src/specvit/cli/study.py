"""`specvit study`: declared experiments, run once, judged by their own rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specvit.cli.terminal import say, show, show_json

if TYPE_CHECKING:
    from specvit.runs.study_result import StudyResult
    from specvit.studies import Plan, ScaledStudy, Study

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="List, plan, run and judge studies: experiments that are declared before they are run.",
)

Names = Annotated[list[str] | None, typer.Argument(help="Ids of studies, or paths of .toml files.")]
Everything = Annotated[bool, typer.Option("--all", help="All studies of the catalogue.")]
ScaleOption = Annotated[
    str, typer.Option(help="smoke (seconds), laptop (hours for all) or reference (a GPU).")
]
Catalogue = Annotated[
    Path | None, typer.Option(help="A folder of studies of your own instead of those that ship.")
]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder of the runs that all studies share.")]
Results = Annotated[Path, typer.Option(help="Folder of the results, small enough to be committed.")]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]

RUNS, RESULTS = Path("runs/studies"), Path("results")


@app.command("list")
def list_studies(catalogue: Catalogue = None, results: Results = RESULTS, as_json: Json = False) -> None:
    """List the studies, with the verdicts there are.

    Example:

        specvit study list
    """
    from specvit.studies import SCALES, read_studies

    studies = read_studies(catalogue)
    rows: list[dict[str, Any]] = []
    for study in studies.values():
        told = {scale: _told(results, study, scale) for scale in SCALES}
        rows.append(
            {
                "id": study.id,
                "track": study.track,
                "entries": study.entries,
                "title": study.title,
                "verdicts": {scale: verdict for scale, verdict in told.items() if verdict is not None},
            }
        )
    if as_json:
        show_json(rows)
        return
    width = max((len(study) for study in studies), default=0)
    for row in rows:
        verdicts = ", ".join(f"{verdict} at {scale}" for scale, verdict in row["verdicts"].items())
        named = ", ".join((row["track"], *row["entries"]))
        show(f"{row['id']:{width}}  {row['title']} ({named}){verdicts and f'  [{verdicts}]'}")


@app.command("show")
def show_study(
    names: Annotated[list[str], typer.Argument(help="Ids of studies, or paths of .toml files.")],
    catalogue: Catalogue = None,
    scale: ScaleOption = "laptop",
    as_json: Json = False,
) -> None:
    """Show what studies declare: question, claim, variants, rule, and what each outcome would mean.

    Example:

        specvit study show classical
    """
    from specvit.studies import choose_studies, scaled_studies

    studies = choose_studies(names, catalogue, False)
    if as_json:
        found = [study.model_dump(mode="json") for study in studies]
        show_json(found if len(found) > 1 else found[0])
        return
    for scaled in scaled_studies(studies, scale):
        _show(scaled)


def _show(scaled: ScaledStudy) -> None:
    study, scale = scaled.study, scaled.scale
    show((f"{study.id}: {study.title}", "bold"))
    for word, text in _declared(study):
        show(f"{word:12} {text}")
    for variant in scaled.variants:
        changes = ", ".join(f"{key} = {value}" for key, value in variant.changes.items())
        show(f"{'variant':12} {variant.name}: {changes or 'as it is'}")
    for share in study.shares.values():
        told = "" if share.published is None else f"; published {share.published:g}"
        show(f"{'share':12} {share.text}: {share.part} of {share.whole} on {share.slice}{told}")
    seeds = ", ".join(map(str, scaled.seeds))
    show(
        f"{scale:12} {len(scaled.variants)} variants, seeds {seeds}, {scaled.variants[0].yardstick.stars:,} test stars"
    )


@app.command()
def plan(
    names: Names = None,
    everything: Everything = False,
    scale: ScaleOption = "laptop",
    catalogue: Catalogue = None,
    runs: RunsFolder = RUNS,
    as_json: Json = False,
) -> None:
    """Show what would be run: runs that are shared, those that are done, time and disk.

    Examples:

        specvit study plan --all

        specvit study plan classical --scale smoke
    """
    made = _plan(names, everything, scale, catalogue, runs)
    if as_json:
        tasks = [
            {"title": task.title, "digest": task.run.digest, "state": task.state, "studies": task.studies}
            for task in made.tasks
        ]
        show_json({**_facts(made), "tasks": tasks})
        return
    for task in made.tasks:
        show(f"{task.state:8} {task.run.digest}  {task.title}")
    show(_in_words(made))


@app.command()
def run(
    names: Names = None,
    everything: Everything = False,
    scale: ScaleOption = "laptop",
    hours: Annotated[
        float | None, typer.Option(help="Begin no run after this time; the same command continues.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Local processes, one thread each.")] = 1,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler instead of local processes (extra 'hpc').")
    ] = None,
    catalogue: Catalogue = None,
    runs: RunsFolder = RUNS,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Run studies, judge them by their rules, and write the results.

    Runs are shared between studies and found again by what determines them: a command that was stopped continues,
    and does nothing twice. A run that fails is recorded in its folder, and the others go on.

    Examples:

        specvit study run --all --scale smoke

        specvit study run classical positions --workers 2 --hours 3

        specvit study run --all --scale reference --dask tcp://host:8786
    """
    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.errors import RunError
    from specvit.studies import Store, read_scale, run_studies

    check_at_least_one(workers=workers)
    made = _plan(names, everything, scale, catalogue, runs)
    say(_in_words(made))
    with RichProgress(Screen(stderr=True)) as progress:
        outcome = run_studies(made, Store(runs), results, progress, workers, dask, hours)
    if as_json:
        show_json(
            {
                "verdicts": {result.id: result.verdict for result in outcome.results},
                "failed": {task.run.digest: reason for task, reason in outcome.failed},
                "incomplete": outcome.incomplete,
            }
        )
    else:
        for result in outcome.results:
            show(f"{result.id}: ", (result.verdict, "bold"), f". {result.sentence}")
        if outcome.results and not read_scale(scale).is_evidence:
            say(f"the scale {scale} shows that everything works; its verdicts are no evidence")
        for study in outcome.incomplete:
            show(f"{study}: not judged yet, some of its runs are missing; the same command continues")
    if outcome.failed:
        raise RunError(
            f"{len(outcome.failed)} of {len(made.remaining)} runs failed; their folders in {runs} hold the reasons"
        )


@app.command()
def status(
    names: Names = None,
    everything: Everything = False,
    scale: ScaleOption = "laptop",
    catalogue: Catalogue = None,
    runs: RunsFolder = RUNS,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Show how far studies are: runs done, failed and left, and the verdict there is.

    Example:

        specvit study status --all
    """
    from specvit.studies.store import FAILURE, Store, failure_of

    made = _plan(names, everything, scale, catalogue, runs)
    rows = []
    for scaled in made.studies:
        states = [task.state for task in made.tasks if scaled.study.id in task.studies]
        counts: dict[str, Any] = {
            state: states.count(state) for state in ("done", "failed", "started", "waiting")
        }
        verdict = _told(results, scaled.study, scale)
        rows.append({"id": scaled.study.id, **counts, "verdict": verdict})
    if as_json:
        show_json({**_facts(made), "studies": rows})
        return
    width = max(len(row["id"]) for row in rows)
    for row in rows:
        told = ", ".join(
            f"{row[state]} {state}" for state in ("done", "failed", "started", "waiting") if row[state]
        )
        show(f"{row['id']:{width}}  {told}  {row['verdict'] or 'no verdict yet'}")
    for task in made.tasks:
        if task.state == "failed":
            folder = Store(runs).folder_of(task.run)
            show(f"failed: {task.title}: {failure_of(folder)} ({folder / FAILURE})")
    show(_in_words(made))


@app.command()
def report(
    names: Names = None,
    everything: Everything = False,
    scale: ScaleOption = "laptop",
    catalogue: Catalogue = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Show the results of studies: verdict, effects with 95 % intervals, and what could have been seen.

    Reads the results only; nothing is run. With --all those without a verdict are named at the end.

    Example:

        specvit study report classical --scale smoke
    """
    from specvit.errors import DataError
    from specvit.runs.study_result import read_study_result, result_path
    from specvit.studies import choose_studies

    studies = choose_studies(names or [], catalogue, everything)
    found, without = [], []
    for study in studies:
        path = result_path(results, study.id, scale)
        if everything and not path.exists():
            without.append(study.id)
            continue
        try:
            found.append((study, read_study_result(path)))
        except DataError as error:
            if not everything:
                raise
            say(f"left out: {error}")
    if as_json:
        show_json([result.model_dump(mode="json") for _, result in found])
        return
    for study, result in found:
        _print_result(study, result)
    if without:
        show(f"no verdict at the scale {scale} yet: {', '.join(without)}")


def _plan(names: list[str] | None, everything: bool, scale: str, catalogue: Path | None, runs: Path) -> Plan:
    from specvit.studies import Store, choose_studies, make_plan, scaled_studies

    studies = choose_studies(names or [], catalogue, everything)
    return make_plan(scaled_studies(studies, scale), Store(runs))


def _facts(made: Plan) -> dict[str, Any]:
    return {
        "asked": made.asked,
        "tasks": len(made.tasks),
        "remaining": len(made.remaining),
        "core_hours": round(made.seconds / 3600, 3),
        "gigabytes": round(made.bytes_needed / 1e9, 4),
    }


def _in_words(made: Plan) -> str:
    done = len(made.tasks) - len(made.remaining)
    studies = f"{len(made.studies)} {'study asks' if len(made.studies) == 1 else 'studies ask'}"
    return (
        f"{studies} for {made.asked} trials; {len(made.tasks)} runs in all, {done} done; left: "
        f"{len(made.remaining)} runs, about {made.seconds / 3600:.2g} core hours and {made.bytes_needed / 1e9:.2g} GB"
    )


def _declared(study: Study) -> list[tuple[str, str]]:
    source = study.source
    return [
        ("question", study.question),
        ("hypothesis", study.hypothesis),
        ("claim", f"{source.claim}: {source.number} (published by {source.work})"),
        ("rule", study.rule),
        *((outcome, getattr(study.outcomes, outcome)) for outcome in ("supported", "refuted", "undecided")),
    ]


#: Of a verdict on another rule or other variants than are declared now.
CHANGED = "rule or variants changed since"


def _told(results: Path, study: Study, scale: str) -> str | None:
    """Return the verdict there is, with what a reader has to know of it; None without one."""
    from specvit.errors import DataError
    from specvit.runs.study_result import read_study_result, result_path
    from specvit.studies import is_of_now

    path = result_path(results, study.id, scale)
    try:
        found = read_study_result(path) if path.exists() else None
    except DataError:
        return f"unreadable result {path}"
    if found is None:
        return None
    return found.verdict if is_of_now(study, found) else f"{found.verdict}, {CHANGED}"


def _print_result(study: Study, result: StudyResult) -> None:
    from rich.table import Table

    from specvit.cli.screen import Screen, print_table
    from specvit.hub.cite import share_text
    from specvit.studies import is_of_now

    show((f"{result.id}: {result.title}", "bold"))
    if is_of_now(study, result):
        show(f"{result.verdict} at {result.scale} scale. {getattr(study.outcomes, result.verdict)}")
    else:
        show(
            f"{result.verdict} at {result.scale} scale, but {CHANGED}: judge it again with `specvit study run`"
        )
    show(f"rule: {result.rule}")
    for claim in result.claims:
        if not claim.effects:
            show(
                f"  {claim.text}: {claim.verdict}; {claim.slice} has {claim.stars} test stars, too few to say anything"
            )
        for effect in claim.effects:
            show(
                f"  {claim.text}: {claim.verdict}; has to be below zero: {effect.value:.4g} "
                f"[{effect.low:.4g} to {effect.high:.4g}], p = {claim.p:.3g} against {claim.level:.3g}, "
                f"detectable {effect.detectable:.2g}, {claim.stars} stars"
            )
    for share in result.shares.values():
        show(f"  share of {share.text} on {share.slice}: {share_text(share)}")
    table = Table(
        title=f"{result.label}, all stars, mean and 95 % interval over {len(result.seeds)} seeds and stars"
    )
    table.add_column("variant")
    measures = list(dict.fromkeys(name for facts in result.variants.values() for name in facts.scores["all"]))
    for name in measures:
        table.add_column(name)
    for variant, facts in result.variants.items():
        cells = (facts.scores["all"].get(name) for name in measures)
        table.add_row(
            variant, *("-" if c is None else f"{c.value:.3g} ({c.low:.3g} to {c.high:.3g})" for c in cells)
        )
    print_table(Screen(), table)
    stars = result.stars
    show(
        f"{stars.drawn} test stars; left out for all variants: {stars.unconverged} whose posterior did not converge, "
        f"{stars.missing} without an estimate"
    )
