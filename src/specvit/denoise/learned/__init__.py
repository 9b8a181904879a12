"""Denoisers that are trained: U-Nets, blind-spot networks, diffusions of pixels and of basis coefficients."""

from specvit.denoise.learned.config import DenoiserConfig
from specvit.denoise.learned.learned_denoiser import LearnedDenoiser

__all__ = ["DenoiserConfig", "LearnedDenoiser"]
