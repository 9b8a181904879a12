"""Reports: figures, tables and one HTML page, from run folders only; never from models or data."""

from specvit.report.contents import RunContents, load_contents
from specvit.report.explain_table import explain_table
from specvit.report.figure_ceiling import r2_versus_snr
from specvit.report.figure_cells import efficiency_map
from specvit.report.figure_examples import draw_examples
from specvit.report.figure_explain import draw_explanation, network_explained
from specvit.report.figure_predictions import predicted_versus_true
from specvit.report.figure_residuals import residual_overlay
from specvit.report.page import write_report
from specvit.report.run_tables import model_table, run_tables, snr_table
from specvit.report.tables import Table

__all__ = [
    "RunContents",
    "Table",
    "draw_examples",
    "draw_explanation",
    "efficiency_map",
    "explain_table",
    "load_contents",
    "model_table",
    "network_explained",
    "predicted_versus_true",
    "r2_versus_snr",
    "residual_overlay",
    "run_tables",
    "snr_table",
    "write_report",
]
