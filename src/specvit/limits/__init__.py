"""How well labels can be measured: Fisher information, Cramér-Rao and van Trees bounds, forecasts."""

from specvit.limits.bayes import (
    BayesCeiling,
    BayesR2,
    Observation,
    Posterior,
    SamplerSettings,
    bayes_r2,
    bayes_r2_by_bin,
)
from specvit.limits.bounds import marginal_crlb, r2_max, r2_shrunk, schur_decay, variance_choices
from specvit.limits.density import information_density
from specvit.limits.fisher import (
    condition_number,
    correlation_matrix,
    covariance_matrix,
    fisher_information,
    is_singular,
)
from specvit.limits.forecast import FREE_LABELS, Forecast, Forecaster, FreeParameters
from specvit.limits.nuisance import broadening_operator, continuum_columns, velocity_operator
from specvit.limits.published import (
    PUBLISHED,
    PUBLISHED_LABEL,
    PUBLISHED_VARIANCE,
    PublishedRow,
    published_row,
)
from specvit.limits.star_table import star_columns, write_star_table
from specvit.limits.sweep import SweepRow, grid_nodes, prior_draws, summarise, sweep
from specvit.limits.van_trees import cosine_prior_information, uniform_box_bound, van_trees_bound

__all__ = [
    "FREE_LABELS",
    "PUBLISHED",
    "PUBLISHED_LABEL",
    "PUBLISHED_VARIANCE",
    "BayesCeiling",
    "BayesR2",
    "Forecast",
    "Forecaster",
    "FreeParameters",
    "Observation",
    "Posterior",
    "PublishedRow",
    "SamplerSettings",
    "SweepRow",
    "bayes_r2",
    "bayes_r2_by_bin",
    "broadening_operator",
    "condition_number",
    "continuum_columns",
    "correlation_matrix",
    "cosine_prior_information",
    "covariance_matrix",
    "fisher_information",
    "grid_nodes",
    "information_density",
    "is_singular",
    "marginal_crlb",
    "prior_draws",
    "published_row",
    "r2_max",
    "r2_shrunk",
    "schur_decay",
    "star_columns",
    "summarise",
    "sweep",
    "uniform_box_bound",
    "van_trees_bound",
    "variance_choices",
    "velocity_operator",
    "write_star_table",
]
