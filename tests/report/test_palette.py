"""Models can be told apart by everybody, in colour and without."""

from itertools import combinations

import numpy as np
import pytest

from specvit.report.palette import INK, MODEL_COLOURS, MUTED, look_of
from specvit.runs import read_summary

#: Linear RGB as seen with complete colour blindness; Machado, Oliveira & Fernandes 2009, table 1.
SEEN = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour, seen):
    """CIE L*a*b* of an sRGB colour."""
    code = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ (seen @ linear).clip(0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", SEEN)
def test_colours_stay_apart_for_every_kind_of_colour_vision(kind):
    """A difference of 2.3 is just noticeable; lines two points wide want several times that."""
    for one, other in combinations((*MODEL_COLOURS, INK, MUTED), 2):
        assert np.linalg.norm(lab(one, SEEN[kind]) - lab(other, SEEN[kind])) > 12, (one, other)


def test_eight_models_differ_in_marker_too(many_models):
    summary = read_summary(many_models)
    looks = [look_of(name, summary) for name in summary.estimators]
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == 8


def test_those_that_fit_the_world_have_dashes_of_their_own_whatever_they_are_called(many_models):
    summary = read_summary(many_models)
    dashed = {
        facts.family for name, facts in summary.estimators.items() if look_of(name, summary).dashes != "-"
    }
    assert dashed == {"template", "posterior"}
    renamed = {("any" if name == "template" else name): facts for name, facts in summary.estimators.items()}
    other = summary.model_copy(update={"estimators": renamed})
    assert look_of("any", other) == look_of("template", summary)
