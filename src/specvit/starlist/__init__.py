"""Lists of spectra in, tables of stars out: what `specvit predict` does with many files.

Reads, fits and writes in parts, so that memory does not depend on the number of stars and a killed command loses
little; tables and pages are made of the parts. What one star's parameters are is `specvit.stellar`.
"""

from specvit.starlist.inputs import StarInput, star_inputs
from specvit.starlist.job import StarListJob
from specvit.starlist.networks import with_networks
from specvit.starlist.recipe import FitRecipe

__all__ = ["FitRecipe", "StarInput", "StarListJob", "star_inputs", "with_networks"]
