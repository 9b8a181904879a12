"""What is written on example spectra."""

import numpy as np
import pytest

from specvit.report.figure_examples import _describe
from specvit.runs.artefacts import Examples


@pytest.mark.parametrize(
    ("band", "said"), [("RVS", "RVS = 12.3"), ("i", "i = 12.3"), (None, "magnitude = 12.3")]
)
def test_magnitudes_are_in_the_band_of_the_spectrograph(band, said):
    row = np.ones((1, 4))
    examples = Examples(
        wavelength=np.arange(4.0),
        flux=row,
        clean=row,
        sigma=row,
        jacobian=row,
        label_names=np.array(["teff", "log_g"]),
        labels=np.array([[4800.0, 2.5]]),
        snr=np.array([20.0]),
        mag=np.array([12.34]),
        band=None if band is None else np.array(band),
    )
    text = _describe(examples, 0)
    assert said in text
    assert "4800 K" in text
