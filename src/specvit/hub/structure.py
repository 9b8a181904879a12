"""What a programme of studies declares: questions, beliefs, principles, gates, gaps, phases, and which study answers which.

A TOML file, `programmes/reference.toml` or one of your own. No verdict and no number stands in it: how a statement
stands follows from the results of the studies it names (`evidence`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from specvit.documents import DocumentKind, Format, Section
from specvit.documents.words import did_you_mean, shown
from specvit.errors import ConfigError
from specvit.hub.reading import check_reading
from specvit.studies import Study
from specvit.studies.rule import claims_of
from specvit.studies.schema import Line, OutcomeSection, ScaleName, StudyId, Text

PROGRAMME_VERSION = 1

#: Names of statements stand in links.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", max_length=40)]
StudyIds = Annotated[tuple[StudyId, ...], Field(max_length=100)]
#: Study -> a reading of its rule, see `reading`.
Readings = Annotated[dict[StudyId, Line], Field(max_length=200)]
Variants = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(min_length=1, max_length=20)
]


class StatementSection(Section):
    """A statement, and the studies that bear on it."""

    studies: StudyIds = Field(default=(), description="studies whose support supports it")
    against: StudyIds = Field(default=(), description="studies whose support refutes it")
    needs: Literal["all", "any"] = Field(
        default="all", description="whether all of its studies have to speak for it, or one is enough"
    )
    readings: Readings = Field(
        default_factory=dict,
        description="study -> which comparisons of its rule speak of this, as '1 and not 2'; without one all of it",
    )

    @model_validator(mode="after")
    def _readings_are_of_its_studies(self) -> StatementSection:
        for study in self.readings:
            if study not in self.named:
                raise ValueError(
                    f"readings: '{study}' is none of its studies{did_you_mean(study, self.named)}"
                )
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """Ids of all studies that bear on it."""
        return (*self.studies, *self.against)


class HypothesisSection(StatementSection):
    """A hypothesis of the tree."""

    id: Name = Field(description="e.g. Q1.2")
    text: Text = Field(description="a statement that can be wrong")


class QuestionSection(Section):
    """A branch of the tree."""

    id: Name = Field(description="e.g. Q1")
    text: Line = Field(description="the question")
    hypotheses: Annotated[tuple[HypothesisSection, ...], Field(min_length=1, max_length=30)] = Field(
        description="what would answer it"
    )


class BeliefSection(StatementSection):
    """Something that is taken for true, and what follows."""

    id: Name = Field(description="e.g. B1")
    text: Text = Field(description="the belief")
    so_what: OutcomeSection = Field(description="what follows if it is true, wrong, or not known")


class PrincipleSection(StatementSection):
    """A published principle of design."""

    id: Name = Field(description="e.g. P1")
    text: Text = Field(description="the principle, as it was published")


class GapSection(StatementSection):
    """A gap in what has to be known for a decision."""

    id: Name = Field(description="e.g. DG1")
    text: Line = Field(description="the question that is open")
    closing: Text = Field(description="which evidence closes it")
    then: OutcomeSection = Field(description="what is done when it is closed, and while it is not")


class GateSection(StatementSection):
    """A gate of the programme."""

    id: Name = Field(description="e.g. D1")
    text: Line = Field(description="what it decides")
    rule: Text = Field(description="when it opens")
    each: bool = Field(
        default=False,
        description="whether it keeps or closes each of its studies on its own, instead of all together",
    )
    then: OutcomeSection = Field(description="where each outcome leads")


Statement = HypothesisSection | BeliefSection | PrincipleSection | GapSection | GateSection


class ItemSection(Section):
    """A task of the roadmap."""

    id: Name = Field(description="e.g. MVP-1.1")
    text: Line = Field(description="the task")
    priority: Literal["P0", "P1", "P2"] = Field(description="P0 first")
    studies: StudyIds = Field(default=(), description="studies that carry it out")


class PhaseSection(Section):
    """A phase of the roadmap."""

    id: Name = Field(description="e.g. phase-1")
    text: Line = Field(description="what it is about")
    items: Annotated[tuple[ItemSection, ...], Field(min_length=1, max_length=50)] = Field(
        description="its tasks"
    )


class BranchSection(Section):
    """A way out of a choice: to another choice, or to variants of a study, one of which is recommended."""

    when: Line = Field(description="the condition")
    go: Name | None = Field(default=None, description="the next choice")
    study: StudyId | None = Field(default=None, description="the study that compares what there is to choose")
    variants: Variants | None = Field(default=None, description="its variants, the cheapest first")

    @model_validator(mode="after")
    def _leads_somewhere(self) -> BranchSection:
        if (self.go is None) == (self.study is None) or (self.study is None) != (self.variants is None):
            raise ValueError("expected either 'go', or 'study' and 'variants'")
        return self


class ChoiceSection(Section):
    """A question about a reader's case."""

    id: Name = Field(description="what `go` calls it")
    asks: Line = Field(description="the question")
    branches: Annotated[tuple[BranchSection, ...], Field(min_length=1, max_length=20)] = Field(
        description="its answers"
    )


