"""Spectra of real stars: readers of the forms in which observatories and surveys give them.

Every form becomes an `ObservedSpectrum`: vacuum wavelengths, flux, sigma, line-spread function, velocity frame, and a
list of what had to be assumed. Knows no model; what is done with the spectra is `specvit.stellar`.
"""

from specvit.observed.files import form_names, iter_spectra, read_spectra
from specvit.observed.request import ReadOptions
from specvit.observed.spectrum import ObservedSpectrum
from specvit.observed.specutils_spectra import from_specutils

__all__ = [
    "ObservedSpectrum",
    "ReadOptions",
    "form_names",
    "from_specutils",
    "iter_spectra",
    "read_spectra",
]
