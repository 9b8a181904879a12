"""What a learned denoiser is, in one frozen record: its objective, what it is shown, and its network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from specvit.denoise.learned.basis import BasisConfig
from specvit.denoise.learned.blind_spot import BlindSpotConfig
from specvit.denoise.learned.restoration import BLIND_TO_TRUTH, HIDING, LOSSES_OF, TASKS
from specvit.denoise.learned.seen import SIGMAS
from specvit.denoise.learned.unet import UNetConfig
from specvit.errors import ConfigError
from specvit.models.options import as_type_of, check_bounds, unknown_option
from specvit.training.recipe import Recipe

#: Objectives of diffusion in pixel space -> what they are, for cards.
DIFFUSIONS = {
    "edm": "learnt to guess stars behind noise of any size (Karras et al. 2022)",
    "ddpm": "learnt to find the noise of a thousand steps (Ho, Jain & Abbeel 2020)",
}
#: The objective in the directions of noise-free spectra.
BASIS = "basis"

OBJECTIVES = (*TASKS, *DIFFUSIONS, BASIS)

#: Options of a recipe that mean something here; the others are about labels.
RECIPE = (
    *("steps", "minutes", "batch", "optimiser", "lr", "weight_decay", "betas", "schedule", "warmup", "decay"),
    *("floor", "clip", "ema", "precision", "compile", "validations", "patience", "checkpoint_minutes"),
    *("masked", "seed"),
)


@dataclass(frozen=True)
class DenoiserConfig:
    """A learned denoiser.

    Args:
        objective: one of `OBJECTIVES`: what it is trained for.
        loss: one of `LOSSES_OF` the objective; "" takes the first.
        sigma: one of `SIGMAS`: "visible", or a control in its place.
        low, high: share of the noise that "bounded" and "residual" spectra are trained with.
        linear: directions of the best linear guess that a U-Net is shown too; 0 shows none. Not for tasks that never
            see noise-free flux, of which these directions are made.
        conditional: a diffusion in pixel space that sees an observed spectrum; else it knows stars in general.
        sampler: of a diffusion in pixel space: "flow" or "ancestral".
        steps_of_sampler: noise levels between start and end of a sample.
        unet, blind_spot, basis: the networks; the objective says which is built.
    """

    objective: str = "clean"
    loss: str = ""
    sigma: str = "visible"
    low: float = 0.0
    high: float = 1.0
    linear: int = 48
    conditional: bool = True
    sampler: str = "flow"
    steps_of_sampler: int = 20
    unet: UNetConfig = field(default_factory=UNetConfig)
    blind_spot: BlindSpotConfig = field(default_factory=BlindSpotConfig)
    basis: BasisConfig = field(default_factory=BasisConfig)

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        choices = {"objective": OBJECTIVES, "sigma": SIGMAS, "sampler": ("flow", "ancestral")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name}: '{getattr(self, name)}' is not known; choose {', '.join(allowed)}"
                )
        known = LOSSES_OF.get(self.objective, ())
        if self.loss and self.loss not in known:
            raise ConfigError(
                f"loss: '{self.loss}' does not train {self.objective}; "
                f"{'choose ' + ', '.join(known) if known else 'leave it out'}"
            )
        if not 0 <= self.low <= self.high <= 1 or self.high == 0:
            raise ConfigError(
                f"low, high: expected 0 <= low <= high <= 1 and some noise, got {self.low}, {self.high}"
            )
        if self.objective == BASIS and self.sigma != "visible":
            raise ConfigError(
                "sigma: a basis denoiser weighs pixels by it; controls are for networks of pixels"
            )

    @property
    def loss_name(self) -> str:
        """The loss, chosen or by default; "" where there is no choice."""
        return self.loss or LOSSES_OF.get(self.objective, ("",))[0]

    @property
    def components(self) -> int:
        """Directions of the linear guess that is shown: none where it would tell too much."""
        return 0 if self.objective in (*BLIND_TO_TRUTH, *HIDING) else self.linear

    @property
    def option_names(self) -> list[str]:
        """The names `with_options` knows."""
        own = [f.name for f in fields(self) if f.name not in NETWORKS]
        return own + [f.name for name in NETWORKS for f in fields(getattr(self, name))]

    def with_options(self, options: dict[str, Any]) -> DenoiserConfig:
        """Return the description with fields replaced, wherever they live; all networks with a `width` take it.

        Raises:
            ConfigError: for an unknown name or a wrong type.
        """
        changes: dict[str, dict[str, Any]] = {name: {} for name in (*NETWORKS, "")}
        for name, value in options.items():
            owners = [part for part in changes if name in _names(self._part(part))]
            if not owners:
                raise unknown_option("denoiser", name, self.option_names)
            for part in owners:
                changes[part][name] = as_type_of(getattr(self._part(part), name), name, value)
        networks = {name: replace(self._part(name), **changes[name]) for name in NETWORKS}
        return replace(self, **changes[""], **networks)

    def to_dict(self) -> dict[str, Any]:
        """Return the description as plain values."""
        return asdict(self)

    def _part(self, name: str) -> Any:
        return getattr(self, name) if name else self


#: Fields of a `DenoiserConfig` that describe a network.
NETWORKS = ("unet", "blind_spot", "basis")


#: Name of a size -> width of every network.
SIZES = {"nano": {"width": 16, "channels": 8}, "small": {"width": 32}, "base": {"width": 64, "channels": 32}}


def split_options(options: dict[str, Any], size: str = "") -> tuple[DenoiserConfig, Recipe]:
    """Return the denoiser and the recipe of options by name; ConfigError for one that neither knows."""
    if size and size not in SIZES:
        raise ConfigError(f"size: '{size}' is not there for denoisers; choose {', '.join(SIZES)}")
    sized: dict[str, Any] = dict(SIZES[size]) if size else {}
    config, recipe = DenoiserConfig().with_options(sized), Recipe(lr=2e-3, ema=0.995, batch=64)
    names = config.option_names
    for name in options:
        if name not in (*names, *RECIPE):
            raise unknown_option("denoiser", name, [*names, *RECIPE])
    return (
        config.with_options({name: value for name, value in options.items() if name in names}),
        recipe.with_options({name: value for name, value in options.items() if name in RECIPE}),
    )


def _names(owner: Any) -> list[str]:
    return [f.name for f in fields(owner) if f.name not in NETWORKS]
