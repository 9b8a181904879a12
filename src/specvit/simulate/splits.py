"""The splits of a simulated survey: the only place that names them.

No star is in two of them, whatever the seed; what each is for is said here, and everything else asks.
"""

from __future__ import annotations

from specvit.errors import ConfigError

#: What estimators learn from.
TRAIN = "train"
#: By which every choice in a fit is made: penalties, stopping, which weights are kept.
VALIDATION = "validation"
#: What scores and ceilings are of; nothing is fitted or chosen by it.
TEST = "test"
#: By which stated errors are corrected after a training, the reserve of the validation spectra.
CALIBRATION = "calibration"

#: In the order of their numbers, which key the random streams: never to be changed.
SPLITS = (TRAIN, VALIDATION, TEST, CALIBRATION)

#: More spectra than any training comes to the end of.
ENDLESS = 2**40


def split_number(split: str) -> int:
    """Return the stable number of a split; ConfigError lists the known ones."""
    if split not in SPLITS:
        raise ConfigError(f"split: '{split}' is not known; choose one of {', '.join(SPLITS)}")
    return SPLITS.index(split)
