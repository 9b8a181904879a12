"""A study whose runs are done, judged: what its variants say of the same stars, and what follows for its rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.evaluate import box_slice
from specvit.evaluate.crossed import CROSSED_RESAMPLES, CrossedMean, crossed_mean, crossed_ratio
from specvit.evaluate.scorer import score_of
from specvit.runs import (
    ALL,
    FluxScores,
    LineFocus,
    Posteriors,
    RunFolder,
    Score,
    StarBounds,
    StarTable,
    describe_machine,
)
from specvit.runs.identity import content_digest
from specvit.runs.study_result import (
    STUDY_RESULT_VERSION,
    ClaimFacts,
    EffectFacts,
    KnowledgeChange,
    ShareFacts,
    StarFacts,
    StudyResult,
    VariantFacts,
)
from specvit.studies.measures import MEASURES, Judged
from specvit.studies.rule import claims_of, parse_sum
from specvit.studies.schema import ShareSection
from specvit.studies.store import Store
from specvit.studies.variants import ScaledStudy, Variant
from specvit.studies.verdict import UNCORRECTED, Decided, contrast_values, decide, effects_of, verdict_of
from specvit.training.engine import VALIDATED

Values = np.ndarray

#: Of the draws behind intervals.
SEED = 42
#: Fewest stars of which anything is said.
LEAST_STARS = 2


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the runs of a study hold of one label.

    Args:
        variants: name -> judged, over all N stars drawn.
        usable: stars that are judged, shape (N,): posterior converged and estimate there for every variant.
        unconverged, missing: how many are left out, and why.
    """

    variants: dict[str, Judged]
    usable: Values
    unconverged: int
    missing: int

    def on(self, stars: Values) -> dict[str, Judged]:
        """Return what is judged of the usable ones of some stars (N,)."""
        return {name: judged.on(self.usable & stars) for name, judged in self.variants.items()}


def judge(scaled: ScaledStudy, store: Store, before: StudyResult | None = None) -> StudyResult:
    """Return the result of a study, all of whose runs are done.

    Args:
        scaled: the study.
        store: where its runs are.
        before: an earlier result, whose history goes on.

    Raises:
        DataError: if a run is missing or damaged.
    """
    study = scaled.study
    masks = slice_masks(scaled, store)
    claims = list(claims_of(study.parsed))
    labels = {study.label, *(claim.label for claim in claims if claim.label)}
    evidence = {label: evidence_of(scaled, store, label) for label in labels}
    effects, counts = [], []
    for claim in claims:
        judged = evidence[claim.label or study.label].on(masks[claim.slice])
        counts.append(len(next(iter(judged.values())).truth))
        # Of a slice without stars nothing can be said; the rest of the rule may still be decided.
        enough = counts[-1] >= LEAST_STARS
        effects.append(effects_of(claim, judged, CROSSED_RESAMPLES, SEED) if enough else ())
    decided = decide(claims, effects)
    verdict = verdict_of(study.parsed, {one.claim: one.verdict for one in decided})
    main, machine = evidence[study.label], describe_machine()
    variants = {
        variant.name: _variant_facts(variant, main, masks, _learning(variant, store, study.label))
        for variant in scaled.variants
    }
    shares = {name: _share_facts(share, main.on(masks[share.slice])) for name, share in study.shares.items()}
    runs = content_digest({name: facts.model_dump(mode="json")["runs"] for name, facts in variants.items()})
    change = KnowledgeChange(date=machine["date"], verdict=verdict, declaration=study.digest, runs=runs)
    history = () if before is None else before.history
    if not history or _differ(history[-1], change):
        history = (*history, change)
    return StudyResult(
        study_result_version=STUDY_RESULT_VERSION,
        **study.model_dump(include={"id", "title", "track", "entries", "question", "hypothesis", "rule"}),
        source=study.source.model_dump(),
        declaration=study.digest,
        scale=scaled.scale,
        label=study.label,
        metric=study.metric,
        exact=study.is_exact,
        seeds=scaled.seeds,
        verdict=verdict,
        sentence=getattr(study.outcomes, verdict),
        correction=len(claims) if len(claims) > UNCORRECTED else 0,
        claims=tuple(
            _claim_facts(one, study.label, stars) for one, stars in zip(decided, counts, strict=True)
        ),
        variants=variants,
        stars=StarFacts(
            drawn=len(main.usable),
            unconverged=main.unconverged,
            missing=main.missing,
            slices={name: int((mask & main.usable).sum()) for name, mask in masks.items()},
        ),
        shares=shares,
        began=_began(scaled, store),
        seconds=round(_seconds(scaled, store), 1),
        made={name: machine[name] for name in ("specvit", "git_commit", "packages", "cpu", "date")},
        history=history,
    )


def slice_masks(scaled: ScaledStudy, store: Store) -> dict[str, Values]:
    """Return slice -> stars of it, shape (N,), by what the first variant's stars are."""
    table = StarTable.read(RunFolder.open(store.folder_of(scaled.variants[0].yardstick)))
    masks = {ALL: np.ones(len(table), dtype=bool)}
    for name, box in scaled.study.boxes.items():
        masks[name] = box_slice(name, box, table).mask
    return masks


