"""Which figures and tables a paper needs, and which studies or run they are made of. A TOML file; no number stands in it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from specvit.documents import DocumentKind, Format, Section
from specvit.documents.words import did_you_mean, shown
from specvit.errors import ConfigError
from specvit.hub import Knowledge
from specvit.hub.structure import Name, StudyIds
from specvit.studies.schema import Line, Text

OUTLINE_VERSION = 1

FigureOfStudies = Literal["dots", "curves", "matrix", "effects", "shares", "learning"]
TableOfStudies = Literal["scores", "findings"]
#: settings: a table of all studies. run-figure, run-table: of one `specvit run`. pipeline: a diagram. none: nothing in
#: specvit makes it yet.
Kind = FigureOfStudies | TableOfStudies | Literal["settings", "run-figure", "run-table", "pipeline", "none"]
FIGURES_OF_STUDIES: tuple[Kind, ...] = get_args(FigureOfStudies)
OF_STUDIES: tuple[Kind, ...] = (*FIGURES_OF_STUDIES, *get_args(TableOfStudies))


class ExhibitSection(Section):
    """A figure or table."""

    id: Name = Field(description="name of its files and of its label")
    kind: Kind = Field(description="how it is made")
    text: Text = Field(description="its caption, to which sample, seeds and definition of S/N are added")
    priority: Literal["P0", "P1", "P2"] = Field(description="P0: the paper needs it")
    studies: StudyIds = Field(default=(), description="studies it shows; none of a table of findings: all")
    key: Annotated[str, Field(max_length=100)] = Field(
        default="", description="of curves: the key of a trial's configuration that is the x axis"
    )
    axis: Annotated[str, Field(max_length=100)] = Field(
        default="", description="of curves: what a reader calls the key; the key itself if left out"
    )
    source: Annotated[str, Field(max_length=100)] = Field(
        default="", description="of a run: the figure or table of its report"
    )

    @model_validator(mode="after")
    def _has_what_it_is_made_of(self) -> ExhibitSection:
        for needed, kinds in (
            ("studies", ("dots", "curves", "matrix", "shares", "learning", "scores")),
            ("key", ("curves",)),
        ):
            if self.kind in kinds and not getattr(self, needed):
                raise ValueError(f"'{needed}' is missing, which a '{self.kind}' is made of")
        if (self.kind in ("run-figure", "run-table")) != bool(self.source):
            raise ValueError("'source' is of kinds 'run-figure' and 'run-table', which need it")
        return self


class Outline(Section):
    """The figures and tables of a paper, in their order."""

    outline_version: int = Field(
        default=OUTLINE_VERSION, ge=1, le=OUTLINE_VERSION, description="format of this file"
    )
    title: Line = Field(description="of the paper")
    exhibits: Annotated[tuple[ExhibitSection, ...], Field(min_length=1, max_length=200)] = Field(
        description="figures and tables"
    )

    @model_validator(mode="after")
    def _names_are_one_of_a_kind(self) -> Outline:
        names = [one.id for one in self.exhibits]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name '{name}' is given twice")
        return self


OUTLINES = DocumentKind(
    noun="outline",
    model=Outline,
    presets=Path(str(files("specvit.paper"))) / "outlines",
    format=Format("outline_version", OUTLINE_VERSION),
)
#: The outline that ships.
SHIPPED = "reference"


def read_outline(name: str | Path, knowledge: Knowledge) -> Outline:
    """Return an outline whose studies are all known.

    Args:
        name: of one that ships, or the path of a .toml file.
        knowledge: what is known.

    Raises:
        ConfigError: for a file that cannot be meant, and for a study that is neither declared nor planned.
    """
    path = OUTLINES.find(name)
    outline = OUTLINES.read(path).value
    for exhibit in outline.exhibits:
        for study in exhibit.studies:
            if study not in knowledge.studies:
                raise ConfigError(
                    f"{shown(path)}: {exhibit.id} names the study '{study}', which is neither in the catalogue nor "
                    f"planned by the programme{did_you_mean(study, knowledge.studies)}"
                )
    return outline
