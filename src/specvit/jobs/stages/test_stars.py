"""The test spectra: the same for every estimator and ceiling of a job."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.runs import RunFolder, StarTable
from specvit.spectra import LabelSpace, SpectraBatch, SpectraSource, WavelengthGrid, collect


@dataclass(frozen=True)
class TestStars:
    """Test spectra, with what is known of them.

    Args:
        batch: N spectra; with their truth where they were simulated.
        table: labels, S/N and magnitudes.
        space: their labels.
        grid: their pixels.
        identity: the digest of their content.
    """

    # Not a test, whatever a collector may think of the name.
    __test__ = False

    batch: SpectraBatch
    table: StarTable
    space: LabelSpace
    grid: WavelengthGrid
    identity: str

    def __len__(self) -> int:
        return len(self.batch)

    def first(self, count: int) -> SpectraBatch:
        """Return the first `count` spectra, or all there are."""
        return self.batch[: min(count, len(self.batch))]


@dataclass(frozen=True)
class DrawTestStars:
    """Draw or read the test spectra; the table of them is kept, the spectra can be had again."""

    source: SpectraSource

    name = "test set"
    title = "draw the test spectra"

    def make(self, run: RunFolder, record: Record, update: Update) -> TestStars:
        """Return the test spectra, and keep their table."""
        stars = self.draw()
        record["provenance"] = self.source.provenance
        stars.table.write(run)
        return stars

    def read(self, run: RunFolder) -> TestStars:
        """Return the test spectra again, with the table that was kept."""
        # Drawn again, not stored: they are the same every time, and large (docs/simulate.md).
        stars = self.draw()
        return replace(stars, table=StarTable.read(run))

    def draw(self) -> TestStars:
        """Return the test spectra, and keep nothing."""
        batch, space = collect(self.source), self.source.label_space
        mag = batch.conditions.get("mag")
        table = StarTable(
            label_names=np.array(space.names),
            labels=batch.known_labels().numpy(),
            snr=batch.known_snr().numpy(),
            mag=None if mag is None else mag.numpy(),
        )
        return TestStars(batch, table, space, self.source.grid, self.source.provenance["identity"])
