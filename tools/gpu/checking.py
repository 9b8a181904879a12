"""Stage "check": versions and card, and whether the device computes what the CPU does.

Every comparison is with the CPU in float64, or in float32 where a network has no other; its tolerance is stated beside
the difference found. float32 carries 6e-8 of rounding per operation and sums of thousands of them; what is beyond is a
defect, of the device or of the code that never ran on it.
"""

from __future__ import annotations

import copy
import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

import specvit
from gpu.gpu_tests import run_gpu_tests
from gpu.plan import Budget
from gpu.results import Results
from gpu.visit import SEED, Visit, tried
from specvit.estimators.architectures import ARCHITECTURES
from specvit.limits import Forecaster
from specvit.limits.bayes import Observation, log_likelihood
from specvit.models.conditioning import Inputs
from specvit.models.network import NetworkConfig
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch
from specvit.training import LabelRegression, Recipe
from specvit.training.starts import fit_front

STAGE = "check"

#: Largest relative differences allowed, by precision: of spectra, of variances (whose inverse loses digits), of the
#: gradients of networks as vectors.
SPECTRA = {torch.float32: 1e-4, torch.float64: 1e-10}
BOUNDS = {torch.float32: 1e-3, torch.float64: 1e-6}
#: Heads give float32 whatever the body computes in.
GRADIENTS = {torch.float32: 2e-3, torch.float64: 1e-6}
#: Of ln likelihood, absolute: sums over 4096 pixels of terms rounded in float32.
LIKELIHOOD = {torch.float32: 0.05, torch.float64: 1e-6}

#: Spectra of the comparisons of networks: the CPU does them in float64.
NETWORK_SPECTRA = 64

PACKAGES = ("numpy", "scipy", "triton", "transformers", "timm", "pydantic", "numba")


def check(visit: Visit, results: Results, budget: Budget) -> None:
    """Note versions and every comparison; see the module."""
    results.note(STAGE, "versions", versions(visit))
    # What PyTorch allows by default rounds the inputs of float32 convolutions to ten bits.
    torch.backends.cudnn.allow_tf32 = False
    comparisons: dict[str, Callable[[], dict[str, Any]]] = {
        "simulator float64": lambda: spectra(visit, torch.float64),
        "simulator float32": lambda: spectra(visit, torch.float32),
        "draws": lambda: draws(visit),
        "fisher float64": lambda: fisher(visit, torch.float64),
        "fisher float32": lambda: fisher(visit, torch.float32),
        "likelihood float64": lambda: likelihood(visit, torch.float64),
        "likelihood float32": lambda: likelihood(visit, torch.float32),
        "network reference": lambda: network(visit, visit.reference()),
        "network ours": lambda: network(visit, visit.ours()),
    }
    for name, kind in ARCHITECTURES.items():
        comparisons[f"network {name}-nano"] = lambda kind=kind: network(visit, kind.size("nano"))
    for name, job in comparisons.items():
        results.note(STAGE, name, tried(job))
    results.note(STAGE, "gpu tests", run_gpu_tests(visit, budget, results.folder))


def versions(visit: Visit) -> dict[str, Any]:
    """Return what the figures have to be read with."""
    found: dict[str, Any] = {
        "specvit": specvit.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "card": platform.processor() or platform.machine(),
        **{name: _version(name) for name in PACKAGES},
    }
    if visit.on_gpu:
        card = torch.cuda.get_device_properties(visit.device)
        found |= {
            "card": card.name, "memory GiB": round(card.total_memory / 2**30, 1),
            "multiprocessors": card.multi_processor_count, "capability": f"{card.major}.{card.minor}",
            "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "driver": _driver(),
        }  # fmt: skip
    return found


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the size of what is expected, NaN where either is no number."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float(((found - expected).abs() / expected.abs().clamp(min=1e-30)).max())


def judged(differences: dict[str, float], tolerance: float) -> dict[str, Any]:
    """Return differences with their tolerance and whether all keep it; NaN does not."""
    return {
        **differences,
        "tolerance": tolerance,
        "good": all(value <= tolerance for value in differences.values()),
    }