class Programme(Section):
    """A declared programme of studies."""

    programme_version: int = Field(
        default=PROGRAMME_VERSION, ge=1, le=PROGRAMME_VERSION, description="format of this file"
    )
    title: Line = Field(description="one line")
    question: Text = Field(description="what all of it is for")
    planned: Annotated[dict[StudyId, Line], Field(max_length=200)] = Field(
        default_factory=dict, description="studies that are to be declared: id -> title"
    )
    published: Readings = Field(
        default_factory=dict,
        description="study -> which comparisons of its rule are the published claim, as '1 and not 2'; without one all of it",
    )
    beside: StudyIds = Field(
        default=(), description="studies whose rule neither states nor denies a published result"
    )
    beyond: Annotated[dict[ScaleName, Readings], Field(max_length=3)] = Field(
        default_factory=dict,
        description="scale -> study -> why what is judged at that scale is not what was published",
    )
    projects: Annotated[dict[Line, Line], Field(max_length=50)] = Field(
        default_factory=dict, description="track -> project of the index of experiments; VIT without one"
    )
    protocol: Annotated[tuple[Text, ...], Field(max_length=50)] = Field(
        default=(), description="what holds for every study"
    )
    questions: Annotated[tuple[QuestionSection, ...], Field(max_length=30)] = Field(
        default=(), description="the tree of hypotheses"
    )
    beliefs: Annotated[tuple[BeliefSection, ...], Field(max_length=10)] = Field(
        default=(), description="what is taken for true; ten at most"
    )
    principles: Annotated[tuple[PrincipleSection, ...], Field(max_length=100)] = Field(
        default=(), description="published principles of design"
    )
    gaps: Annotated[tuple[GapSection, ...], Field(max_length=30)] = Field(
        default=(), description="what has to be known for decisions"
    )
    gates: Annotated[tuple[GateSection, ...], Field(max_length=30)] = Field(
        default=(), description="decisions of the programme"
    )
    phases: Annotated[tuple[PhaseSection, ...], Field(max_length=20)] = Field(
        default=(), description="the roadmap"
    )
    choices: Annotated[tuple[ChoiceSection, ...], Field(max_length=50)] = Field(
        default=(), description="which model to use; the first is asked first"
    )

    @model_validator(mode="after")
    def _names_are_one_of_a_kind(self) -> Programme:
        seen: set[str] = set()
        for name in (one.id for one in (*self._sections(), *self.choices)):
            if name in seen:
                raise ValueError(f"the name '{name}' is given twice")
            seen.add(name)
        known = [choice.id for choice in self.choices]
        for choice in self.choices:
            for branch in choice.branches:
                if branch.go is not None and branch.go not in known:
                    raise ValueError(
                        f"choices: '{choice.id}' goes to '{branch.go}', which is no choice"
                        f"{did_you_mean(branch.go, known)}"
                    )
        # Every choice leads on to later ones, so that no reader walks in a circle.
        for at, choice in enumerate(self.choices):
            for branch in choice.branches:
                if branch.go is not None and known.index(branch.go) <= at:
                    raise ValueError(f"choices: '{choice.id}' goes back to '{branch.go}'")
        return self

    def _sections(self) -> Iterator[QuestionSection | Statement | PhaseSection | ItemSection]:
        yield from self.questions
        yield from self.statements()
        yield from self.phases
        for phase in self.phases:
            yield from phase.items

    def statements(self) -> Iterator[Statement]:
        """Yield everything that studies support or refute."""
        for question in self.questions:
            yield from question.hypotheses
        yield from self.beliefs
        yield from self.principles
        yield from self.gaps
        yield from self.gates

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield where a study is named, and its id."""
        for statement in self.statements():
            yield from ((statement.id, study) for study in statement.named)
        for phase in self.phases:
            for item in phase.items:
                yield from ((item.id, study) for study in item.studies)
        for choice in self.choices:
            yield from ((choice.id, branch.study) for branch in choice.branches if branch.study)
        yield from (("published", study) for study in self.published)
        yield from (("beside", study) for study in self.beside)
        yield from ((f"beyond.{scale}", study) for scale, found in self.beyond.items() for study in found)

    def why_beyond(self, scale: str, study: str) -> str:
        """Return why what a study judges at a scale is not what was published; "" if it is."""
        return next((found.get(study, "") for name, found in self.beyond.items() if name == scale), "")

    def readings(self) -> Iterator[tuple[str, str, str]]:
        """Yield where a rule is read in part, the study, and the reading."""
        yield from (("published", *one) for one in self.published.items())
        for statement in self.statements():
            yield from ((f"{statement.id}: readings", *one) for one in statement.readings.items())


PROGRAMMES = DocumentKind(
    noun="programme",
    model=Programme,
    presets=Path(str(files("specvit.hub"))) / "programmes",
    format=Format("programme_version", PROGRAMME_VERSION),
)
#: The programme of the catalogue that ships.
SHIPPED = "reference"


def read_programme(name: str | Path, studies: Mapping[str, Study]) -> Programme:
    """Return a programme whose studies are all known.

    Args:
        name: of one that ships, or the path of a .toml file.
        studies: those that are declared, by id.

    Raises:
        ConfigError: for a file that cannot be meant, and for a study or variant that is neither declared nor
            planned; names it, and the nearest.
    """
    path = PROGRAMMES.find(name)
    programme = PROGRAMMES.read(path).value
    known = {*studies, *programme.planned}
    for where, study in programme.named():
        if study not in known:
            raise ConfigError(
                f"{shown(path)}: {where} names the study '{study}', which is neither in the catalogue nor among "
                f"'planned'{did_you_mean(study, known)}"
            )
    for where, study, reading in programme.readings():
        if study in studies:
            try:
                check_reading(reading, len(list(claims_of(studies[study].parsed))))
            except ConfigError as error:
                raise ConfigError(f"{shown(path)}: {where}.{study}: {error}") from None
    for choice in programme.choices:
        for branch in choice.branches:
            compared = studies.get(branch.study or "")
            if compared is not None and branch.variants is not None:
                _check_variants(f"{shown(path)}: {choice.id}", branch.variants, compared)
    return programme


def _check_variants(where: str, variants: tuple[str, ...], study: Study) -> None:
    for variant in variants:
        if variant not in study.variants:
            raise ConfigError(
                f"{where}: the study {study.id} has no variant '{variant}'{did_you_mean(variant, study.variants)}"
            )
