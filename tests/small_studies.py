"""Studies of seconds, as files."""

from specvit.documents import dump_toml

#: Ridge at two noise levels, and a copy of the first under another name.
SMALL = {
    "id": "small",
    "title": "Ridge at twice the noise",
    "track": "tests",
    "question": "Is it worse?",
    "hypothesis": "It is.",
    "rule": "excess(once) <= excess(twice) and expected_r2(once) >= expected_r2(twice) on bright",
    "source": {"work": "nobody", "claim": "noise hurts", "number": "none"},
    "slices": {"bright": {"snr_quantile": [0.5, 1.0]}},
    "base": {"estimator": {"name": "ridge"}, "test": {"noise_level": 1.0}},
    "factors": {
        "noise": {
            "once": {},
            "again": {"simulate": {"noise_level": 1.0}},
            "twice": {"simulate": {"noise_level": 2.0}},
        }
    },
    # The scale itself has one, which decides nothing.
    "scales": {"smoke": {"seeds": [1, 2]}},
    "shares": {
        "twice": {
            "text": "noise that is doubled",
            "part": "excess(twice) - excess(once)",
            # Two seeds would tell no whole from zero that is not sure to be above it.
            "whole": "excess(twice) + 10",
            "slice": "bright",
            "published": 0.5,
        },
        "nothing": {"text": "a copy", "part": "excess(twice)", "whole": "excess(again) - excess(once)"},
    },
    "outcomes": {"supported": "Yes.", "refuted": "No.", "undecided": "Perhaps."},
}


def study_file(folder, values, **changes):
    """Write a study as a file of its id, and return the file."""
    values = {**values, **changes}
    path = folder / f"{values['id']}.toml"
    path.write_text(dump_toml(values), encoding="utf-8")
    return path
