"""Whether a summary holds every score that a page quotes. Files are checked one by one by `specvit.runs`."""

from __future__ import annotations

from specvit.errors import DataError
from specvit.runs import Summary
from specvit.runs.folder import MEND

#: Scores that every estimator has, and those that it has beside a ceiling.
QUOTED = ("r2", "mae", "rmse", "bias", "residual_50", "residual_68")
AGAINST = ("efficiency", "headroom")


def check_summary(summary: Summary, where: str) -> None:
    """Raise DataError naming the first score that a page quotes and the summary lacks."""
    target = summary.target
    if not summary.estimating(target):
        raise DataError(
            f"{where}: 'scores' hold no estimator of {target}, so there is nothing to report; {MEND}"
        )
    for name in summary.estimating(target):
        if target not in summary.estimators[name].labels:
            raise DataError(f"{where}: 'estimators.{name}.labels' lacks {target}; {MEND}")
        for metric in QUOTED + (AGAINST if summary.ceiling is not None else ()):
            for part in summary.slices:
                if summary.score(name, metric, part=part) is None:
                    raise DataError(f"{where}: no 'scores.{name}.{target}.{part}.{metric}'; {MEND}")
    if summary.ceiling is not None:
        _check_ceiling(summary, where)


def _check_ceiling(summary: Summary, where: str) -> None:
    ceiling, target = summary.ceiling, summary.target
    assert ceiling is not None
    wanted = [f"{kind}_{free.at}" for free in ceiling.sets for kind in ("r2_max", "sigma_min")]
    for part in summary.slices:
        for quantity in wanted + (["posterior_std"] if ceiling.exact else []):
            if quantity not in ceiling.spreads[part]:
                raise DataError(f"{where}: no 'ceilings.{target}.spreads.{part}.{quantity}'; {MEND}")
