"""Spectra with less noise: denoisers behind one protocol, the optimum among them, and scores that hold them to it."""

from specvit.denoise.bayes import BayesDenoiser
from specvit.denoise.denoised import DenoisedSpectra
from specvit.denoise.making import load_denoiser, make_denoiser
from specvit.denoise.protocol import Denoiser
from specvit.denoise.restoring import NoisySpectra, Restored, restore_spectra
from specvit.denoise.stored import check_fingerprint, content_of, save_denoiser
from specvit.denoise.subspace import SubspaceDenoiser, SubspaceOptions
from specvit.denoise.wiener import WienerDenoiser

__all__ = [
    "BayesDenoiser",
    "DenoisedSpectra",
    "Denoiser",
    "NoisySpectra",
    "Restored",
    "SubspaceDenoiser",
    "SubspaceOptions",
    "WienerDenoiser",
    "check_fingerprint",
    "content_of",
    "load_denoiser",
    "make_denoiser",
    "restore_spectra",
    "save_denoiser",
]
