"""Networks for a list of spectra: made and checked on some of its spectra before the first star is answered.

What was found is part of the recipe, so that all processes that work on the list, and a command that is continued, trust
the same networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from specvit.amortised import Agreement, AmortisedFitter, NetworkStore, Setup, TrainingPlan
from specvit.models.inputs import Progress
from specvit.observed import ObservedSpectrum
from specvit.starlist.inputs import StarInput
from specvit.starlist.recipe import FitRecipe
from specvit.starlist.work import targets_of
from specvit.stellar import StarFitter

#: Spectra of a list by which its instruments are found and their networks checked.
SAMPLE = 60


@dataclass(frozen=True)
class ListNetworks:
    """Which networks answer the stars of a list.

    Args:
        plan: of their training.
        found: instruments of the list, and how network and fit agree on them.
    """

    plan: TrainingPlan
    found: tuple[tuple[Setup, Agreement], ...] = field(default=())

    def fitter(self, fitter: StarFitter) -> AmortisedFitter:
        """Return what fits the stars, with `fitter` where no network may answer."""
        store = NetworkStore(fitter.emulator, fitter.settings, self.plan)
        return AmortisedFitter(fitter, store, agreements=dict(self.found))

    def to_dict(self) -> dict[str, Any]:
        """Return what answers depend on: not by how much, but whether network and fit agree."""
        trusted = [[setup.to_dict(), agreement.holds] for setup, agreement in self.found]
        return {"plan": self.plan.to_dict(), "trusted": trusted}

    def describe(self) -> dict[str, Any]:
        """Return what a table says of them, plain values by column."""
        trusted = [agreement for _, agreement in self.found if agreement.holds]
        return {
            "network": f"{self.plan.model}-{self.plan.size}, {self.plan.updates} updates",
            "network_checked": sum(agreement.checked for agreement in trusted),
        }


def with_networks(
    recipe: FitRecipe,
    plan: TrainingPlan,
    inputs: Sequence[StarInput],
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> FitRecipe:
    """Return a recipe by which networks answer, trained if need be, where they agree with the fit.

    Args:
        recipe: of the fit.
        plan: of the training of a network.
        inputs: of the list.
        say: told what is trained, and how network and fit agree.
        progress: told how far a training is.

    Raises:
        ConfigError: if the recipe has priors, or clips pixels.
    """
    fitter = StarFitter(recipe.open_emulator(), recipe.masked_settings)
    store = NetworkStore(fitter.emulator, fitter.settings, plan)
    labels = fitter.emulator.label_space.names
    checking = AmortisedFitter(fitter, store, say, progress)
    found = checking.check(_sample(inputs, labels))
    return replace(recipe, networks=ListNetworks(plan, tuple(found.items())))


def _sample(inputs: Sequence[StarInput], labels: Sequence[str]) -> Iterator[ObservedSpectrum]:
    """Yield some of the spectra, of files spread evenly over the list."""
    files = inputs[:: max(1, len(inputs) // SAMPLE)][:SAMPLE]
    each = -(-SAMPLE // max(1, len(files)))
    for one in files:
        for target in islice(targets_of(one, labels), each):
            if isinstance(target.found, ObservedSpectrum):
                yield target.found
