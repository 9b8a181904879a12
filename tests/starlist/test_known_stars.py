"""A star of which something is known beforehand is the fit's, whatever network there is."""

from types import SimpleNamespace

import pytest

from specvit.starlist.recipe import ListFitter


class Answering:
    """Says of every spectrum who answered it."""

    def __init__(self, by):
        self.by, self.asked = by, []

    def fit(self, spectra):
        self.asked += [one.name for one in spectra]
        return [(one.name, self.by) for one in spectra]


@pytest.mark.parametrize("known", [(), ("b",), ("a", "b", "c")])
def test_what_is_known_of_a_star_only_the_fit_can_use(known):
    spectra = [
        SimpleNamespace(name=name, known={"teff": (5e3, 1e2)} if name in known else {}) for name in "abc"
    ]
    fitter = ListFitter.__new__(ListFitter)
    fitter.recipe, fitter._calibrations = SimpleNamespace(clip=None), {}
    fitter._fitter, fitter._networks, fitter._judge = Answering("fit"), Answering("network"), None
    found = fitter.fit(spectra)
    assert found == [(name, "fit" if name in known else "network") for name in "abc"]
    assert fitter._fitter.asked == list(known)
