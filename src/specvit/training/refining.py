"""How a network gets its refinement: bright spectra seen once, what is known of them kept, and the step learnt on that.

The network itself stays as it is, and so do its estimates of all other stars. Everything a step needs of a spectrum is a
hundred numbers, so spectra are simulated and put through the network once, and the step sees them again and again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError, DataError, RunError
from specvit.models.conditioning import normalise
from specvit.models.network import SpectrumNetwork
from specvit.models.prepared import prepared
from specvit.models.refinement import Coefficients, Refinement, RefinementConfig, Stated, stated_by
from specvit.spectra import SpectraSource, take
from specvit.training.feeds import masked
from specvit.training.starts import SAMPLE

#: Spectra drawn at once, and those held back to see whether the step is one.
DRAWN, HELD_BACK = 512, 4096

#: Largest norm of the gradient; betas of AdamW.
CLIP, BETAS = 1.0, (0.9, 0.99)

#: Share of a training in which the rate rises, and its final rate over its peak.
WARMUP, FLOOR = 0.03, 0.005

#: Rate of the expected coefficients while the step is learnt, over that of the step: they are known already.
KNOWN_RATE = 0.1

#: Shares of the work that are done when the spectra are kept, and when the expected coefficients are known.
KEEPING, EXPECTING = 0.6, 0.75

#: Least share of a normal density that is taken to lie between the bounds of a label.
LEAST_INSIDE = 1e-6

#: Seconds between two reports.
REPORT_SECONDS = 1.0

#: Event of the records of a refinement.
REFINING = "refining"

#: Entry of the record of a refinement: root mean square errors of held-back spectra over those before, by label.
RATIO = "rmse_ratio"

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RefiningRecipe:
    """How a refinement is learnt.

    Args:
        spectra: bright ones that are kept.
        expected_steps: of 512 spectra each, in which the expected coefficients and their scatter are learnt.
        steps: in which the step is learnt.
        batch: spectra of one of these.
        lr: peak rate.
        expected_lr: peak rate of the expected coefficients.
        masked: share of the spectra in which random stretches of pixels are marked dead.
        seed: of weights and order.
    """

    spectra: int = 1_000_000
    expected_steps: int = 8_000
    steps: int = 20_000
    batch: int = 128
    lr: float = 1e-3
    expected_lr: float = 2e-3
    masked: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("spectra", "expected_steps", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"refining: {name}: expected 1 or more, got {getattr(self, name)}")


class Kept(NamedTuple):
    """What is kept of N spectra; labels (N, P) in their units."""

    stated: Stated
    seen: Coefficients
    labels: Tensor

    def rows(self, chosen: Tensor | slice) -> Kept:
        """Return some of the spectra."""
        return Kept(
            Stated(*(values[chosen] for values in self.stated)),
            Coefficients(*(values[chosen] for values in self.seen)),
            self.labels[chosen],
        )

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)


def refine(
    network: SpectrumNetwork,
    source: SpectraSource,
    config: RefinementConfig,
    recipe: RefiningRecipe,
    listen: Listener | None = None,
) -> dict[str, Any]:
    """Give a trained network a refinement; return the record of it.

    Stated errors have to be corrected anew after it (`network_fitter.calibrate`).

    Args:
        network: with an ordinal head, on the CPU, in evaluation mode; what refinement it had is replaced.
        source: simulated spectra that know their noise-free flux, all about as bright as those to be refined.
        config: its sizes, and from which S/N on it is used.
        recipe: how it is learnt.
        listen: called with {"event": `REFINING`, "progress": share done, "text": what is done}.

    Raises:
        ConfigError: if the head states no histograms, or the network sees spectra otherwise than as they are.
        DataError: if the source has too few spectra, or does not know their noise-free flux.
    """
    if network.config.head != "ordinal" or network.config.experts > 1:
        raise ConfigError(
            f"refining: needs a single ordinal head, this network has a {network.config.head} one"
        )
    if not network.config.front.viewing.is_plain:
        raise ConfigError("refining: needs a network that sees spectra as they are, without a view")
    least = max(recipe.batch, DRAWN) + HELD_BACK
    if recipe.spectra < least or len(source) < recipe.spectra:
        raise DataError(
            f"refining: {min(recipe.spectra, len(source)):,} spectra are too few; give {max(least, recipe.spectra):,}"
        )
    began, report = time.monotonic(), _Reports(listen)
    network.refinement = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        found = Refinement(config, network.front.pixels, len(network.label_space))
        sample = take(source, SAMPLE)
        found.front.fit(sample.known_truth().flux, sample.flux, sample.sigma)
        kept = keep(network, found, source, recipe, report)
        training, held = kept.rows(slice(None, -HELD_BACK)), kept.rows(slice(-HELD_BACK, None))
        _learn_expected(found, network, training, recipe, report)
        _learn_step(found, network, training, recipe, report)
    found.eval().requires_grad_(False)
    before, after = (_errors(network, held, by) for by in (None, found))
    network.refinement = found
    return {
        "refinement": {
            **asdict(config),
            **asdict(recipe),
            "seconds": round(time.monotonic() - began, 1),
            RATIO: dict(zip(network.label_space.names, (after / before).tolist(), strict=True)),
        }
    }


@torch.inference_mode()
def keep(
    network: SpectrumNetwork,
    refinement: Refinement,
    source: SpectraSource,
    recipe: RefiningRecipe,
    report: Callable[[float, str], None] = lambda share, text: None,
) -> Kept:
    """Return what a refinement needs of the first spectra of a source, some of their pixels dead."""
    columns = [source.label_space.index(name) for name in network.label_space.names]
    body, parts, done = prepared(network.body), [], 0
    rows = range(0, recipe.spectra, DRAWN)
    for first in rows:
        batch = source.draw(first, min(first + DRAWN, recipe.spectra))
        batch = masked(batch, recipe.masked, first + recipe.seed)
        stated = stated_by(network.head, body(network.front(batch.flux, batch.sigma)))
        usable, flux, sigma, _ = normalise(batch.flux, batch.sigma)
        parts.append(Kept(stated, refinement.seen(usable, flux, sigma), batch.known_labels()[:, columns]))
        done += len(batch)
        report(KEEPING * done / recipe.spectra, f"{done:,} bright spectra")
    return Kept(
        Stated(*(torch.cat(values).clone() for values in zip(*(part.stated for part in parts), strict=True))),
        Coefficients(
            *(torch.cat(values).clone() for values in zip(*(part.seen for part in parts), strict=True))
        ),
        torch.cat([part.labels for part in parts]).float().clone(),
    )


def _learn_expected(
    found: Refinement, network: SpectrumNetwork, training: Kept, recipe: RefiningRecipe, report: _Reports
) -> None:
    """Learn the expected coefficients and their scatter, at the true labels, by their likelihood."""
    scaling = network.head.labels_scaling
    parameters = [*found.expected.parameters(), *found.scatter.parameters()]
    optimiser = _Optimiser([(parameters, recipe.expected_lr)], recipe.expected_steps)
    for step, rows in enumerate(_batches(len(training), DRAWN, recipe.expected_steps, recipe.seed)):
        part = training.rows(rows)
        deviation, log_variance = found.deviations(scaling.to_scaled(part.labels), part.seen)
        optimiser.step(0.5 * (deviation.square() + log_variance).mean())
        share = (step + 1) / recipe.expected_steps
        report(KEEPING + (EXPECTING - KEEPING) * share, f"expected coefficients, step {step + 1:,}")


def _learn_step(
    found: Refinement, network: SpectrumNetwork, training: Kept, recipe: RefiningRecipe, report: _Reports
) -> None:
    """Learn the step, by the likelihood of the labels under what is stated after it."""
    known = [*found.expected.parameters(), *found.scatter.parameters()]
    new = [*found.gain.parameters(), *found.sharpness.parameters()]
    optimiser = _Optimiser([(known, KNOWN_RATE * recipe.lr), (new, recipe.lr)], recipe.steps)
    head = network.head
    for step, rows in enumerate(_batches(len(training), recipe.batch, recipe.steps, recipe.seed + 1)):
        part = training.rows(rows)
        centre, log_precision = found(part.stated, part.seen)
        truth = head.labels_scaling.to_scaled(part.labels)
        optimiser.step(cut_normal_loss(truth, centre, log_precision, head.edges[:, 0], head.edges[:, -1]))
        report(
            EXPECTING + (1 - EXPECTING) * (step + 1) / recipe.steps, f"step {step + 1:,} of {recipe.steps:,}"
        )


def cut_normal_loss(
    truth: Tensor, centre: Tensor, log_precision: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Return the mean of -ln density of truth (B, P) under normal densities (B, P) cut at low and high (P).

    Not the likelihood of a bin of the head, which does not tell errors below its width apart.
    """
    root = (0.5 * log_precision).exp()
    inside = torch.special.ndtr((high - centre) * root) - torch.special.ndtr((low - centre) * root)
    # Far outside nothing would be left of it: there the truth draws the centre back by the first term.
    shape = 0.5 * ((truth - centre) * root).square() - 0.5 * log_precision
    mean: Tensor = (shape + inside.clamp(min=LEAST_INSIDE).log()).mean()
    return mean


