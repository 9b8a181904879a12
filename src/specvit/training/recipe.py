"""How a network is trained: every choice but its architecture and its data, in one frozen record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from specvit.errors import ConfigError
from specvit.models.options import as_type_of, unknown_option

LOSSES = {
    "point": ("mse", "l1", "huber"),
    "gaussian": ("faithful", "nll"),
    "joint": ("joint",),
    "ordinal": ("ordinal",),
}

#: What the first weights can be, beside those of a saved network.
STARTS = ("auto", "random", "components", "ridge")

#: What `Recipe.monitor` can be beside a label.
LOSS = "loss"

#: What a body can learn before it learns labels, see `pretraining`; those that restore need the noise-free flux.
PRETRAININGS = ("none", "masked", "denoise", "second-draw")
RESTORING = ("denoise", "second-draw")

#: Which weights the training for labels leaves as they are: see `fine_tuning.freeze`.
FROZEN = ("none", "encoder", "all-but-last")

#: The teacher that is no network: what the labels of the training set state, see `distillation`.
STATED = "stated"

#: Options that say nothing at their defaults: recipes without them are as they were before there were any.
OPTIONAL = (
    *("pretrain", "pretrain_steps", "pretrain_mask", "pretrain_block", "pretrain_stars", "frozen"),
    *("layer_decay", "teacher", "teach", "teacher_sigma", "teacher_noise"),
)

#: Largest values of what would otherwise run for ever or fill the memory; also keeps out inf and NaN.
LARGEST = {
    "steps": 100_000_000,
    # Thirty days.
    "minutes": 43_200,
    "batch": 1_000_000,
    "lr": 100,
    "weight_decay": 100,
    "clip": 1e9,
    "validations": 100_000,
    "patience": 100_000,
    "checkpoint_minutes": 43_200,
    "seed": 2**63 - 1,
}


@dataclass(frozen=True)
class Recipe:
    """A training recipe. The schedule follows its length: a number of steps, or a time budget.

    Args:
        start: one of `STARTS`, see `starts`; "auto" takes components where that is possible. Or a saved network,
            by folder or as one that comes with specvit, whose training is continued on these spectra.
        steps: optimiser steps; ignored if `minutes` > 0.
        minutes: time budget from the start of the fit, preparation and validation included.
        batch: spectra per step and process.
        optimiser: "adamw", or "muon" (Muon for hidden matrices, AdamW for everything else).
        lr: peak learning rate; Muon's updates are scaled to the size of AdamW's, so that one rate serves
            both.
        weight_decay: decoupled, on matrices only.
        betas: of AdamW.
        schedule: "cosine" or "wsd" (warm-up, stable, linear decay).
        warmup: share of the run in which the rate rises linearly.
        decay: share of the run in which "wsd" decays.
        floor: final rate over peak rate.
        loss: "" takes the first that fits the head: mse, l1, huber (point); faithful, nll (gaussian); joint;
            ordinal.
        monitor: label whose validation R² selects the weights; the mean over labels if it is not estimated. Or
            "loss", for a network that is to be as good as it can on bright and faint spectra alike.
        clip: largest norm of the gradient; 0 does not clip.
        ema: largest decay of the weight average; 0 keeps none.
        precision: "fp32", or "bf16" inside the network body only.
        compile: compile the network body and the simulation.
        validations: number of validations, evenly spread.
        patience: stop after this many validations without improvement; 0 never stops early.
        checkpoint_minutes: time between checkpoints for resuming.
        masked: share of training spectra in which random stretches of pixels are marked dead.
        seed: of weights, order and dropout.
        pretrain: one of `PRETRAININGS`, what the first steps learn from spectra without their labels: "masked" hidden
            patches, "denoise" the noise-free spectrum, "second-draw" the same star with other noise.
        pretrain_steps: how many of `steps` those are.
        pretrain_mask: share of each spectrum that "masked" hides.
        pretrain_block: neighbouring patches that are hidden together.
        pretrain_stars: "same" stars as the training's, or "endless" ones from its world.
        frozen: one of `FROZEN`.
        layer_decay: factor on the rate from each layer to the one before it, the head at the full rate; 1 for one rate.
        teacher: a saved network, by folder or name, whose statements are learnt in the place of labels; or "stated", for a
            training set whose labels are statements with errors. "" learns the labels.
        teach: "predictions", or "latents", its features besides.
        teacher_sigma: what the teacher is shown as sigma: the spectrum's "own", or one "constant" for all.
        teacher_noise: factor on the noise of what the teacher is shown, of the same star with other noise.
    """

    start: str = "auto"
    steps: int = 5_000
    minutes: float = 0.0
    batch: int = 256
    optimiser: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: Literal["cosine", "wsd"] = "cosine"
    warmup: float = 0.03
    decay: float = 0.3
    floor: float = 0.01
    loss: str = ""
    monitor: str = "log_g"
    clip: float = 1.0
    ema: float = 0.999
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    validations: int = 20
    patience: int = 0
    checkpoint_minutes: float = 2.0
    masked: float = 0.0
    seed: int = 0
    pretrain: str = "none"
    pretrain_steps: int = 0
    pretrain_mask: float = 0.5
    pretrain_block: int = 1
    pretrain_stars: Literal["same", "endless"] = "same"
    frozen: str = "none"
    layer_decay: float = 1.0
    teacher: str = ""
    teach: Literal["predictions", "latents"] = "predictions"
    teacher_sigma: Literal["own", "constant"] = "own"
    teacher_noise: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        choices = {
            "optimiser": ("adamw", "muon"),
            "schedule": ("cosine", "wsd"),
            "precision": ("fp32", "bf16"),
            "pretrain": PRETRAININGS,
            "pretrain_stars": ("same", "endless"),
            "frozen": FROZEN,
            "teach": ("predictions", "latents"),
            "teacher_sigma": ("own", "constant"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name}: '{getattr(self, name)}' is not known; choose {', '.join(allowed)}"
                )
        for name in ("batch", "validations", "lr"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("weight_decay", "clip", "patience", "checkpoint_minutes"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}: expected 0 or more, got {getattr(self, name):g}")
        for name in ("warmup", "decay", "floor", "ema", "masked"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        for name, most in LARGEST.items():
            if not abs(getattr(self, name)) <= most:
                raise ConfigError(f"{name}: expected at most {most:,}, got {getattr(self, name):g}")
        if not 0.05 <= self.layer_decay <= 1:
            raise ConfigError(f"layer_decay: expected 0.05 to 1, got {self.layer_decay:g}")
        if not 0.01 <= self.teacher_noise <= 100:
            raise ConfigError(f"teacher_noise: expected a factor of 0.01 to 100, got {self.teacher_noise:g}")
        if self.minutes < 0 or (self.minutes == 0 and self.steps < 1):
            raise ConfigError("length: give a positive number of steps or minutes")
        self._check_pretraining()

    def _check_pretraining(self) -> None:
        if not 0.05 <= self.pretrain_mask <= 0.9:
            raise ConfigError(f"pretrain_mask: expected a share of 0.05 to 0.9, got {self.pretrain_mask:g}")
        if not 1 <= self.pretrain_block <= 1000:
            raise ConfigError(f"pretrain_block: expected 1 to 1000 patches, got {self.pretrain_block}")
        if self.pretrain == "none":
            if self.pretrain_steps:
                raise ConfigError("pretrain_steps: say what these steps learn, as pretrain = masked")
            return
        if self.pretrain_steps < 1 or not (self.minutes or self.pretrain_steps < self.steps):
            raise ConfigError(
                f"pretrain_steps: expected 1 to {self.steps - 1} of the {self.steps} steps, got {self.pretrain_steps}"
            )

    @property
    def parts(self) -> tuple[Recipe | None, Recipe]:
        """The recipe of the pretraining, None without one, and that of the training for labels after it."""
        if self.pretrain == "none":
            return None, self
        plain: dict[str, Any] = {"pretrain": "none", "pretrain_steps": 0}
        # Weights are chosen at its end too: nothing is to be stopped early that others build on.
        first = replace(self, steps=self.pretrain_steps, minutes=0.0, patience=0, frozen="none", **plain)
        return first, replace(self, steps=max(1, self.steps - self.pretrain_steps), **plain)

    def loss_for(self, head: str) -> str:
        """Return the loss that trains `head`; ConfigError if the chosen one cannot."""
        if not self.loss:
            return LOSSES[head][0]
        if self.loss not in LOSSES[head]:
            raise ConfigError(
                f"loss: '{self.loss}' does not train a {head} head; choose {', '.join(LOSSES[head])}"
            )
        return self.loss

    def with_options(self, options: dict[str, Any]) -> Recipe:
        """Return the recipe with fields replaced; ConfigError for an unknown name or a wrong type."""
        known = self.option_names
        for name in options:
            if name not in known:
                raise unknown_option("recipe", name, known)
        return replace(self, **{k: as_type_of(getattr(self, k), k, v) for k, v in options.items()})

    @property
    def option_names(self) -> list[str]:
        """The names `with_options` knows."""
        return [f.name for f in fields(self)]

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values; what is `OPTIONAL` only where it says something."""
        silent = {f.name for f in fields(self) if f.name in OPTIONAL and getattr(self, f.name) == f.default}
        return {name: value for name, value in asdict(self).items() if name not in silent}
