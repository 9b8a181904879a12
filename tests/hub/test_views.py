"""Each page says what the verdicts say, and changes when they do."""

import csv
import io

import pytest

from made_results import made_result, scores_of, write_results
from specvit.errors import DataError, MissingExtra
from specvit.hub import read_knowledge, with_runs, write_hub
from specvit.hub.blocks import Grid, Listing
from specvit.hub.build import hub_pages, hub_tables
from specvit.hub.changelog import changelog_page, turns_of
from specvit.hub.choosing import models_page, recommended
from specvit.hub.conditions import conditions_of
from specvit.hub.decisions import gap_table, gate_table, principle_table
from specvit.hub.experiments import COLUMNS, experiment_table
from specvit.hub.overview import belief_table, consensus_table, next_actions
from specvit.hub.protocol import protocol_digest
from specvit.hub.roadmap import progress_of
from specvit.hub.scoreboard import boards
from specvit.hub.tree import answer_table
from specvit.report.phrase import Phrase
from specvit.runs import RunFolder, Score
from specvit.runs.study_result import write_study_result
from specvit.studies import Store, scaled_studies
from specvit.studies.store import keep_failure


def rows_of(table):
    """First cell -> the whole row, as text."""
    texts = [[cell.text if isinstance(cell, Phrase) else cell for cell in row] for row in table.rows]
    return {row[0].split(":")[0]: row for row in texts}


def with_verdicts(studies, folder, **verdicts):
    write_results(folder, studies, {name.replace("_", "-"): verdict for name, verdict in verdicts.items()})
    return read_knowledge(folder, "laptop")


@pytest.mark.parametrize(
    ("verdict", "leads"),
    [
        ("supported", "Multi-task is the default."),
        ("refuted", "Networks are trained for the label that is wanted."),
        ("undecided", "Either may be used"),
    ],
)
def test_a_gate_leads_where_its_verdict_says(studies, tmp_path, verdict, leads):
    knowledge = with_verdicts(studies, tmp_path, multi_task=verdict)
    gate = rows_of(gate_table(knowledge))["D3"]
    assert leads in gate[3]
    assert "detectable" in gate[4]
    gap = rows_of(gap_table(knowledge))["DG5"]
    assert gap[2].startswith("not closed" if verdict == "undecided" else "closed")


def test_a_gate_that_decides_each_direction_keeps_and_closes_them(studies, tmp_path):
    knowledge = with_verdicts(studies, tmp_path, multi_task="supported", chunks="refuted")
    row = rows_of(gate_table(knowledge))["D4"]
    assert row[2].startswith("2 of ")
    assert row[3].startswith("keep: multi-task; close: chunks; leave open: sigma-channel")


def test_principles_are_confirmed_refuted_or_open(studies, tmp_path):
    knowledge = with_verdicts(studies, tmp_path, kernel="refuted", standardise="supported")
    rows = rows_of(principle_table(knowledge))
    assert rows["P8"][1] == "refuted"
    assert rows["P11"][1] == "confirmed"
    assert rows["P6"][1] == "open"
    assert next(iter(rows)) == "P8"


@pytest.mark.parametrize(
    ("verdict", "so_what"),
    [
        ("supported", "A ViT can be used with few spectra"),
        ("refuted", "With few spectra use trees"),
        ("undecided", "With few spectra train both"),
    ],
)
def test_a_belief_has_the_consequence_of_its_verdict(studies, tmp_path, verdict, so_what):
    table = belief_table(with_verdicts(studies, tmp_path, data_scaling=verdict))
    (row,) = [row for row in table.rows if "A ViT needs" in row[0].text]
    assert so_what in row[1].text


def test_consensus_is_what_is_decided_first_and_decides_nothing_open(knowledge):
    rows = consensus_table(knowledge).rows
    order = {"supported": 0, "refuted": 0, "undecided": 1, "open": 2}
    places = [order[row[0].text.split()[0]] for row in rows]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2}
    for row in rows:
        assert (row[0].text.startswith("open")) == (row[2].text == "None before it is run.")


def test_next_actions_are_open_studies_as_if_then_else(knowledge, studies, tmp_path):
    actions = [item.content.text for item in next_actions(knowledge)]
    assert len(actions) == 2
    assert all(" then: " in one and " If not: " in one and " Else: " in one for one in actions)
    everything = write_results(tmp_path, studies, dict.fromkeys(studies, "undecided"))
    (first, _) = next_actions(read_knowledge(everything, "laptop"))
    assert first.content.text.startswith("More seeds or stars for ")


