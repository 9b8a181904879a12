"""Spectra per second of predictions, by every way to make them that was considered, in the same run.

The measure is plain eager float32, `network(flux, sigma)` on batches of 512 spectra. Against it: `predict` (what
users get: checks, errors and quantiles included), torch.compile, bfloat16 autocast, ONNX Runtime in float32 and
with linear layers in 8-bit integers. The change of R² for log g is on the same simulated test spectra.
Networks: SpecViT-reference with random weights (so without R², and beside it the same network built from the
encoder layers of transformers), those that come with specvit, and saved ones given by --bundle.

    python benchmarks/infer.py [--spectra 2048] [--repeats 5] [--quick] [--compile]
        [--bundle FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import _rival_vits as rivals
from _machine import heading
from specvit.estimators import network_config
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.pretrained import load_pretrained, pretrained_names
from specvit.models.conditioning import Inputs
from specvit.models.network import SpectrumNetwork, build_network
from specvit.models.origin import Origin
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch
from specvit.training.objectives import pooled_r2
from specvit.training.starts import fit_front

LABEL = "log_g"
EAGER_ROWS = 512
PACKAGES = ("transformers", "onnx", "onnxruntime")

#: The name of the estimator with random weights, which is slow too: it gets one spectrum in so many.
RANDOM, RANDOM_SHARE = "vit-reference", 8

Way = Callable[[Tensor, Tensor], Tensor]


def random_reference(simulator: Simulator) -> NetworkEstimator:
    """Return SpecViT-reference with random weights: what it costs does not depend on them."""
    torch.manual_seed(0)
    space = simulator.prior.label_space.select((LABEL,))
    network = build_network(network_config("vit", "reference"), simulator.grid, space)
    source = simulator.source("train", 3, 256)
    fit_front(network, simulator.draw("train", 3, 0, 256))
    return NetworkEstimator(RANDOM).adopt(network, Origin.of(source, source))


def estimators(simulator: Simulator, others: list[Path]) -> list[NetworkEstimator]:
    shipped = [load_pretrained(name) for name in pretrained_names()]
    return [random_reference(simulator), *shipped, *(NetworkEstimator.load(path) for path in others)]


def in_batches(network: SpectrumNetwork, body: Callable[[Inputs], Tensor], rows: int) -> Way:
    """Return the way that runs `body` on `rows` spectra at a time."""

    def predict(flux: Tensor, sigma: Tensor) -> Tensor:
        parts = zip(flux.split(rows), sigma.split(rows), strict=True)
        inputs = (network.front(*part) for part in parts)
        return torch.cat([network.decode(body(each), each.level).mean for each in inputs])

    return predict


def autocast(body: nn.Module, device: str) -> Callable[[Inputs], Tensor]:
    def run(inputs: Inputs) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return body(inputs)

    return run


class _Unpacked(nn.Module):
    """A body with its inputs as separate arguments, as ONNX wants them."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, values: Tensor, usable: Tensor, level: Tensor) -> Tensor:
        return self.body(Inputs(values, usable, level))


def onnx_bodies(
    network: SpectrumNetwork, sample: Inputs, threads: int
) -> dict[str, Callable[[Inputs], Tensor]]:
    """Return the body in ONNX Runtime, in float32 and with linear layers in integers.

    Raises:
        ImportError: if onnx, onnxscript or onnxruntime is not installed.
    """
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    names, free = ("values", "usable", "level"), {0: torch.export.Dim.DYNAMIC}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        program = torch.onnx.export(
            _Unpacked(network.body), tuple(sample), dynamo=True, verbose=False, input_names=names,
            output_names=["raw"], dynamic_shapes=(free, free, free),
        )  # fmt: skip
        program.save(plain)
        layers = [node.name for node in program.model.graph if node.op_type in ("Gemm", "MatMul")]
        linear = [name for name in layers if "bmm" not in name]
        quantize_dynamic(
            plain, small, per_channel=True, weight_type=QuantType.QInt8, nodes_to_quantize=linear,
            op_types_to_quantize=["MatMul", "Gemm"],
        )  # fmt: skip
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = threads, 3
        for name, path in (("ONNX Runtime", plain), ("ONNX Runtime int8", small)):
            session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
            taken = {given.name for given in session.get_inputs()}

            def run(inputs: Inputs, session=session, taken=taken) -> Tensor:
                given = {key: value.numpy() for key, value in inputs._asdict().items() if key in taken}
                return torch.from_numpy(session.run(None, given)[0])

            found[name] = run
    return found


