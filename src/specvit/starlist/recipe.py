"""How the stars of a list are fitted, as plain values that every worker process can make its fitter of."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import specvit
from specvit.amortised import DomainStore, JudgedFitter
from specvit.errors import ConfigError
from specvit.library import Emulator
from specvit.library.emulator import BUILTIN_EMULATOR
from specvit.observed import ObservedSpectrum
from specvit.report.plain_page import check_pages
from specvit.report.style import save_png
from specvit.runs.atomic import write_atomic
from specvit.runs.identity import content_digest, file_digest
from specvit.spectra.airglow import NIGHT_SKY_LINES
from specvit.starlist.advice import advice_for
from specvit.starlist.figure import plain_name, spectrum_figure
from specvit.starlist.pages import star_page
from specvit.starlist.residuals import RestBins
from specvit.stellar import FittedSpectrum, Refusal, StarFitSettings, StarFitter, StellarParameters
from specvit.stellar.clipping import fit_clipped
from specvit.stellar.fit import Outcome, model_error_of
from specvit.stellar.label_calibration import calibrated
from specvit.stellar.mask_cost import MaskCost, Windows, mask_costs
from specvit.stellar.model_error import ModelError, load_model_error
from specvit.stellar.pixels import in_windows
from specvit.stellar.settings import TELLURIC

if TYPE_CHECKING:
    from specvit.starlist.networks import ListNetworks

PlotForm = Literal["png", "html"]
#: Of no width: windows are widened by the line-spread function.
NIGHT_SKY: Windows = tuple((line - 0.05, line + 0.05) for line in NIGHT_SKY_LINES)


@dataclass(frozen=True)
class FitRecipe:
    """How stars are fitted and what is drawn of them.

    Args:
        library: 'builtin' or the path of an emulator.
        settings: of the fit, without masks.
        model_error: file of what the library gets wrong, or None: see `StarFitter`.
        windows: that are left out as well, Å in vacuum in the telescope's frame.
        night_sky: whether the lines of the night sky are left out.
        calibrated: whether labels on the scale of the stars of the model error stand beside those found.
        clip: σ beyond which single pixels are left out, or None.
        costs: whether what masks cost is worked out for every star.
        plot: folder of one picture or page per star, or None.
        plot_form: which of the two.
        judged: whether spectra are flagged that library and spectrograph would not make.
        networks: that answer where they may; None leaves all stars to the fit.
    """

    library: str = "builtin"
    settings: StarFitSettings = field(default_factory=StarFitSettings)
    model_error: str | None = None
    windows: Windows = ()
    night_sky: bool = False
    calibrated: bool = False
    clip: float | None = None
    costs: bool = False
    plot: str | None = None
    plot_form: PlotForm = "png"
    judged: bool = False
    networks: ListNetworks | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not 2 <= self.clip <= 100:
            raise ConfigError(f"--clip: expected 2 to 100 σ, got {self.clip:g}")
        if self.clip is not None and self.networks is not None:
            raise ConfigError(
                "--clip: pixels are clipped by their distance from a fit; take --method template"
            )

    @property
    def masks(self) -> dict[str, Windows]:
        """Name of a mask -> its windows."""
        return {
            "air (O2, H2O)": TELLURIC if self.settings.telluric else (),
            "night sky (OH)": NIGHT_SKY if self.night_sky else (),
            "own windows": self.windows,
        }

    @property
    def masked_settings(self) -> StarFitSettings:
        """The settings of the fit with all masks."""
        return replace(self.settings, masks=self.windows + (NIGHT_SKY if self.night_sky else ()))

    @cached_property
    def emulator_digest(self) -> str:
        """Digest of the emulator's file."""
        if self.library != "builtin":
            return file_digest(Path(self.library))
        import specvit.library

        return file_digest(Path(specvit.library.__path__[0]) / "data" / BUILTIN_EMULATOR)

    @cached_property
    def digest(self) -> str:
        """Digest of all that the results depend on but the spectra."""
        networks = None if self.networks is None else self.networks.to_dict()
        return content_digest(
            asdict(replace(self, networks=None))
            | {"emulator": self.emulator_digest, "specvit": specvit.__version__, "networks": networks}
            | {"errors": None if self.errors is None else asdict(self.errors)}
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """What a table says of where it is from."""
        errors, settings = self.errors, self.settings
        flat = f"{settings.flat_error:g} everywhere"
        own = {
            "specvit": specvit.__version__,
            "library": self.library,
            "emulator": self.emulator_digest,
            "model_error": flat
            if errors is None
            else f"{self.model_error or 'builtin'}, {errors.stars} stars",
            "core_error": settings.core_error,
        }
        return own if self.networks is None else own | self.networks.describe()

    @cached_property
    def errors(self) -> ModelError | None:
        """What the library gets wrong, as the fit takes it."""
        given = None if self.model_error is None else load_model_error(Path(self.model_error))
        return model_error_of(self.open_emulator(), self.settings, given)

    @property
    def bins(self) -> RestBins:
        """Bins of the residuals, over the range of the library."""
        grid = self.open_emulator().grid
        return RestBins(grid.start, grid.stop)

    def check(self) -> None:
        """Raise ConfigError if the library is not there or its model error is another's, or a prior is on no label.

        MissingExtra without what figures need.
        """
        if self.plot is not None:
            check_pages("pages of stars")
        if self.calibrated and not (self.errors and self.errors.calibration):
            raise ConfigError(
                "--calibrated: the model error was made without a calibration; make one with `specvit calibrate-stars`"
            )
        names = self.open_emulator().label_space.names
        if odd := sorted(set(self.settings.priors) - set(names)):
            raise ConfigError(f"--prior {odd[0]}: '{odd[0]}' is no label; known are {', '.join(names)}")

    def with_chosen_cores(self) -> FitRecipe:
        """Return it with the further error of the Ca II cores that the stars of its model error chose, if they did."""
        chosen = None if self.errors is None else self.errors.core_error
        return self if chosen is None else replace(self, settings=replace(self.settings, core_error=chosen))

    def open_emulator(self) -> Emulator:
        """Return the emulator; ConfigError if there is no such file."""
        if self.library == "builtin":
            return Emulator.builtin()
        if not Path(self.library).is_file():
            raise ConfigError(
                f"--library {self.library}: no such file; give builtin or an emulator made by `specvit library build`"
            )
        return Emulator.load(Path(self.library))

    def fitter(self) -> ListFitter:
        """Return the fitter, the same one for every call in this process."""
        with _ONE_AT_A_TIME:
            if self.digest not in _FITTERS:
                _FITTERS.clear()
                _FITTERS[self.digest] = ListFitter(self)
            return _FITTERS[self.digest]


class ListFitter:
    """Fits the stars of a list as its recipe says.

    Args:
        recipe: of the list.
    """

    def __init__(self, recipe: FitRecipe) -> None:
        self.recipe = recipe
        self._fitter = StarFitter(recipe.open_emulator(), recipe.masked_settings, recipe.errors)
        self._networks = None if recipe.networks is None else recipe.networks.fitter(self._fitter)
        self._judge: JudgedFitter | None = None
        if recipe.judged and recipe.networks is None:
            store = DomainStore(self._fitter.emulator, recipe.masked_settings)
            self._judge = JudgedFitter(self._fitter, store)
        self._calibrations = recipe.errors.calibration if recipe.calibrated and recipe.errors else {}
        self.bins = recipe.bins
        self.labels = self._fitter.emulator.label_space.names

    def fit(self, spectra: Sequence[ObservedSpectrum]) -> list[Outcome]:
        """Return what is found for each spectrum, in their order."""
        found = self._found(spectra)
        if not self._calibrations:
            return found
        return [
            one if isinstance(one, Refusal) else (calibrated(one[0], self._calibrations), one[1])
            for one in found
        ]

    def _found(self, spectra: Sequence[ObservedSpectrum]) -> list[Outcome]:
        if self._networks is not None:
            # What is known of a single star a network has not learned.
            told = [number for number, spectrum in enumerate(spectra) if spectrum.known]
            others = [number for number in range(len(spectra)) if number not in set(told)]
            found = dict(zip(told, self._fitter.fit([spectra[number] for number in told]), strict=True))
            found |= zip(others, self._networks.fit([spectra[number] for number in others]), strict=True)
            return [found[number] for number in range(len(spectra))]
        if self.recipe.clip is not None:
            outcomes = fit_clipped(self._fitter, spectra, self.recipe.clip)
        else:
            outcomes = self._fitter.fit(spectra)
        return outcomes if self._judge is None else self._judge.judged(outcomes)

    def advice(self, star: StellarParameters) -> list[str]:
        """Return which library to take for a star on the edge of this one, nothing for others, or for no star."""
        if "LABEL_ON_FACE" not in star.flags or "NOT_A_STAR" in star.flags:
            return []
        return advice_for(star.labels, self._fitter.emulator.label_space)

    def costs(self, star: StellarParameters, fitted: FittedSpectrum) -> dict[str, MaskCost]:
        """Return what masks cost a star, nothing if nobody asks."""
        if not self.recipe.costs:
            return {}
        return mask_costs(self._fitter, star, fitted, self.recipe.masks)

    def draw(self, star: StellarParameters, fitted: FittedSpectrum, costs: Mapping[str, MaskCost]) -> str:
        """Draw a star if the recipe says so; return the name of the file, '' if nothing is drawn.

        Raises:
            RunError: if it cannot be written.
        """
        if self.recipe.plot is None:
            return ""
        masks = {
            name: in_windows(fitted.wavelength, fitted.spectrum, windows)
            for name, windows in self.recipe.masks.items()
            if fitted.spectrum.ground or not name.startswith("air")
        }
        name = f"{plain_name(star)}.{self.recipe.plot_form}"
        path = Path(self.recipe.plot) / name
        if self.recipe.plot_form == "html":
            page = star_page(star, fitted, masks, costs, self.advice(star), self.recipe.provenance)
            write_atomic(path, page)
        else:
            save_png(spectrum_figure(star, fitted, masks), path)
        return name


# Templates take seconds to make: a process keeps those of the list it works for.
_FITTERS: dict[str, ListFitter] = {}
# A Dask worker may have several threads.
_ONE_AT_A_TIME = threading.Lock()