@torch.no_grad()
def _errors(network: SpectrumNetwork, held: Kept, found: Refinement | None) -> Tensor:
    """Return the root mean square error per label, shape (P,), scaled labels, of the medians stated before or after."""
    truth = network.head.labels_scaling.to_scaled(held.labels).double()
    centre = held.stated.centre.double()
    if found is not None:
        parts = [held.rows(rows) for rows in torch.arange(len(held)).split(DRAWN)]
        raw = (found.outputs(part.stated, part.seen, network.head) for part in parts)
        centre = torch.cat([network.head.central(some)[0] for some in raw])
    return (centre - truth).square().mean(dim=0).sqrt()


class _Optimiser:
    """AdamW with a warm-up and a cosine to nearly nothing."""

    def __init__(self, groups: Sequence[tuple[list[nn.Parameter], float]], steps: int) -> None:
        entries = [{"params": parameters, "lr": lr} for parameters, lr in groups]
        self.peaks = [lr for _, lr in groups]
        # Nothing to decay: the layers are small, and spectra many.
        self.inner = torch.optim.AdamW(entries, betas=BETAS, weight_decay=0.0)
        self.parameters = [parameter for parameters, _ in groups for parameter in parameters]
        self.steps, self.done = steps, 0

    def step(self, loss: Tensor) -> None:
        """Take one step down a loss."""
        if not math.isfinite(float(loss.detach())):
            raise RunError(f"refining: the loss is {float(loss.detach())} at step {self.done}; lower lr")
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        share = self.done / self.steps
        factor = min(1.0, (self.done + 1) / (WARMUP * self.steps))
        factor *= FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * share))
        for group, peak in zip(self.inner.param_groups, self.peaks, strict=True):
            group["lr"] = factor * peak
        self.inner.step()
        self.inner.zero_grad(set_to_none=True)
        self.done += 1


def _batches(count: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield the rows of so many steps, all rows in a new order each pass."""
    generator = torch.Generator().manual_seed(seed)
    order, at = torch.randperm(count, generator=generator), 0
    for _ in range(steps):
        if at + batch > count:
            order, at = torch.randperm(count, generator=generator), 0
        yield order[at : at + batch]
        at += batch


class _Reports:
    """Tells how far the work is, no more than once a second."""

    def __init__(self, listen: Listener | None) -> None:
        self.listen, self._told = listen, -math.inf

    def __call__(self, share: float, text: str) -> None:
        now = time.monotonic()
        if self.listen is None or (now - self._told < REPORT_SECONDS and share < 1):
            return
        self._told = now
        self.listen({"event": REFINING, "progress": share, "text": text})
