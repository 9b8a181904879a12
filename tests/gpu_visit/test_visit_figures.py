"""Operations against PyTorch's counter, peaks by name, the clock, and a table of whatever was found."""

import copy
import json

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel

import gpu.table as tables
from _cards import peak_of
from _clock import median_seconds
from _flops import PASSES, forward_flops, training_flops
from gpu.results import Results
from specvit.models import cost
from specvit.models.network import NetworkConfig, build_network
from specvit.models.vit import ViTConfig
from specvit.spectra import LOW_T_BOX, WavelengthGrid

SMALL = ViTConfig(patch=16, width=32, depth=3, heads=4, pooling="cls", level=False, mask_token=False)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_operations_are_those_that_pytorch_counts(pooling):
    config = ViTConfig(**{**vars(SMALL), "pooling": pooling})
    grid, space = WavelengthGrid.linear(8000, 0.5, 256), LOW_T_BOX.select(["log_g"])
    network = build_network(NetworkConfig("vit", config, head="point"), grid, space).eval()
    # Of the fused attention on a CPU PyTorch knows no count.
    with sdpa_kernel(SDPBackend.MATH):
        counted = cost.forward_flops(network)
    assert forward_flops(config, 256, 1, shortcut=True) == counted
    assert training_flops(config, 256, 1, True) == PASSES * counted


def test_the_published_network_at_the_rate_that_is_asked_for_uses_a_fifth_of_the_card():
    """The aim of the visit: 25,000 spectra/s, 21 % MFU of an H100."""
    peak = peak_of("NVIDIA H100 80GB HBM3")
    mfu = 25_000 * training_flops(ViTConfig.reference(), 4096, 1, shortcut=False) / peak.flops
    assert round(100 * mfu) == 21


@pytest.mark.parametrize(("name", "flops"), [
    ("NVIDIA H100 80GB HBM3", 989.5e12), ("NVIDIA H100 PCIe", 756.5e12), ("NVIDIA H200", 989.5e12),
    ("NVIDIA A100-SXM4-40GB", 312e12), ("NVIDIA L4", 121e12), ("NVIDIA L40", None), ("Radeon", None), ("", None),
])  # fmt: skip
def test_peaks_go_by_the_whole_name(name, flops):
    peak = peak_of(name)
    assert (peak.flops if peak else None) == flops


def test_the_clock_takes_the_median_and_leaves_out_the_first_calls(monkeypatch):
    ticks, now = iter([9.0, 9.0, 1.0, 5.0, 2.0]), [0.0]

    def job():
        now[0] += next(ticks)

    monkeypatch.setattr("_clock.time.perf_counter", lambda: now[0])
    assert median_seconds(job, "cpu", repeats=3, warm_up=2) == 2.0


FOUND = {
    "check": {"versions": {"card": "NVIDIA H100 80GB HBM3", "torch": "2.11.0", "driver": "580"},
              "fisher float32": {"crlb": 1e-5, "tolerance": 1e-3, "good": True},
              "network vit-nano": {"front": 1.0, "good": False},
              "draws": {"error": "RuntimeError: CUDA error"},
              "gpu tests": {"passed": 9, "failed": 1, "skipped": 0, "stopped by time": True, "failures": {"a::b": "E x"}}},
    "throughput": {"copy": {"GB/s": 3000.0}, "product bfloat16": {"TFLOP/s": 790.0},
                   "simulator": {"spectra/s": 1.5e6, "GB/s": 49.0}, "fisher": {"error": "OutOfMemoryError"},
                   "bayes": {"stars": 256, "stars/s": 50.0, "ceiling": 0.74, "star error": 0.01, "reached": 0.72}},
    "step": {"bf16 eager 512": {"spectra/s": 20000.0, "s/step": 0.0256, "model TFLOP/s": 170.0, "mfu": 0.17},
             "bf16 compiled 512": {"spectra/s": 30000.0, "s/step": 0.017, "model TFLOP/s": 255.0, "mfu": None},
             "best": {"setting": "bf16 compiled 512"}, "simulation": {"s/batch": 0.0005},
             "error": "RuntimeError: CUDA error", "timm eager 512": {"error": "ModuleNotFoundError: timm"}},
    "train": {"specvit-reference": {"what": "w", "parameters": 4809729, "spectra/s": 25000.0, "curve": [
                  {"seconds": 10.0, "spectra": 100, "r2": {"log_g": float("nan")}},
                  {"seconds": 70.0, "spectra": 900, "r2": {"log_g": 0.705}}]},
              "weights specvit-reference": {"files": [], "sha256": ""}, "error of the compiled training": "an error"},
    "inference": {"specvit-reference float32": {"spectra/s": 9000.0}, "x": {"error": "RuntimeError"}, "error": "an error"},
}  # fmt: skip


def results_of(found, folder):
    stages = {name: {"state": "done", "seconds": 3.0, "found": one} for name, one in found.items()}
    content = {"format": 1, "device": "cuda", "date": "2026-11-27", "stages": stages}
    return Results(folder, json.loads(json.dumps(content)))


def test_the_table_tells_what_was_found(tmp_path):
    text = tables.table(results_of(FOUND, tmp_path))
    for words in (
        "NVIDIA H100 80GB HBM3", "1 of 3 comparisons within", "9 passed, 1 failed", "a::b: E x",
        "1,500,000 spectra/s, 49.0 GB/s of flux and sigma, 1.6 % of the copy", "fisher: OutOfMemoryError",
        "its posterior means reach 0.7200", "MFU 17.0 %", "<- best", "simulation alone: 2.9 % of the best step",
        "R² of log g 0.7050, 0.979 of the exact", "R² 0.7: 70 s; R² 0.71: not reached; 0.95 of the attainable: 70 s",
        "9,000 spectra/s",
    ):  # fmt: skip
        assert words in text, words


def test_a_table_of_any_part_of_a_visit_can_be_made(tmp_path):
    """A visit ends anywhere: leave out each stage and each figure in turn."""
    for stage, figures in FOUND.items():
        tables.table(results_of({name: one for name, one in FOUND.items() if name != stage}, tmp_path))
        for figure in figures:
            found = copy.deepcopy(FOUND)
            del found[stage][figure]
            tables.table(results_of(found, tmp_path))
    assert "an unknown card" in tables.table(results_of({}, tmp_path))
