import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import WavelengthRangeError
from specvit.spectra.air import air_to_vacuum, vacuum_to_air


def birch_downs_vacuum_to_air(vacuum):
    """VALD's forward formula (Birch & Downs 1994), an independent implementation."""
    s2 = (1e4 / vacuum) ** 2
    return vacuum / (1 + 0.0000834254 + 0.02406147 / (130 - s2) + 0.00015998 / (38.9 - s2))


def piskunov_air_to_vacuum(air):
    """VALD's fitted inverse (N. Piskunov), an independent implementation."""
    s2 = (1e4 / air) ** 2
    return air * (
        1
        + 0.00008336624212083
        + 0.02408926869968 / (130.1065924522 - s2)
        + 0.0001599740894897 / (38.92568793293 - s2)
    )


@given(st.floats(min_value=2000.0, max_value=320_000.0))
def test_round_trip_is_exact(wavelength):
    assert abs(vacuum_to_air(air_to_vacuum(wavelength)) - wavelength) < 1e-6 * wavelength / 8000
    vacuum = 1.001 * wavelength
    assert abs(air_to_vacuum(vacuum_to_air(vacuum)) - vacuum) < 1e-6 * wavelength / 8000


def test_agrees_with_the_formulae_of_vald_in_the_red():
    vacuum = np.linspace(7000, 9000, 2001)
    np.testing.assert_allclose(vacuum_to_air(vacuum), birch_downs_vacuum_to_air(vacuum), atol=4e-5, rtol=0)
    np.testing.assert_allclose(air_to_vacuum(vacuum), piskunov_air_to_vacuum(vacuum), atol=4e-5, rtol=0)


def test_calcium_triplet_in_both_media():
    air = np.array([8498.023, 8542.091, 8662.141])  # NIST, standard air
    vacuum = np.array([8500.358, 8544.438, 8664.520])
    np.testing.assert_allclose(air_to_vacuum(air), vacuum, atol=2e-3)
    np.testing.assert_allclose(vacuum_to_air(vacuum), air, atol=2e-3)


@pytest.mark.parametrize("convert", [vacuum_to_air, air_to_vacuum])
@pytest.mark.parametrize("value", [1500.0, np.nan, np.inf])
def test_wavelengths_without_an_air_value_are_refused(convert, value):
    with pytest.raises(WavelengthRangeError, match="quoted in vacuum"):
        convert(np.array([5000.0, value]))