def test_answers_of_a_branch_ripen(studies, tmp_path):
    decided = {
        "multi-task": "supported",
        "heads": "refuted",
        "loss-scaling": "supported",
        "lattice": "supported",
    }
    write_results(tmp_path, studies, decided)
    assert rows_of(answer_table(read_knowledge(tmp_path, "laptop")))["Q3"][2:] == ["high (1.00)", "stable"]
    changed = made_result(studies["heads"], "refuted", changes=[("2026-11-01T00:00:00+00:00", "supported")])
    write_study_result(tmp_path, changed)
    assert rows_of(answer_table(read_knowledge(tmp_path, "laptop")))["Q3"][3] == "converging"


def test_a_verdict_that_changed_says_when_from_what_and_by_which_runs(knowledge):
    (turn,) = [turn for turn in turns_of(knowledge) if turn.before is not None]
    assert (turn.known.id, turn.before.verdict, turn.change.verdict) == ("heads", "undecided", "refuted")
    assert turn.why == "other runs"
    (grid,) = [block for block in changelog_page(knowledge).blocks if isinstance(block, Grid)]
    row = next(row for row in grid.table.rows if "undecided →" in row[2].text)
    assert row[0] == "2026-11-20"
    assert row[4].text == turn.change.runs[:8]


def test_the_index_has_its_fifteen_columns_and_every_study(knowledge):
    rows = list(csv.DictReader(io.StringIO(experiment_table(knowledge).to_csv())))
    assert len(COLUMNS) == 15
    assert tuple(rows[0]) == COLUMNS
    assert {row["topic"] for row in rows} == set(knowledge.studies)
    by_topic = {row["topic"]: row for row in rows}
    heads = by_topic["heads"]
    assert (heads["experiment_id"], heads["status"]) == ("VIT-20261120-heads-02", "completed")
    assert heads["entry_point"] == "specvit study run heads --scale laptop"
    assert heads["metrics_summary"].startswith("refuted; effect 0.020")
    assert by_topic["lattice"]["status"] == "ready"
    assert by_topic["lattice"]["end_time"] == ""


def test_tables_are_the_same_in_parquet(knowledge):
    parquet = pytest.importorskip("pyarrow.parquet")
    for table in hub_tables(hub_pages(knowledge), experiment_table(knowledge)):
        read = parquet.read_table(io.BytesIO(table.to_parquet()))
        rows = list(csv.reader(io.StringIO(table.to_csv())))
        assert read.column_names == rows[0]
        columns = read.to_pydict().values() if len(set(rows[0])) == len(rows[0]) else []
        for at, column in enumerate(columns):
            assert ["" if value is None else str(value) for value in column] == [row[at] for row in rows[1:]]


def test_parquet_without_its_package_names_the_extra(knowledge, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"specvit\[parquet\]"):
        write_hub(knowledge, tmp_path / "hub", parquet=True)
    assert not (tmp_path / "hub").exists()


def test_tables_of_the_pages_have_one_name_each(knowledge):
    names = [
        block.table.name
        for page in hub_pages(knowledge)
        for block in page.blocks
        if isinstance(block, Grid) and page.name != "experiments"
    ]
    assert sorted(set(names)) == sorted(names)


def test_conditions_are_those_of_the_trial(knowledge):
    few = conditions_of(knowledge.studies["data-scaling"], "vit/few", knowledge)
    assert (few.estimator, few.training) == ("vit-nano", "5\u202f000 spectra, 600 updates")
    ridge = conditions_of(knowledge.studies["cross-noise"], "half/at-twice", knowledge)
    assert (ridge.estimator, ridge.training, ridge.noise) == (
        "ridge",
        "10\u202f000 spectra",
        "0.5, tested at 2",
    )
    assert (
        conditions_of(knowledge.studies["classical"], "vit", knowledge).training == "new spectra, 600 updates"
    )


def test_the_scoreboard_compares_the_same_stars_only_and_each_run_once(studies, tmp_path):
    shared = made_result(studies["classical"], "supported")
    other = made_result(studies["multi-task"], "supported")
    same = {
        "single": shared.variants["vit"],
        "all": other.variants["all"].model_copy(update={"spectra": "6" * 16}),
    }
    write_study_result(tmp_path, shared)
    write_study_result(tmp_path, other.model_copy(update={"variants": same}))
    first, second = boards(read_knowledge(tmp_path, "laptop"))
    assert [entry.name for entry in first] == ["vit", "lightgbm", "ridge"]
    assert [known.id for known in first[0].studies] == ["classical", "multi-task"]
    assert [entry.name for entry in second] == ["all"]


def with_scores(studies, study, **intervals):
    """A result whose variants have these intervals of expected R²."""
    result = made_result(studies[study], "supported")
    variants = dict(result.variants)
    for name, (low, high) in intervals.items():
        scores = {**scores_of(0), "expected_r2": Score(value=0.5 * (low + high), low=low, high=high)}
        variants[name] = variants[name].model_copy(update={"scores": {"all": scores}})
    return result.model_copy(update={"variants": variants})


