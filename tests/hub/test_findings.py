"""What was found: every published claim once, and its fate by its verdict and by which way its rule asks."""

from pathlib import Path

import pytest

from made_results import made_result, write_results
from specvit.hub import read_knowledge, write_findings
from specvit.hub.cite import all_evidence
from specvit.hub.evidence import standing
from specvit.hub.findings import FATES, detectable, fate_of
from specvit.runs.study_result import write_study_result

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("study", "verdict", "fate"),
    [
        ("kernel", "supported", "holds"),
        ("kernel", "refuted", "does not hold"),
        ("kernel", "undecided", "undecided"),
        # The rule of this one denies the claim.
        ("dilation", "supported", "does not hold"),
        ("dilation", "refuted", "holds"),
        ("dilation", "undecided", "undecided"),
        # At this scale it is judged with fewer spectra than the claim is about.
        ("data-scaling", "refuted", "beside the claim"),
        ("weight-average", "refuted", "beside the claim"),
    ],
)
def test_the_fate_of_a_claim_follows_from_the_verdict(studies, tmp_path, study, verdict, fate):
    write_results(tmp_path, studies, {study: verdict})
    knowledge = read_knowledge(tmp_path, "laptop")
    assert fate_of(knowledge.studies[study], knowledge) == fate
    assert fate_of(knowledge.studies["lattice"], knowledge) == "open"


def test_every_claim_stands_in_the_file_with_number_effect_and_decision(knowledge, results, tmp_path):
    path = write_findings(knowledge, tmp_path / "findings.md", "../made/results")
    text = path.read_text(encoding="utf-8")
    for known in knowledge.studies.values():
        assert text.count(f"[{known.id}](../made/results/laptop/{known.id}.json)") == (
            known.result is not None
        )
        assert known.title in text.replace("\\", "")
        if known.result is not None:
            # Without the characters that Markdown has escaped.
            assert known.result.source["number"].split("(")[0].strip() in text.replace("\\", "")
            assert known.result.sentence in text.replace("\\", "")
    assert "detectable 0.014" in text
    for fate, (_, heading) in FATES.items():
        assert (f'## <a id="{fate.replace(" ", "-")}"></a>{heading}' in text) == any(
            fate_of(known, knowledge) == fate for known in knowledge.studies.values()
        )


def test_what_the_scale_can_decide_is_the_median_of_what_would_have_been_seen(knowledge, tmp_path, studies):
    sizes = detectable(knowledge)
    assert set(sizes) >= {"excess", "expected_r2"}
    assert all(size == 0.014 for size, _ in sizes.values())
    one, two = (made_result(studies[name], "supported") for name in ("kernel", "dilation"))
    claims = [claim.model_copy(update={"effects": ()}) for claim in two.claims]
    for result in (one, two.model_copy(update={"claims": tuple(claims)})):
        write_study_result(tmp_path, result)
    # Of a slice without stars there is no size.
    assert sum(number for _, number in detectable(read_knowledge(tmp_path, "laptop")).values()) == len(
        [effect for claim in one.claims for effect in claim.effects if "*" not in claim.text]
    )


def test_the_committed_file_is_the_newest(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    fresh = write_findings(read_knowledge(Path("results"), "laptop"), tmp_path / "findings.md", "../results")
    committed = ROOT / "docs" / "findings.md"
    assert fresh.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8"), "specvit hub findings"


def routed(studies, folder, verdicts):
    """What is known if the comparisons of experts-routing have these verdicts, each with p = 0.002."""
    made = made_result(studies["experts-routing"], "refuted", p=0.002)
    claims = [one.model_copy(update={"verdict": v}) for one, v in zip(made.claims, verdicts, strict=True)]
    write_study_result(folder, made.model_copy(update={"claims": tuple(claims)}))
    return read_knowledge(folder, "laptop")


@pytest.mark.parametrize(
    ("verdicts", "fate"),
    [
        (("supported", "supported", "refuted", "undecided"), "holds"),
        (("refuted", "supported", "supported", "supported"), "does not hold"),
        (("supported", "undecided", "refuted", "refuted"), "undecided"),
    ],
)
def test_a_claim_is_judged_by_the_comparisons_that_were_published(studies, tmp_path, verdicts, fate):
    """Of experts-routing the first two, at a fifth of the noise; what its rule asks beside them is our own question."""
    knowledge = routed(studies, tmp_path, verdicts)
    assert fate_of(knowledge.studies["experts-routing"], knowledge) == fate
    text = write_findings(knowledge, tmp_path / "findings.md", "results").read_text(encoding="utf-8")
    assert "by `1 and 2` of the comparisons below" in text


def test_a_statement_hears_the_comparisons_that_it_reads(studies, tmp_path):
    """Soft against hard routing is asked by the second and fourth comparison: a shortfall of the others is none of theirs."""
    knowledge = routed(studies, tmp_path, ("refuted", "supported", "refuted", "supported"))
    principle = next(one for one in knowledge.programme.principles if one.id == "P12")
    assert standing(principle, knowledge).state == "supported"
    assert standing(principle, knowledge).confidence == pytest.approx(1 - 0.002)
    whole = principle.model_copy(update={"readings": {}})
    assert standing(whole, knowledge).state == "refuted"


def test_what_is_undecided_of_a_study_does_not_speak_for_anything(studies, tmp_path):
    knowledge = routed(studies, tmp_path, ("refuted", "supported", "refuted", "undecided"))
    principle = next(one for one in knowledge.programme.principles if one.id == "P12")
    text = all_evidence(standing(principle, knowledge)).text
    assert "of which what bears on it is undecided" in text
    assert "speaks" not in text


def test_a_result_that_lacks_a_comparison_counts_for_nothing(studies, tmp_path):
    """Readings count the comparisons: one that is gone must neither move the others up nor end the hub."""
    made = made_result(studies["experts-routing"], "refuted")
    write_study_result(tmp_path, made.model_copy(update={"claims": made.claims[:1]}))
    knowledge = read_knowledge(tmp_path, "laptop")
    assert "has 1 of the 4 comparisons of its rule" in knowledge.studies["experts-routing"].notes[0]
    assert fate_of(knowledge.studies["experts-routing"], knowledge) == "open"
