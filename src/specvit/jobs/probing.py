"""What the layers of networks know, behind `specvit probe`: readouts, baselines and controls on the same test stars.

All vectors of all stars are in memory: stars and layers are chosen so that they fit.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator
from specvit.estimators.probe import begun, shuffled, untrained
from specvit.jobs.judged_stars import Judge, JudgedStars, judged_stars
from specvit.jobs.latents import latents_of, layers_of
from specvit.jobs.probe_baselines import baselines, noise_alone, pixels_of
from specvit.jobs.probe_geometry import likeness_of, surviving_information
from specvit.jobs.trial import simulator_of
from specvit.jobs.watch import Quiet, Update, Watch
from specvit.jobs.worlds import in_words
from specvit.models.readouts import LINEAR, Readout, ReadoutKind, Rows, fit_readout
from specvit.models.states import OUTPUT
from specvit.represent import Wanted
from specvit.represent.pooled import ALL
from specvit.runs.probe_record import ProbeRecord, ProbeRow
from specvit.simulate import World, splits
from specvit.spectra import LabelSpace, SpectraBatch, collect
from specvit.training.starts import SAMPLE

Key = tuple[str, str]
#: Training, validation and test vectors of one kind, each (N, F).
Vectors = tuple[Tensor, Tensor, Tensor]

#: Layers wider than this are left out of "all": what enters a network of pixels are the pixels, a baseline already.
WIDEST_OF_ALL = 1024
NONE, SHUFFLED, BLIND = "none", "shuffled labels", "noise alone"
BEGUN, UNTRAINED = "before any update", "random weights"
LABEL, RESIDUAL = "label", "residual"
#: Parts of the training stars of which Ridge on the pixels says what it learnt from the others.
FOLDS = 4


@dataclass(frozen=True)
class ProbePlan:
    """What is probed.

    Args:
        wanted: layers and poolings of every network.
        readouts: kinds, in order; the first of them also reads the controls.
        labels: of the world.
        stars: to fit, to choose by, and to test.
        posteriors: exact posteriors, of the first test stars; 0 scores against the labels.
        information: stars at which the information that survives is found; 0 leaves it out.
        controls: whether controls are made.
        seed: of stars, fits and intervals.
        threads: of the fits.
        runs: folder of the runs of studies, which keeps posteriors.
    """

    wanted: Wanted
    readouts: tuple[ReadoutKind, ...] = (LINEAR,)
    labels: tuple[str, ...] = ("log_g",)
    stars: tuple[int, int, int] = (2000, 500, 500)
    posteriors: int = 300
    information: int = 8
    controls: bool = True
    seed: int = 42
    threads: int = 1
    runs: Path = Path("runs/studies")


@dataclass(frozen=True)
class _Stars:
    """Spectra of the three sets, and their labels (N, P) each."""

    parts: tuple[SpectraBatch, SpectraBatch, SpectraBatch]
    labels: Vectors


def probe_networks(
    networks: Mapping[str, NetworkEstimator], world: World, plan: ProbePlan, watch: Watch | None = None
) -> ProbeRecord:
    """Return what Ridge, trees and small networks read off layers, against pixels, components and statistics.

    Args:
        networks: by the name they are told by; all of one set of pixels.
        world: of the stars.
        plan: what is probed.
        watch: told how far it is.

    Raises:
        ConfigError: for layers, poolings or labels that are not there.
        WavelengthRangeError: for a network of other pixels.
    """
    watch = watch or Quiet()
    simulator = simulator_of(world)
    space = simulator.prior.label_space
    for label in plan.labels:
        if label not in space.names:
            raise ConfigError(
                f"--labels: '{label}' is not known of this world; choose {', '.join(space.names)}"
            )
    keys = {name: wanted_keys(network, plan.wanted) for name, network in networks.items()}
    for network in networks.values():
        network.grid.check_matches(simulator.grid, network.name)
    test = judged_stars(world, plan.stars[2], plan.posteriors, plan.seed, plan.runs, watch)
    with watch.task("draw the spectra to learn from"):
        stars = _drawn(world, plan, test, space)
    judges = {label: test.judge(label, plan.seed) for label in plan.labels}
    prober = _Prober(plan, stars, judges)
    rows: list[ProbeRow] = []
    with watch.task("baselines") as update:
        base = _linear_estimates(prober, stars)
        rows += prober.baselines(base, update)
    vectors: dict[str, Tensor] = {}
    for name, network in networks.items():
        with watch.task(f"layers of {name}") as update:
            found = _vectors(network, stars, keys[name])
            rows += prober.itself(name, network, test)
            rows += prober.layers(name, found, base, update)
            if plan.controls:
                rows += prober.controls(name, network, found, keys[name], base, update)
        vectors |= {
            f"{name}: {layer}/{pool}": found[layer, pool][2] for layer, pool in _first_of_layers(found)
        }
    information = []
    if plan.information:
        with watch.task("information that survives") as update:
            places = dict(networks)
            if plan.controls:
                # What a layer keeps that has learnt nothing is no merit of the training.
                places |= {f"{name}, {BEGUN}": prober.begun(one) for name, one in networks.items()}
            for name, network in places.items():
                information += surviving_information(
                    name,
                    network,
                    simulator,
                    test.first(plan.information),
                    keys[name.removesuffix(f", {BEGUN}")],
                    plan.labels,
                    plan.seed,
                    update,
                )
    return ProbeRecord(
        networks={name: network.described for name, network in networks.items()},
        world=in_words(world),
        train=plan.stars[0],
        validation=plan.stars[1],
        test=plan.stars[2],
        posteriors=test.known_count,
        seed=plan.seed,
        date=datetime.date.today().isoformat(),
        labels=plan.labels,
        ceiling={label: judge.ceiling() for label, judge in judges.items() if judge.is_exact},
        residual_ceiling={
            label: judge.ceiling(base[at][2])
            for at, (label, judge) in enumerate(judges.items())
            if judge.is_exact
        },
        rows=tuple(rows),
        likeness=likeness_of(vectors) if len(vectors) > 1 else None,
        information=tuple(information),
    )


def wanted_keys(network: NetworkEstimator, wanted: Wanted) -> list[Key]:
    """Return what is wanted of a network; of "all" without its outputs and without what is as wide as the pixels."""
    known = layers_of(network)
    wanted.check(known)
    if ALL in wanted.layers:
        known = [layer for layer in known if layer.name != OUTPUT and layer.width <= WIDEST_OF_ALL]
    keys = wanted.keys(known)
    if any(pooling.kind == "tokens" for pooling in wanted.poolings):
        raise ConfigError("--pool: tokens are no vector; take segments:K")
    return keys


def _drawn(world: World, plan: ProbePlan, test: JudgedStars, space: LabelSpace) -> _Stars:
    simulator = simulator_of(world)
    learnt = [
        collect(simulator.source(split, plan.seed, count, truth=True))
        for split, count in zip((splits.TRAIN, splits.VALIDATION), plan.stars[:2], strict=True)
    ]
    parts = (learnt[0], learnt[1], test.batch)
    columns = [space.index(label) for label in plan.labels]
    labels = tuple(batch.known_labels()[:, columns].double() for batch in parts)
    return _Stars(parts, labels)  # type: ignore[arg-type]


def _vectors(network: NetworkEstimator, stars: _Stars, keys: Sequence[Key]) -> dict[Key, Vectors]:
    found = [latents_of(network, batch, keys) for batch in stars.parts]
    return {key: (found[0][key], found[1][key], found[2][key]) for key in keys}


def _first_of_layers(found: Mapping[Key, Vectors]) -> list[Key]:
    """Return one pooling of every layer: likeness is of layers."""
    return list({layer: (layer, pool) for layer, pool in reversed(list(found))}.values())[::-1]


def _linear_estimates(prober: _Prober, stars: _Stars) -> list[Vectors]:
    """Return what Ridge on the pixels says of every label, for all three sets: what a linear shortcut knows.

    Of training stars it is said by fits without them: what a fit leaves of its own stars is too little.
    """
    vectors, labels = pixels_of(stars.parts), stars.labels
    readout = prober.fitted(LINEAR, vectors, labels)
    said = [torch.empty_like(labels[0]), readout(vectors[1]), readout(vectors[2])]
    fold = torch.arange(len(labels[0])) % FOLDS
    for k in range(FOLDS):
        others = (vectors[0][fold != k], vectors[1], vectors[2])
        left_out = prober.fitted(LINEAR, others, (labels[0][fold != k], labels[1], labels[2]))
        said[0][fold == k] = left_out(vectors[0][fold == k])
    return [(said[0][:, at], said[1][:, at], said[2][:, at]) for at in range(len(prober.plan.labels))]


@dataclass(frozen=True)
class _Prober:
    """Fits readouts and scores them.

    Args:
        plan: of the whole.
        stars: of the three sets.
        judges: label -> who scores.
    """

    plan: ProbePlan
    stars: _Stars
    judges: Mapping[str, Judge]

    def baselines(self, base: list[Vectors], update: Update) -> list[ProbeRow]:
        """Return pixels, components, sufficient statistics and noise alone, and what they know of the residual."""
        kinds = baselines(self.stars.parts, self.stars.labels)
        rows = []
        for done, (name, vectors) in enumerate(kinds.items()):
            update(done, len(kinds), name)
            rows += self.read(name, ("", ""), vectors)
            rows += self.read(name, ("", ""), vectors, residual=base)
        blind = noise_alone(self.stars.parts)
        return rows + self.read("sigma alone", ("", ""), blind)

    def itself(self, name: str, network: NetworkEstimator, test: JudgedStars) -> list[ProbeRow]:
        """Return the scores of the network's own estimates, of the labels it has."""
        said = network.predict(test.batch.flux, test.batch.sigma)
        rows = []
        for label, judge in self.judges.items():
            if label in said.names:
                values = said.mean[:, said.names.index(label)]
                rows.append(
                    self._row(name, ("", ""), 0, "itself", NONE, LABEL, label, judge, values, None, "")
                )
        return rows

    def layers(
        self, name: str, found: Mapping[Key, Vectors], base: list[Vectors], update: Update
    ) -> list[ProbeRow]:
        """Return every readout of every place, of the labels and of what Ridge on the pixels leaves."""
        rows = []
        for done, (key, vectors) in enumerate(found.items()):
            update(done, len(found), "/".join(key))
            rows += self.read(name, key, vectors)
            rows += self.read(name, key, vectors, residual=base)
        return rows

    def controls(
        self,
        name: str,
        network: NetworkEstimator,
        found: Mapping[Key, Vectors],
        keys: Sequence[Key],
        base: list[Vectors],
        update: Update,
    ) -> list[ProbeRow]:
        """Return what is read off without training, from other stars' labels, and from noise alone."""
        rows = []
        for key, vectors in found.items():
            rows += self.read(name, key, vectors, control=SHUFFLED)
        update(1, 4, BEGUN)
        for key, vectors in _vectors(self.begun(network), self.stars, keys).items():
            rows += self.read(name, key, vectors, control=BEGUN)
            rows += self.read(name, key, vectors, control=BEGUN, residual=base)
        update(2, 4, UNTRAINED)
        for key, vectors in _vectors(untrained(network, self.plan.seed), self.stars, keys).items():
            rows += self.read(name, key, vectors, control=UNTRAINED)
        update(3, 4, BLIND)
        baseline = network.network.front.baseline
        parts = tuple(replace(part, flux=baseline.expand_as(part.flux)) for part in self._relative())
        blind = _Stars(parts, self.stars.labels)  # type: ignore[arg-type]
        for key, vectors in _vectors(network, blind, keys).items():
            rows += self.read(name, key, vectors, control=BLIND)
        return rows

    def begun(self, network: NetworkEstimator) -> NetworkEstimator:
        """Return a network as its training begins, on the stars that readouts learn from."""
        sample = self.stars.parts[0]
        return begun(network, sample[slice(0, min(SAMPLE, len(sample)))], self.plan.seed)

    def read(
        self,
        source: str,
        key: Key,
        vectors: Vectors,
        control: str = NONE,
        residual: list[Vectors] | None = None,
    ) -> list[ProbeRow]:
        """Return the scores of every readout; of controls and residuals of the linear one alone."""
        kinds = self.plan.readouts if control == NONE and residual is None else (self.plan.readouts[0],)
        labels, rows = self.stars.labels, []
        if residual is not None:
            known = [torch.stack([one[part] for one in residual], dim=1) for part in range(3)]
            labels = tuple(truth - said for truth, said in zip(labels, known, strict=True))  # type: ignore[assignment]
        for kind in kinds:
            readout = self.fitted(kind, vectors, labels, control == SHUFFLED)
            said = readout(vectors[2])
            chosen = ", ".join(f"{name} {_short(value)}" for name, value in readout.choice.items())
            for at, (label, judge) in enumerate(self.judges.items()):
                base = None if residual is None else residual[at][2]
                target = LABEL if residual is None else RESIDUAL
                width = vectors[2].shape[1]
                rows.append(
                    self._row(
                        source, key, width, kind, control, target, label, judge, said[:, at], base, chosen
                    )
                )
        return rows

    def fitted(self, kind: ReadoutKind, vectors: Vectors, labels: Vectors, deal: bool = False) -> Readout:
        """Return a readout fitted on the first vectors and chosen by the second; `deal` labels to other stars."""
        train, held = Rows(vectors[0], labels[0]), Rows(vectors[1], labels[1])
        if deal:
            train, held = shuffled(train, self.plan.seed), shuffled(held, self.plan.seed)
        return fit_readout(kind, train, held, self.plan.seed, self.plan.threads)

    def _row(
        self,
        source: str,
        key: Key,
        width: int,
        readout: str,
        control: str,
        target: str,
        label: str,
        judge: Judge,
        values: Tensor,
        base: Tensor | None,
        choice: str,
    ) -> ProbeRow:
        r2, share = judge.scores(values, base)
        return ProbeRow(
            source=source,
            layer=key[0],
            pooling=key[1],
            width=width,
            readout=readout,
            control=control,
            target=target,
            label=label,
            r2=r2,
            share=share,
            choice=choice,
        )

    def _relative(self) -> list[SpectraBatch]:
        """Return the spectra with flux and sigma over their level, so that another flux keeps the noise as it is seen."""
        found = []
        for part in self.stars.parts:
            level = part.flux.median(dim=1, keepdim=True).values
            found.append(replace(part, flux=part.flux / level, sigma=part.sigma / level, truth=None))
        return found


def _short(value: object) -> str:
    if isinstance(value, list):
        return "/".join(_short(one) for one in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
