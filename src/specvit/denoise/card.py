"""The card of a saved denoiser, for a human, beside its tensors. Owns the wording; numbers come from records."""

from __future__ import annotations

from collections.abc import Mapping

from specvit.models.origin import Origin

CARD = "card.md"


def card_text(name: str, digest: str, origin: Origin, about: str, metrics: Mapping[str, float]) -> str:
    """Return the card as Markdown; `about` says what it does, `metrics` are scores on held-out stars."""
    training = origin.training
    facts = {
        "training spectra": training.train_spectra,
        "optimiser steps": training.steps,
        "seconds": None if training.seconds is None else round(training.seconds),
        "weights of step": training.best_step,
        "weights": training.best_weights,
        "device": training.device,
        "CPU threads": training.threads,
        "date": training.date,
        "seed of the spectra": (training.train or {}).get("seed"),
        "recipe": None
        if training.recipe is None
        else ", ".join(f"{key} {value}" for key, value in training.recipe.items()),
    }
    lines = [
        f"# {name}",
        "",
        about,
        "",
        f"Digest {digest}. It sees flux and the sigma that a pipeline states, nothing else of a star.",
        "",
        "## For which spectra",
        "",
        f"- {origin.purpose}",
        "- flux and sigma in any one unit; what comes out has the unit of the flux",
        "",
        "What it adds to a spectrum is what stars of its training look like: a line that no such star has is taken",
        "away, one that they all have is put in. Measure on the spectrum as it was observed.",
        "",
        "## How it was made",
        "",
        *(f"- {title}: {value}" for title, value in facts.items() if value is not None),
    ]
    if metrics:
        lines += ["", "## How well it does on held-out stars", "", "| score | value |", "|---|---|"]
        lines += [f"| {title} | {value:.4g} |" for title, value in metrics.items()]
    return "\n".join(lines) + "\n"