def spectra(visit: Visit, dtype: torch.dtype) -> dict[str, Any]:
    """Compare flux, both sigmas and S/N for the same labels, conditions and noise."""
    simulator, count = visit.simulator, visit.sizes.checked
    labels, conditions = simulator.labels_and_conditions("test", SEED, 0)
    labels, conditions = labels[:count], {name: values[:count] for name, values in conditions.items()}
    noise = torch.randn(
        count, simulator.grid.size, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64
    )
    expected = _observed(simulator, labels, conditions, noise, torch.float64, torch.device("cpu"))
    found = _observed(simulator, labels, conditions, noise, dtype, visit.device)
    # Noise takes the flux through zero: what counts is the difference in units of sigma.
    flux = (found.flux.cpu().double() - expected.flux) / expected.sigma
    return judged(
        {
            "flux": float(flux.abs().max()),
            "sigma": relative(found.sigma, expected.sigma),
            "true sigma": relative(found.known_truth().sigma, expected.known_truth().sigma),
            "snr": relative(found.known_snr(), expected.known_snr()),
        },
        SPECTRA[dtype],
    )


def _observed(
    simulator: Simulator, labels: Tensor, conditions: dict[str, Tensor], noise: Tensor, dtype: torch.dtype,
    device: torch.device,
) -> SpectraBatch:  # fmt: skip
    exact = Simulator(copy.deepcopy(simulator.observed).to(dtype), simulator.instrument, simulator.prior)
    given = {name: values.to(device, dtype) for name, values in conditions.items()}
    return exact.observe(labels.to(device, dtype), given, noise.to(device, dtype))


def draws(visit: Visit) -> dict[str, Any]:
    """Compare what is drawn: the stars of the CPU, noise of mean 0 and variance 1, the same spectra every time."""
    simulator, count = visit.simulator, max(visit.sizes.checked, 128)
    here = simulator.draw("train", SEED, 0, count)
    there = simulator.draw("train", SEED, 0, count, device=visit.device)
    again = simulator.draw("train", SEED, 0, count, device=visit.device)
    part = simulator.draw("train", SEED, 64, 128, device=visit.device)
    truth = there.known_truth()
    deviates = ((there.flux - truth.flux) / truth.sigma).double()
    number = deviates.numel()
    return {
        "same labels": bool(torch.equal(there.known_labels().cpu(), here.known_labels())),
        "snr": relative(there.known_snr(), here.known_snr()),
        "repeated exactly": bool(torch.equal(there.flux, again.flux)),
        "part of it": relative(part.known_truth().flux, truth.flux[64:128]),
        "mean of noise, errors": float(deviates.mean()) * number**0.5,
        "variance of noise, errors": float(deviates.square().mean() - 1) * (number / 2) ** 0.5,
        "good": bool(torch.equal(there.known_labels().cpu(), here.known_labels()))
        and relative(there.known_snr(), here.known_snr()) < SPECTRA[torch.float32]
        and bool(torch.equal(there.flux, again.flux))
        and abs(float(deviates.mean())) * number**0.5 < 5
        and abs(float(deviates.square().mean() - 1)) * (number / 2) ** 0.5 < 5,
    }


def fisher(visit: Visit, dtype: torch.dtype) -> dict[str, Any]:
    """Compare the Cramér-Rao bounds of log g and the S/N."""
    simulator, count = visit.simulator, visit.sizes.checked
    emulator, instrument = simulator.world.emulator(), simulator.instrument  # type: ignore[union-attr]
    labels, _ = simulator.labels_and_conditions("test", SEED, 0)
    conditions = instrument.sample_conditions(count, torch.Generator().manual_seed(SEED))
    here, there = (
        Forecaster(emulator, instrument, device=device, dtype=kind).forecast(labels[:count], [conditions])[0]
        for device, kind in (("cpu", torch.float64), (visit.device, dtype))
    )
    found = {"crlb": relative(there.crlb, here.crlb), "snr": relative(there.snr, here.snr)}
    return judged(found, BOUNDS[dtype])


