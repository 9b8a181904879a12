import pytest

from specvit.spectra.air import air_to_vacuum
from specvit.spectra.lines import FEATURES, features_between, paschen_wavelength

#: Air wavelengths, Å, as printed in stellar atlases.
AIR = {
    "Ca II": (8498.02, 8542.09, 8662.14),
    "Na I": (8183.26, 8194.82),
    "Mg I": (8736.02, 8806.76),
    "K I": (7664.91, 7698.97),
    "Fe I": (8327.06, 8387.77, 8514.07, 8688.62, 8824.22),
    "Ca I": (7148.15, 7326.15),
    "O I": (7771.94,),
}


@pytest.mark.parametrize("name", AIR)
def test_atomic_features_are_the_atlas_lines_in_vacuum(name):
    listed = [feature.wavelength for feature in FEATURES if feature.name == name]
    assert listed == pytest.approx([float(air_to_vacuum(line)) for line in AIR[name]], abs=0.02)


def test_paschen_lines_agree_with_their_air_wavelengths():
    # Paschen 12 and 14, Wiese, Smith & Glennon 1966.
    assert paschen_wavelength(12) == pytest.approx(float(air_to_vacuum(8750.47)), abs=0.1)
    assert paschen_wavelength(14) == pytest.approx(float(air_to_vacuum(8598.39)), abs=0.1)


def test_features_between_is_sorted_and_inclusive():
    found = [feature.wavelength for feature in features_between(8500.36, 8544.44)]
    assert found == [8500.36, 8516.41, 8544.44]