@pytest.mark.parametrize(
    ("intervals", "name"),
    [
        ({"ridge": (0.4, 0.5), "lightgbm": (0.45, 0.55), "vit": (0.48, 0.6)}, "ridge"),
        ({"ridge": (0.4, 0.5), "lightgbm": (0.51, 0.55), "vit": (0.54, 0.6)}, "lightgbm"),
        ({"ridge": (0.4, 0.5), "lightgbm": (0.51, 0.55), "vit": (0.56, 0.6)}, "vit"),
        # It beats the cheapest alone.
        ({"ridge": (0.4, 0.5), "lightgbm": (0.45, 0.7), "vit": (0.56, 0.6)}, "ridge"),
    ],
)
def test_the_cheapest_is_recommended_unless_a_dearer_one_is_surely_better(studies, intervals, name):
    result = with_scores(studies, "classical", **intervals)
    assert recommended(result, ("ridge", "lightgbm", "vit")) == name
    assert recommended(result, ("ridge", "none")) is None


def test_smaller_errors_are_better_where_there_is_no_posterior(studies):
    result = made_result(studies["sigma-leak"], "supported")
    narrow = {
        name: facts.model_copy(
            update={"scores": {"all": {"error": Score(value=at, low=at - 0.1, high=at + 0.1)}}}
        )
        for (name, facts), at in zip(result.variants.items(), (0.9, 0.5), strict=True)
    }
    result = result.model_copy(update={"variants": narrow, "exact": False})
    assert recommended(result, ("pipeline", "true")) == "true"


def test_the_decision_tree_has_an_answer_where_a_study_has_one(knowledge, studies, tmp_path):
    def leaves(page):
        def walk(items):
            for item in items:
                yield item.content.text
                yield from walk(item.below)

        (tree,) = [block for block in page.blocks if isinstance(block, Listing)][:1]
        return list(walk(tree.items))

    assert any(text.startswith("of one depth: use vit-nano (vit") for text in leaves(models_page(knowledge)))
    empty = read_knowledge(tmp_path / "none", "laptop")
    assert any(text == "few: not known, data-scaling is open" for text in leaves(models_page(empty)))


def test_the_board_shows_the_state_of_the_runs(studies, tmp_path):
    """Nothing has been run in an empty folder, so that all that is declared is ready; a run begun or failed says so."""
    (tmp_path / "runs").mkdir()
    knowledge = read_knowledge(tmp_path / "results", "smoke")
    empty = with_runs(knowledge, tmp_path / "runs")
    assert {progress_of(empty.studies[name], empty) for name in studies} == {"ready"}
    assert set(empty.runs["depth"]) == {"waiting"}
    assert len(empty.runs["depth"]) == 3
    with pytest.raises(DataError, match="--runs"):
        with_runs(knowledge, tmp_path / "nowhere")
    (scaled,) = scaled_studies([studies["depth"]], "smoke")
    store, trial = Store(tmp_path / "runs"), scaled.variants[0].trials[1]
    begun = RunFolder.create(tmp_path / "elsewhere", "trial", trial.config.to_dict())
    begun.path.rename(store.folder_of(trial).parent.mkdir(parents=True) or store.folder_of(trial))
    looked = with_runs(knowledge, tmp_path / "runs")
    assert progress_of(looked.studies["depth"], looked) == "running"
    assert looked.started["depth"] == RunFolder.open(store.folder_of(trial)).provenance["created"]
    assert progress_of(looked.studies["width"], looked) == "running"
    keep_failure(store.folder_of(trial), "a traceback")
    failed = with_runs(knowledge, tmp_path / "runs")
    assert progress_of(failed.studies["depth"], failed) == "failed"
    # What a judged study has run begins no other.
    write_results(tmp_path / "results", studies, {"depth": "undecided"}, scale="smoke", seeds=(1,))
    (store.folder_of(trial) / "failure.txt").unlink()
    judged = with_runs(read_knowledge(tmp_path / "results", "smoke"), tmp_path / "runs")
    assert progress_of(judged.studies["depth"], judged) == "done"
    assert set(judged.started) == {"depth"}
    assert progress_of(judged.studies["width"], judged) == "ready"


def test_the_digest_of_the_protocol_changes_with_the_scale(knowledge, tmp_path):
    other = read_knowledge(tmp_path, "reference")
    assert protocol_digest(knowledge) != protocol_digest(other)


def test_what_is_undecided_is_to_be_decided_at_the_next_scale(studies, tmp_path):
    write_results(tmp_path, studies, {"kernel": "undecided", "dilation": "refuted"})
    table = experiment_table(read_knowledge(tmp_path, "laptop"))
    action = table.head.index("next_action")
    actions = {row[2]: row[action] for row in table.rows}
    assert actions["kernel"] == (
        f"{studies['kernel'].outcomes.undecided} To decide it: specvit study run kernel --scale reference"
    )
    assert actions["dilation"] == studies["dilation"].outcomes.refuted
    assert actions["width"] == "specvit study run width --scale laptop"
