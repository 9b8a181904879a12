"""Reports: figures, tables and one HTML page, from run folders only; never from models or data."""

from specvit.report.contents import RunContents, load_contents
from specvit.report.figure_ceiling import r2_versus_snr
from specvit.report.figure_examples import example_spectra
from specvit.report.figure_predictions import predicted_versus_true
from specvit.report.page import write_report
from specvit.report.tables import Table, model_table, snr_table

__all__ = [
    "RunContents",
    "Table",
    "example_spectra",
    "load_contents",
    "model_table",
    "predicted_versus_true",
    "r2_versus_snr",
    "snr_table",
    "write_report",
]
