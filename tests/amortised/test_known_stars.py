"""A star of which something is known beforehand is the fit's, whatever network there is."""

from types import SimpleNamespace

import numpy as np

from specvit.amortised import AmortisedFitter
from specvit.stellar import Refusal


def test_what_is_known_of_a_star_only_the_fit_can_use(monkeypatch):
    names = ["plain", "known", "strange"]
    spectra = [
        SimpleNamespace(name=name, known={"teff": (5e3, 1e2)} if name == "known" else {}) for name in names
    ]
    fitted = []

    def fit(some):
        fitted.extend(one.name for one in some)
        return [Refusal(one.name, "", "by the fit") for one in some]

    fitter = SimpleNamespace(settings=SimpleNamespace(priors={}), emulator=None, fit=fit)
    amortised = AmortisedFitter(fitter, store=None)
    said = SimpleNamespace(in_domain=np.array([True, True, False]))
    monkeypatch.setattr(amortised, "_agreement", lambda *_: (said, names, SimpleNamespace(holds=True)))
    monkeypatch.setattr(amortised, "_network", lambda _: SimpleNamespace(templates=None))
    monkeypatch.setattr("specvit.amortised.fitter._judged", lambda outcome, *_: outcome)
    monkeypatch.setattr("specvit.amortised.fitter.modelled", lambda star, *_: f"model of {star}")
    outcomes = amortised._setup("setup", [SimpleNamespace(spectrum=one) for one in spectra])
    assert outcomes[0] == ("plain", "model of plain")
    assert [one.name for one in outcomes[1:]] == fitted == ["known", "strange"]
