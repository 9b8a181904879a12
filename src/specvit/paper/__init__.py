"""The LaTeX project of a paper, as a view of the results of studies: figures, tables, numbers, and what is missing."""

from specvit.paper.exhibits import Exhibit, Missing, make_exhibits
from specvit.paper.latex_check import latex_problems
from specvit.paper.numbers import number_macros
from specvit.paper.outline import Outline, read_outline
from specvit.paper.project import Paper, write_paper

__all__ = [
    "Exhibit",
    "Missing",
    "Outline",
    "Paper",
    "latex_problems",
    "make_exhibits",
    "number_macros",
    "read_outline",
    "write_paper",
]
