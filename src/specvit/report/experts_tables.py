"""The tables of an audit of a mixture of experts. Lays out what the record holds; computes nothing."""

from __future__ import annotations

from specvit.report.tables import Cell, Table
from specvit.report.words import count, label_name, number, score_text
from specvit.runs.experts_record import ExpertsRecord

#: What a routing is, in words.
ROUTING_WORDS = {
    "global": "model of all spectra",
    "soft": "soft",
    "hard": "hard",
    "top": "the likeliest few",
    "fallback": "soft, unsure: model of all",
    "pseudo": "by estimated labels",
    "oracle": "oracle: told the true bin",
}


def experts_tables(record: ExpertsRecord) -> list[Table]:
    """Return the tables: routings, bins, S/N, confusion, importance."""
    return [
        routing_table(record),
        bin_table(record),
        snr_table(record),
        confusion_table(record),
        gate_table(record),
    ]


def routing_table(record: ExpertsRecord) -> Table:
    """Return one row per routing, all on the same stars."""
    rows: list[tuple[Cell, ...]] = [
        (
            ROUTING_WORDS.get(name, name),
            one.all,
            one.covered,
            one.gain,
            one.kept if one.kept is not None else ("–" if record.oracle_is_worth else "not defined"),
            one.expected,
        )
        for name, one in record.routings.items()
    ]
    if record.ceiling is not None:
        rows.append(("Bayes ceiling", None, None, None, None, record.ceiling))
    head = ("routing", "R², all", "R², covered", "gain, covered", "share of the oracle's gain", "expected R²")
    return Table("routings", _routing_caption(record), head, tuple(rows))


def bin_table(record: ExpertsRecord) -> Table:
    """Return one row per bin: stars, and R² about the mean of the bin."""
    shown = list(next(iter(record.bins.values())).r2)
    rows: list[tuple[Cell, ...]] = [
        (name, one.stars, "own" if one.expert else "model of all", *(one.r2[routing] for routing in shown))
        for name, one in record.bins.items()
    ]
    caption = f"R² of {label_name(record.label)} in every bin, about the mean of the bin; the same stars for all columns."
    return Table("bins", caption, ("bin", "stars", "expert", *(f"R² {name}" for name in shown)), tuple(rows))


def snr_table(record: ExpertsRecord) -> Table:
    """Return one row per quarter of the stars by S/N."""
    shown = list(next(iter(record.by_snr.values())))
    rows: list[tuple[Cell, ...]] = [
        (name, *(scores[routing] for routing in shown)) for name, scores in record.by_snr.items()
    ]
    caption = f"R² of {label_name(record.label)} in quarters of the stars by S/N."
    return Table("snr", caption, ("S/N", *(f"R² {name}" for name in shown)), tuple(rows))


def confusion_table(record: ExpertsRecord) -> Table:
    """Return the likeliest component (columns) of the stars of every component (rows)."""
    rows: list[tuple[Cell, ...]] = [
        (name, *row) for name, row in zip(record.components, record.confusion, strict=True)
    ]
    caption = f"Stars by true bin (rows) and likeliest bin (columns); {number(100 * record.accuracy, 1)} % are right."
    return Table("confusion", caption, ("true bin", *record.components), tuple(rows))


def gate_table(record: ExpertsRecord) -> Table:
    """Return the features of the gate by what it loses without them."""
    ordered = sorted(record.importance.items(), key=lambda item: -item[1])
    rows: list[tuple[Cell, ...]] = [(name, number(100 * lost, 2)) for name, lost in ordered]
    caption = (
        "Accuracy of the gate that is lost, in points, when the values of a feature are dealt to other stars."
    )
    return Table("gate", caption, ("feature", "lost"), tuple(rows))


def _routing_caption(record: ExpertsRecord) -> str:
    gain = score_text(record.oracle_gain, 3)
    high = record.oracle_gain.high
    if record.oracle_is_worth:
        worth = f"The oracle gains {gain}."
    elif high is not None and high < 0:
        worth = (
            f"The oracle's gain is {gain}: even where they belong, experts are worse than the model of all spectra, and there "
            "is no gain of which anything could be a share."
        )
    else:
        worth = f"The oracle's gain, {gain}, is not told from zero: shares of it are not defined."
    prior = "" if record.prior is None else f" ({100 * record.prior:.1f} % of the prior)"
    above = "".join(
        f" {ROUTING_WORDS.get(name, name)} is above its oracle: {one.above_oracle}."
        for name, one in record.routings.items()
        if one.above_oracle
    )
    exact = (
        f" Expected R² replaces the truth by the exact posterior, for {count(record.posteriors)} stars; of the oracle "
        "there is none, as it knows of the truth what the spectrum does not say."
        if record.ceiling is not None
        else ""
    )
    return (
        f"R² of {label_name(record.label)} on the same {count(record.stars)} test stars (seed {record.seed}), "
        f"{100 * record.coverage:.1f} % of them in a bin{prior}; intervals are 95 % over stars. {worth}{above}{exact}"
    )
