"""Own spectra from a line list and model atmospheres, with PySME/SMElib (extra `synthesis`)."""

from specvit.library.synthesis.atmosphere import ModelAtmosphere, read_atmospheres
from specvit.library.synthesis.design import REQUIRED, Design, read_design, sobol_design
from specvit.library.synthesis.lines import LineTable, read_lines
from specvit.library.synthesis.run import SynthesisPlan, SynthesisReport, gather, synthesize

__all__ = [
    "REQUIRED",
    "Design",
    "LineTable",
    "ModelAtmosphere",
    "SynthesisPlan",
    "SynthesisReport",
    "gather",
    "read_atmospheres",
    "read_design",
    "read_lines",
    "sobol_design",
    "synthesize",
]