def evidence_of(scaled: ScaledStudy, store: Store, label: str) -> Evidence:
    """Return what the runs hold of a label; DataError names a run that is missing or damaged."""
    variants: dict[str, Judged] = {}
    converged: list[Values] = []
    for variant in scaled.variants:
        run = RunFolder.open(store.folder_of(variant.yardstick))
        truth = StarTable.read(run).truth(label)
        mean = variance = None
        if variant.yardstick.bank:
            posteriors = Posteriors.read(run)
            mean, variance = posteriors.of("mean", label), posteriors.of("variance", label)
            converged.append(posteriors.converged)
        bound = StarBounds.read(run).of("crlb", 0, label) if variant.yardstick.bounds else None
        folders = {trial.digest: RunFolder.open(store.folder_of(trial)) for trial in variant.trials.values()}
        flux = _flux_of(list(folders.values())) if scaled.study.judges_flux else {}
        estimates = [
            # A denoiser estimates no label; what has no error is missing.
            flux["error"][at] if flux else trial.estimates(folders[trial.digest]).of(label)
            for at, trial in enumerate(variant.trials.values())
        ]
        focus = _focus_of([folders[trial.digest] for trial in variant.trials.values() if trial.focus])
        variants[variant.name] = Judged(truth, np.stack(estimates), mean, variance, bound, focus, flux)
    counts = {len(judged.truth) for judged in variants.values()}
    if len(counts) > 1:
        raise DataError(
            f"study {scaled.study.id}: variants are judged by {sorted(counts)} stars; test.stars cannot be a factor"
        )
    reached = np.all(converged, axis=0) if converged else np.ones(counts.pop(), dtype=bool)
    there = np.all([np.isfinite(judged.estimates).all(axis=0) for judged in variants.values()], axis=0)
    return Evidence(variants, reached & there, int((~reached).sum()), int((reached & ~there).sum()))


def _focus_of(runs: list[RunFolder]) -> dict[str, Values]:
    """Return quantity -> shape (S, N), of all that every training has."""
    found = [LineFocus.read(run).arrays() for run in runs]
    return (
        {name: np.stack([one[name] for one in found]) for name in set.intersection(*map(set, found))}
        if found
        else {}
    )


def _flux_of(runs: list[RunFolder]) -> dict[str, Values]:
    """Return quantity -> shape (S, N), of all that every training of a denoiser has."""
    found = [FluxScores.read(run).arrays() for run in runs]
    return {name: np.stack([one[name] for one in found]) for name in set.intersection(*map(set, found))}


def _variant_facts(
    variant: Variant,
    evidence: Evidence,
    masks: Mapping[str, Values],
    learning: tuple[tuple[int, float], ...],
) -> VariantFacts:
    judged = evidence.variants[variant.name]
    scores: dict[str, dict[str, Score]] = {}
    for part, mask in masks.items():
        of_part = judged.on(evidence.usable & mask)
        if len(of_part.truth) >= LEAST_STARS:
            scores[part] = {
                name: score_of(crossed_mean(measure.of(of_part), CROSSED_RESAMPLES, SEED).interval())
                for name, measure in MEASURES.items()
                if measure.is_known_of(judged)
            }
    runs = {str(seed): trial.digest for seed, trial in variant.trials.items()}
    return VariantFacts(
        changes=variant.changes,
        runs=runs,
        spectra=variant.yardstick.digest,
        scores=scores,
        learning=learning,
    )


def _learning(variant: Variant, store: Store, label: str) -> tuple[tuple[int, float], ...]:
    """Return the validations that the logs of all seeds hold of a label."""
    found = [
        {
            record["step"]: record["r2"][label]
            for record in RunFolder.open(store.folder_of(trial)).read_log()
            if record.get("event") == VALIDATED and label in record.get("r2", {})
        }
        for trial in variant.trials.values()
    ]
    steps = sorted(set.intersection(*map(set, found)))
    return tuple((step, float(np.mean([one[step] for one in found]))) for step in steps)


def _claim_facts(one: Decided, label: str, stars: int) -> ClaimFacts:
    return ClaimFacts(
        text=one.claim.text,
        slice=one.claim.slice,
        label=one.claim.label or label,
        stars=stars,
        effects=tuple(_effect(effect) for effect in one.effects),
        p=one.p,
        level=one.level,
        verdict=one.verdict,
    )


def _share_facts(share: ShareSection, judged: Mapping[str, Judged]) -> ShareFacts:
    found = None
    if len(next(iter(judged.values())).truth) >= LEAST_STARS:
        part, whole = (contrast_values(parse_sum(text), judged) for text in (share.part, share.whole))
        found = crossed_ratio(part, whole, CROSSED_RESAMPLES, SEED)
    score = Score(value=None) if found is None else score_of(found)
    return ShareFacts(**share.model_dump(), share=score)


def _effect(effect: CrossedMean) -> EffectFacts:
    interval = effect.interval()
    return EffectFacts(
        value=effect.value, low=interval.low, high=interval.high, detectable=effect.detectable()
    )


def _differ(old: KnowledgeChange, new: KnowledgeChange) -> bool:
    return (old.verdict, old.declaration, old.runs) != (new.verdict, new.declaration, new.runs)


def _began(scaled: ScaledStudy, store: Store) -> str:
    return min(str(run.provenance["created"]) for run in _folders(scaled, store))


def _seconds(scaled: ScaledStudy, store: Store) -> float:
    stages = (run.stages for run in _folders(scaled, store))
    return float(sum(stage["seconds"] for found in stages for stage in found.values()))


def _folders(scaled: ScaledStudy, store: Store) -> list[RunFolder]:
    """Return all runs of a study, each once."""
    digests: dict[str, Any] = {
        trial.digest: trial for variant in scaled.variants for trial in variant.trials.values()
    }
    digests |= {variant.yardstick.digest: variant.yardstick for variant in scaled.variants}
    return [RunFolder.open(store.folder_of(run)) for run in digests.values()]
