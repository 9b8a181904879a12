"""What a visit found, as lines of text: printed at its end, and written into benchmarks/RESULTS.md.

Reads results alone, whatever there is of them: a visit may have ended anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpu.results import Results

#: Scores of log g whose times are told: values of R², and shares of what is attained by the exact posterior mean.
VALUES, SHARES = (0.70, 0.71), (0.95, 0.97, 0.98)


def table(results: Results) -> str:
    """Return all that was found as text."""
    parts = (_header, _checks, _throughput, _steps, _trainings, _inference)
    return "\n".join(line for part in parts for line in part(results))


def _figures(results: Results, stage: str) -> dict[str, dict[str, Any]]:
    """Return the figures of a stage, without the error it may have ended with: that stands with its state."""
    return {name: one for name, one in results.found(stage).items() if isinstance(one, dict)}


def _header(results: Results) -> Iterator[str]:
    versions = results.found("check").get("versions", {})
    told = ", ".join(
        f"{name} {versions[name]}"
        for name in ("memory GiB", "driver", "cuda", "python", "torch", "triton", "specvit")
        if versions.get(name)
    )
    date = results.content["date"]
    yield f"{date}: visit to {versions.get('card', 'an unknown card')} ({results.content['device']}); {told}"
    if results.content["device"] == "cpu":
        yield "a rehearsal: tiny sizes, no figure means anything"
    states = ((name, stage) for name, stage in results.content["stages"].items())
    yield "stages: " + ", ".join(
        f"{name} {stage['state']} ({stage.get('seconds', 0):.0f} s)"
        + (f": {stage['error']}" if stage.get("error") else "")
        for name, stage in states
    )


def _checks(results: Results) -> Iterator[str]:
    found = _figures(results, "check")
    judged = {name: one for name, one in found.items() if "good" in one or "error" in one}
    good = [name for name, one in judged.items() if one.get("good")]
    if judged:
        yield f"against the CPU: {len(good)} of {len(judged)} comparisons within their tolerance"
    for name, one in judged.items():
        if name not in good:
            yield f"  {name}: {one.get('error') or one}"
    tests = found.get("gpu tests", {})
    if "passed" in tests:
        over = ", stopped by time" if tests["stopped by time"] else ""
        yield f"tests marked gpu: {tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped{over}"
        yield from (f"  {name}: {why}" for name, why in tests["failures"].items())


def _throughput(results: Results) -> Iterator[str]:
    found = _figures(results, "throughput")
    copy = found.get("copy", {}).get("GB/s")
    for name in ("copy", "product bfloat16", "product float32", "simulator", "simulator compiled", "fisher"):
        one = found.get(name, {})
        if "error" in one:
            yield f"{name}: {one['error']}"
        elif "spectra/s" in one:
            share = f", {100 * one['GB/s'] / copy:.1f} % of the copy" if copy else ""
            yield f"{name}: {one['spectra/s']:,.0f} spectra/s, {one['GB/s']:.1f} GB/s of flux and sigma{share}"
        elif one:
            yield f"{name}: " + ", ".join(f"{v:,.1f} {k}" for k, v in one.items() if k in UNITS)
    if bayes := found.get("bayes"):
        yield (
            f"Bayes: {bayes['stars/s']:,.1f} stars/s; ceiling of R² of log g {bayes['ceiling']:.4f} ± "
            f"{bayes['star error']:.4f} (stars), its posterior means reach {bayes['reached']:.4f} on the first "
            f"{bayes['stars']} validation stars"
        )


#: What the lines of rates tell.
UNITS = ("GB/s", "TFLOP/s", "stars/s")


def _steps(results: Results) -> Iterator[str]:
    found = _figures(results, "step")
    best = found.get("best", {})
    if best:
        yield "training step of SpecViT-reference, simulation included"
    for name, one in found.items():
        if "s/step" in one:
            use = f", MFU {100 * one['mfu']:.1f} %" if one.get("mfu") is not None else ""
            mark = "  <- best" if name == best.get("setting") else ""
            yield f"  {name:28s} {one['spectra/s']:12,.0f} spectra/s, {one['model TFLOP/s']:.2f} TFLOP/s{use}{mark}"
        elif "error" in one:
            yield f"  {name:28s} {one['error']}"
    fastest = found.get(best.get("setting"), {})
    if "s/batch" in found.get("simulation", {}) and "s/step" in fastest:
        share = found["simulation"]["s/batch"] / fastest["s/step"]
        yield f"  simulation alone: {100 * share:.1f} % of the best step"


def _trainings(results: Results) -> Iterator[str]:
    reached = results.found("throughput").get("bayes", {}).get("reached")
    for name, one in _figures(results, "train").items():
        if not one.get("curve"):
            continue
        curve, last = one["curve"], one["curve"][-1]
        best = max(_score(point) for point in curve)
        share = f", {best / reached:.3f} of the exact posterior means'" if reached else ""
        yield (
            f"{name} ({one['what']}; {one['parameters']:,} parameters): R² of log g {best:.4f}{share} after "
            f"{last['seconds']:.0f} s and {last['spectra']:,} spectra; {one.get('spectra/s', 0):,.0f} spectra/s"
        )
        goals = {f"R² {value:g}": value for value in VALUES}
        goals |= {f"{share:g} of the attainable": share * reached for share in SHARES} if reached else {}
        yield "  time to " + "; ".join(f"{words}: {_time_to(curve, goal)}" for words, goal in goals.items())


def _score(point: dict[str, Any]) -> float:
    """Return R² of log g of a validation, of the better of raw and averaged weights; NaN counts as none."""
    score = float(point["r2"]["log_g"])
    return score if score == score else float("-inf")


def _time_to(curve: list[dict[str, Any]], goal: float) -> str:
    at = next((point["seconds"] for point in curve if _score(point) >= goal), None)
    return "not reached" if at is None else f"{at:.0f} s"


def _inference(results: Results) -> Iterator[str]:
    for name, one in _figures(results, "inference").items():
        if "spectra/s" in one:
            yield f"estimates, {name}: {one['spectra/s']:,.0f} spectra/s"
        elif "error" in one:
            yield f"estimates, {name}: {one['error']}"
