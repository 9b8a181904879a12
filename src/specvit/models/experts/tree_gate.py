"""A gate of boosted trees: one model per component of whether a spectrum belongs to it.

Least squares on the indicator, a proper score (Brier 1950, Mon. Weather Rev. 78, 1): what is boosted is the
probability itself. Kept as LightGBM's text, read back only after it was checked.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from specvit.models.bundle import StoredBundle
from specvit.models.tree_files import load_lightgbm, read_trees

PARAMETERS = {
    **{"objective": "regression", "metric": "l2", "learning_rate": 0.1, "num_leaves": 31, "max_depth": 6},
    **{"min_data_in_leaf": 20, "deterministic": True, "force_col_wise": True, "verbose": -1},
}
#: Trees per component at most, and rounds without gain on held-out spectra before it stops.
ROUNDS, PATIENCE = 150, 10

#: No component is impossible.
LEAST = 1e-4


class TreeGate:
    """Weights of M components from F features.

    Args:
        features: F.
        components: M.
        threads: of LightGBM; 0 takes its default.
    """

    def __init__(self, features: int, components: int, threads: int) -> None:
        self.features, self.components, self.threads = features, components, threads
        self.boosters: list[Any] = []

    def fit_bins(self, features: Tensor, bins: Tensor, held: Tensor, held_bins: Tensor, seed: int) -> Self:
        """Learn which component each spectrum belongs to; arguments as `SoftmaxGate.fit_bins`."""
        lightgbm = load_lightgbm()
        parameters = {**PARAMETERS, "seed": seed, "num_threads": self.threads}
        data = lightgbm.Dataset(features.numpy(), params=parameters, free_raw_data=False).construct()
        check = data.create_valid(held.numpy(), params=parameters).construct()
        self.boosters = [
            self._boost(lightgbm, parameters, data, check, bins == k, held_bins == k)
            for k in range(self.components)
        ]
        return self

    def weights(self, features: Tensor) -> Tensor:
        """Return probabilities that sum to one, shape (B, M), float64."""
        table = features.numpy()
        columns = [one.predict(table, num_threads=self.threads) for one in self.boosters]
        found = torch.from_numpy(np.stack(columns, axis=1)).double().clamp(LEAST, 1)
        return found / found.sum(dim=1, keepdim=True)

    def texts(self) -> dict[str, str]:
        """Return the files of trees, by name."""
        return {_file(k): one.model_to_string() for k, one in enumerate(self.boosters)}

    def read(self, bundle: StoredBundle) -> Self:
        """Take over stored trees; DataError for those that are damaged."""
        self.boosters = [read_trees(bundle, _file(k), self.features) for k in range(self.components)]
        return self

    @staticmethod
    def _boost(
        lightgbm: ModuleType, parameters: dict[str, Any], data: Any, check: Any, inside: Tensor, held: Tensor
    ) -> Any:
        data.set_label(inside.double().numpy())
        check.set_label(held.double().numpy())
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        booster = lightgbm.train(parameters, data, ROUNDS, valid_sets=[check], callbacks=[stop])
        return lightgbm.Booster(
            model_str=booster.model_to_string(num_iteration=max(booster.best_iteration, 1))
        )


def _file(component: int) -> str:
    return f"gate_{component}.txt"