def likelihood(visit: Visit, dtype: torch.dtype) -> dict[str, Any]:
    """Compare ln likelihoods of labels around the truth, the amplitude known and drawn alike."""
    simulator, count = visit.simulator, min(visit.sizes.checked, 32)
    batch = simulator.draw("test", SEED, 0, count)
    observation = Observation.from_batch(batch, simulator.instrument)
    low, high = (
        torch.tensor(ends) for ends in (simulator.prior.label_space.low, simulator.prior.label_space.high)
    )
    generator = torch.Generator().manual_seed(SEED)
    step = 0.02 * (high - low) * torch.randn(count, 16, len(low), generator=generator)
    labels = torch.maximum(torch.minimum(batch.known_labels()[:, None] + step, high), low).double()
    normal = torch.randn(count, 16, generator=generator, dtype=torch.float64)

    def value(device: torch.device, kind: torch.dtype, drawn: Tensor | None) -> Tensor:
        observed = copy.deepcopy(simulator.observed).to(device, kind)
        parts = (getattr(observation, name).to(device, kind) for name in ("flux", "base", "gain", "scale"))
        given = None if drawn is None else drawn.to(device)
        return log_likelihood(observed, Observation(*parts), labels.to(device), given)[0].cpu()

    with torch.no_grad():
        found = {
            name: float(
                (value(visit.device, dtype, drawn) - value(torch.device("cpu"), torch.float64, drawn))
                .abs()
                .max()
            )
            for name, drawn in (("known amplitude", None), ("drawn amplitude", normal))
        }
    return judged(found, LIKELIHOOD[dtype])


def network(visit: Visit, config: NetworkConfig) -> dict[str, Any]:
    """Compare front end, outputs, loss and gradients of one training step, dropout left out; bfloat16 is stated."""
    built, count = visit.build(config), min(visit.sizes.checked, NETWORK_SPECTRA)
    sample = visit.simulator.draw("train", SEED, 0, max(count, 256))
    fit_front(built, sample)
    built.eval()
    batch = sample[:count]
    objective = LabelRegression.of(built, visit.simulator.prior.label_space, Recipe())
    inputs, targets = objective.prepare(batch, None)
    there = copy.deepcopy(built).to(visit.device)
    seen = there.front(batch.flux.to(visit.device), batch.sigma.to(visit.device))
    found = {"front": float((seen.values.cpu() - inputs.values).abs().max())}
    here = _outputs_and_gradient(objective, inputs, targets, torch.device("cpu"), torch.float64)
    for dtype, name in ((torch.float64, "float64"), (torch.float32, "float32")):
        outputs, gradient = _outputs_and_gradient(objective, inputs, targets, visit.device, dtype)
        found[f"outputs {name}"] = float((outputs - here[0]).norm() / here[0].norm())
        found[f"gradient {name}"] = float((gradient - here[1]).norm() / here[1].norm())
    with torch.no_grad(), torch.autocast(visit.device.type, torch.bfloat16):
        half = there.body(_moved(inputs, visit.device, torch.float32)).cpu().double()
    good = found["front"] <= GRADIENTS[torch.float32] and all(
        found[f"{what} {name}"] <= GRADIENTS[dtype]
        for what in ("outputs", "gradient")
        for name, dtype in (("float64", torch.float64), ("float32", torch.float32))
    )
    tolerances = {
        "tolerance float32": GRADIENTS[torch.float32],
        "tolerance float64": GRADIENTS[torch.float64],
    }
    return {**found, "bfloat16": float((half - here[0]).norm() / here[0].norm()), **tolerances, "good": good}


def _outputs_and_gradient(
    objective: LabelRegression, inputs: Inputs, targets: Tensor, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    moved = copy.deepcopy(objective.network).to(device, dtype).eval()
    step = LabelRegression(moved, objective.space, objective.loss_name)
    outputs = moved.body(_moved(inputs, device, dtype))
    step.loss(outputs, targets.to(device)).backward()
    slopes = [p.grad for p in moved.body.parameters() if p.grad is not None]
    gradient = torch.cat([slope.flatten().cpu().double() for slope in slopes])
    return outputs.detach().cpu().double(), gradient


def _moved(inputs: Inputs, device: torch.device, dtype: torch.dtype) -> Inputs:
    usable = None if inputs.usable is None else inputs.usable.to(device)
    return Inputs(inputs.values.to(device, dtype), usable, inputs.level.to(device, dtype))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _driver() -> str | None:
    """Return the version of the card's driver, None where it cannot be asked for."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None
