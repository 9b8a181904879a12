"""A summary of two estimators, two labels and three slices, as small as a job can write it."""

from specvit.runs import (
    CeilingFacts,
    EstimatorFacts,
    FreeSet,
    LabelFacts,
    Score,
    SliceFacts,
    Spread,
    Summary,
)

SLICES = ("all", "S/N 2-4", "S/N 4-8")


def metrics(r2, slices=SLICES):
    one = {"r2": Score(value=r2, low=r2 - 0.1, high=r2 + 0.1), "mae": Score(value=None)}
    return dict.fromkeys(slices, one)


def small_summary(r2=0.5, **changes):
    spread = {"r2_max_0": Spread(median=0.7, p10=0.6, p90=0.8, mean=0.7)}
    values = {
        "job": "survey",
        "target": "log_g",
        "labels": {
            "teff": LabelFacts(unit="K", prior_variance=4e5),
            "log_g": LabelFacts(unit="dex", prior_variance=1.3),
        },
        "setting": {"World": "library builtin"},
        "counts": {"train": 100, "test": 10},
        "bootstrap": 100,
        "seed": 1,
        "slices": {
            "all": SliceFacts(kind="all", definition="all test spectra", spectra=10, median_snr=4.0),
            SLICES[1]: SliceFacts(
                kind="snr", definition="S/N from 2 to 4", spectra=4, median_snr=3.0, edges=(2.0, 4.0)
            ),
            SLICES[2]: SliceFacts(
                kind="snr", definition="S/N from 4 to 8", spectra=6, median_snr=5.0, edges=(4.0, 8.0)
            ),
        },
        "estimators": {
            "ridge": EstimatorFacts(
                title="Ridge", meaning="A sum.", family="linear", labels=("log_g", "teff")
            ),
            "mine": EstimatorFacts(title="Mine", meaning="My own.", family="own", labels=("log_g",)),
        },
        "scores": {
            "ridge": {"teff": metrics(0.9), "log_g": metrics(r2)},
            "mine": {"log_g": metrics(0.4)},
        },
        "ceilings": {
            "log_g": CeilingFacts(
                stars=10,
                definition="Gaussian",
                exact=False,
                sets=[FreeSet(at=0, labels=("teff", "log_g"))],
                spreads=dict.fromkeys(SLICES, spread),
            )
        },
    }
    return Summary(**{**values, **changes})