def ways(estimator: NetworkEstimator, stars: SpectraBatch, options: argparse.Namespace) -> dict[str, Way]:
    """Return every way to predict that can be had here, plain eager float32 first."""
    network, rows = estimator.network.to(options.device), estimator.rows_at_once
    estimator.device = torch.device(options.device)
    found: dict[str, Way] = {
        "eager float32": in_batches(network, network.body, EAGER_ROWS),
        "predict": lambda flux, sigma: estimator.predict(flux, sigma).mean,
        "bfloat16": in_batches(network, autocast(network.body, options.device), rows),
    }
    if estimator.name == RANDOM:
        found |= same_from_transformers(network)
    if options.compile or options.device != "cpu":
        began = time.perf_counter()
        found["compiled"] = in_batches(network, torch.compile(network.body, dynamic=False), rows)
        # Of the size that is timed, and where the network is: another shape would be compiled again.
        found["compiled"](stars.flux.to(options.device), stars.sigma.to(options.device))
        print(f"  {estimator.name}: compiling took {time.perf_counter() - began:.0f} s", flush=True)
    if options.device == "cpu":
        try:
            began, sample = time.perf_counter(), network.front(stars.flux[:5], stars.sigma[:5])
            for name, body in onnx_bodies(network, sample, options.threads).items():
                found[name] = in_batches(network, body, rows)
            print(f"  {estimator.name}: ONNX export took {time.perf_counter() - began:.0f} s", flush=True)
        except ImportError as error:
            print(f"  ONNX Runtime: left out, as it cannot be imported ({error}); `make bench` installs it")
    return found


def same_from_transformers(network: SpectrumNetwork) -> dict[str, Way]:
    """Return plain eager predictions of the same network, all tokens of all blocks; none if not installed."""
    try:
        rival = rivals.build("transformers").eval()
    except ImportError as error:
        print(f"  transformers: left out, as it cannot be imported ({error}); `make bench` installs it")
        return {}
    rivals.copy_weights("transformers", network.body, rival)
    rival = rival.to(network.head.edges.device)
    body = lambda inputs: rival(inputs.values[:, 0])[:, None, None]  # noqa: E731
    return {"transformers": in_batches(network, body, EAGER_ROWS)}


def compare(
    estimator: NetworkEstimator, stars: SpectraBatch, truth: Tensor, options: argparse.Namespace
) -> dict:
    """Time every way in turn and return its figures."""
    column, count = estimator.label_space.index(LABEL), len(stars.flux)
    with torch.inference_mode():
        found = ways(estimator, stars, options)
        flux, sigma = stars.flux.to(options.device), stars.sigma.to(options.device)
        r2 = {
            name: float(pooled_r2(way(flux, sigma)[:, [column]].cpu(), truth)) for name, way in found.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in found}
        for repeat in range(options.repeats):
            for name, way in found.items():
                began = time.perf_counter()
                way(flux, sigma).cpu()
                seconds[name].append(time.perf_counter() - began)
            print(f"  {estimator.name}: repeat {repeat + 1} of {options.repeats}", flush=True)
    plain = "eager float32"
    figures = {}
    for name, times in seconds.items():
        ratios = [slow / fast for slow, fast in zip(seconds[plain], times, strict=True)]
        figures[name] = {
            "spectra_per_second": count / statistics.median(times),
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
            "r2_change": r2[name] - r2[plain] if estimator.name != RANDOM else None,
        }
        print(
            f"  {estimator.name:14s} {name:18s} {figures[name]['spectra_per_second']:10,.1f} spectra/s  ratio "
            f"{figures[name]['ratio']:5.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            + (f"  R² {r2[name]:.4f} ({r2[name] - r2[plain]:+.1e})" if estimator.name != RANDOM else ""),
            flush=True,
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spectra", type=int, default=2048, help="one in eight for SpecViT-reference")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="512 spectra, two repeats")
    parser.add_argument("--compile", action="store_true", help="also torch.compile on a CPU: minutes")
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="folder of a saved network")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    if options.quick:
        options.spectra, options.repeats = 512, 2
    torch.set_num_threads(options.threads)
    # The exporter and the quantiser deprecate parts of themselves.
    warnings.filterwarnings("ignore")

    print(
        f"predictions, {options.spectra} spectra; medians of {options.repeats} repeats in turn [least, most]"
    )
    print(heading(options.device, options.threads, seed=1, packages=PACKAGES), flush=True)
    simulator = Simulator.build("pfs_mr_reference")
    stars = simulator.draw("test", 1, 0, options.spectra).without_truth()
    column = simulator.prior.label_space.index(LABEL)
    figures = {}
    for estimator in estimators(simulator, options.bundle):
        share = RANDOM_SHARE if estimator.name == RANDOM else 1
        few = stars[: options.spectra // share]
        figures[estimator.name] = compare(estimator, few, few.labels[:, [column]].double(), options)
    if options.json:
        options.json.write_text(json.dumps({"device": options.device, **figures}, indent=1))


if __name__ == "__main__":
    main()
