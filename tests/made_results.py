"""Results of studies that nobody ran, written by the writer that studies use."""

from specvit.runs import Score
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
    write_study_result,
)
from specvit.studies.measures import MEASURES
from specvit.studies.rule import claims_of
from specvit.studies.variants import dotted, merged

#: What an effect of a comparison with a verdict looks like.
EFFECTS = {
    "supported": (-0.02, -0.03, -0.01),
    "refuted": (0.02, 0.01, 0.03),
    "undecided": (0.001, -0.02, 0.022),
}

#: Half the catalogue, with verdicts of every kind.
VERDICTS = {
    "classical": "supported",
    "kernel": "refuted",
    "tokeniser": "supported",
    "data-scaling": "refuted",
    "sigma-channel": "undecided",
    "cross-noise": "supported",
    "classical-scaling": "supported",
    "multi-task": "supported",
    "weight-average": "supported",
    "sigma-leak": "refuted",
    "width": "refuted",
    "depth": "supported",
    "patch": "supported",
    "overlap": "undecided",
    "noise-sweep": "supported",
}


def scores_of(at, exact=True):
    """Scores of variant number `at`: later ones are better."""
    r2 = 0.4 + 0.05 * at
    values = {
        "excess": (0.1 - 0.01 * at, 0.01),
        "expected_r2": (r2, 0.004),
        "ceiling": (0.8, 0.002),
        "error": (0.8 - 0.05 * at, 0.03),
        "mae": (0.6 - 0.02 * at, 0.02),
        "r2": (r2 + 0.01, 0.03),
    }
    return {
        name: Score(value=value, low=value - half, high=value + half)
        for name, (value, half) in values.items()
        if exact or not MEASURES[name].exact
    }


def made_result(study, verdict, scale="laptop", p=0.002, seeds=(1, 2, 3), changes=(), **parts):
    """A result of a declared study whose comparisons all have its verdict.

    Args:
        changes: verdicts of before, with their dates.
        parts: entries that are replaced.
    """
    declared = study.digest
    claims = []
    for claim in claims_of(study.parsed):
        value, low, high = EFFECTS[verdict]
        effect = EffectFacts(value=value, low=low, high=high, detectable=0.014)
        claims.append(
            ClaimFacts(
                text=claim.text,
                slice=claim.slice,
                label=claim.label or study.label,
                stars=990,
                effects=(effect,) * len(claim.contrasts),
                p=p if verdict != "undecided" else 0.8,
                level=0.05,
                verdict=verdict,
            )
        )
    variants = {}
    for at, name in enumerate(study.variants):
        scores = scores_of(at, study.is_exact)
        runs = {str(seed): content_digest([study.id, name, seed]) for seed in seeds}
        variants[name] = VariantFacts(
            changes=changes_of(study, name),
            runs=runs,
            spectra="5" * 16,
            scores={"all": scores, "low_noise": scores},
            learning=((100, 0.3 + 0.1 * at), (200, 0.4 + 0.1 * at)),
        )
    shares = {
        name: ShareFacts(
            **share.model_dump(),
            # One of them is of a whole that is not told from zero.
            share=Score(value=None) if at == 1 else Score(value=0.71, low=0.42, high=0.93),
        )
        for at, (name, share) in enumerate(study.shares.items())
    }
    runs = content_digest([study.id, verdict, list(seeds)])
    history = [
        KnowledgeChange(
            date=date, verdict=old, declaration=declared, runs=content_digest([study.id, old, date])
        )
        for date, old in changes
    ]
    history.append(
        KnowledgeChange(date="2026-11-20T10:00:00+00:00", verdict=verdict, declaration=declared, runs=runs)
    )
    values = {
        "study_result_version": STUDY_RESULT_VERSION,
        **study.model_dump(include={"id", "title", "track", "entries", "question", "hypothesis", "rule"}),
        "source": study.source.model_dump(),
        "declaration": declared,
        "scale": scale,
        "label": study.label,
        "metric": study.metric,
        "exact": study.is_exact,
        "seeds": seeds,
        "verdict": verdict,
        "sentence": getattr(study.outcomes, verdict),
        "correction": len(claims) if len(claims) > 2 else 0,
        "claims": tuple(claims),
        "variants": variants,
        "stars": StarFacts(drawn=1000, unconverged=6, missing=4, slices={"all": 990, "low_noise": 198}),
        "shares": shares,
        "began": "2026-11-19T08:00:00+00:00",
        "seconds": 5400.0,
        "made": {
            "specvit": "0.1.0",
            "git_commit": "0123456789abcdef",
            "packages": {"torch": "2.13.0", "numba": None},
            "cpu": "a processor",
            "date": "2026-11-20T10:00:00+00:00",
        },
        "history": tuple(history),
    }
    return StudyResult(**{**values, **parts})


def changes_of(study, variant):
    """The keys that set a variant apart, dotted, as its factors state them."""
    levels = zip(study.factors.values(), variant.split("/"), strict=True)
    return dotted(merged(*(factor[level] for factor, level in levels)))


def write_results(folder, studies, verdicts, scale="laptop", **parts):
    """Write a result for every study of `verdicts`, and return the folder."""
    for name, verdict in verdicts.items():
        write_study_result(folder, made_result(studies[name], verdict, scale, **parts))
    return folder


def write_every_kind(folder, studies):
    """Write results of `VERDICTS`, and one that changed its verdict, and return the folder."""
    write_results(folder, studies, VERDICTS)
    changed = made_result(studies["heads"], "refuted", changes=[("2026-11-02T08:00:00+00:00", "undecided")])
    write_study_result(folder, changed)
    return folder
