"""Saved estimators whose checksums are right and whose content is not: one line, whatever was changed."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from damage import copied, damaged_arrays, damaged_documents, refusal, reseal
from specvit.estimators import load_estimator
from specvit.inference import PosteriorMean, TemplateFit
from specvit.library import Emulator
from specvit.library.regressor import CoefficientNetwork
from specvit.models import PLS, LightGBM, PCARidge, Ridge
from specvit.models.experts import MixtureOfExperts
from specvit.models.manifest import TENSORS
from specvit.models.tree_text import TreeTextError, check_tree_text
from specvit.spectra import LOW_T_BOX, LabelSpace, MemorySource, SpectraBatch, WavelengthGrid

GRID = WavelengthGrid.linear(8000.0, 0.5, 12)
SPACE = LabelSpace(("log_g", "m_h"), ("dex", "dex"), (1.0, -2.0), (5.0, 0.5))


class OfAWorld(MemorySource):
    """Spectra in memory that say where they come from, as simulated ones do."""

    lsf = {"wavelength": [8000.0, 8005.0], "fwhm": [1.2, 1.3]}  # noqa: RUF012
    provenance = {"world": {"library": "builtin"}, "identity": "of no other"}  # noqa: RUF012


def make_source(count, seed, space=SPACE):
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, len(space), generator=generator)
    low, high = torch.tensor(space.low), torch.tensor(space.high)
    flux = (
        1
        + 0.2
        * share
        @ torch.linspace(-1, 1, 12).repeat(len(space), 1).pow(torch.arange(1, len(space) + 1)[:, None])
        + 0.02 * torch.randn(count, 12, generator=generator)
    )
    snr = torch.full((count,), 10.0)
    batch = SpectraBatch(flux, torch.full_like(flux, 0.1), low + (high - low) * share, {}, snr)
    return OfAWorld(batch, GRID, space)


def small_emulator():
    torch.manual_seed(0)
    regressor = CoefficientNetwork(LOW_T_BOX, 3, 4, 1)
    return Emulator(regressor, torch.ones(12), 0.1 * torch.randn(3, 12), GRID, 5000.0, LOW_T_BOX).eval()


MOE = {"partition": "m_h:-2/-0.8/0.5", "features": ["pca", "noise"], "components": 2, "alphas": [1.0]}
MODELS = {
    "ridge": lambda: Ridge(alphas=[1.0, 2.0]),
    "pca_ridge": lambda: PCARidge(["m_h"], components=[2, 4], alphas=[0.0, 1.0]),
    "pls": lambda: PLS(components=2),
    "lightgbm": lambda: LightGBM(["m_h", "log_g"], rounds=3, leaves=4),
    "moe": lambda: MixtureOfExperts(["log_g"], **MOE),
    "moe-trees": lambda: MixtureOfExperts(["log_g"], **MOE, gate="lightgbm", expert="lightgbm", rounds=2),
    "moe-trunk": lambda: MixtureOfExperts(["log_g"], **MOE, expert="trunk", width=2),
    "moe-product": lambda: MixtureOfExperts(["log_g"], **MOE, expert="conditional"),
    "template": lambda: TemplateFit(small_emulator()),
    "posterior": lambda: PosteriorMean(small_emulator(), bank_size=64),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("saved")
    for name, make in MODELS.items():
        space = LOW_T_BOX if name in ("template", "posterior") else SPACE
        make().fit(make_source(120, 0, space), make_source(80, 1, space)).save(root / name)
    return root


def refused(folder):
    """Return whether a saved estimator is refused in one line; if not, it gives estimates."""
    if message := refusal(lambda: load_estimator(folder)):
        assert str(folder) in message
        return True
    model = load_estimator(folder)
    if model.name not in ("template", "posterior"):
        found = model.predict(torch.ones(2, 12), torch.full((2, 12), 0.1))
        assert found.mean.shape == (2, len(found.names))
        assert found.mean.isfinite().all()
    return False


#: Never an entry of a manifest; what may be changed so all the same: facts for people, and options that stay options.
WRONG = re.compile(r"deleted|= (nan|seven|\{'a': 1\}|\[1\])$")
MEANT = re.compile(
    r"training\.|settings\.choice\.|settings\.emulator\.(provenance|errors)|specvit_version|grid\.description|"
    r"label_space\.(units|names\.0 = seven)|settings\.emulator\.domain\.units|"
    r"settings\.options\.(alphas|components|settings\.)|settings\.missing\.|settings\.options\.condition = seven"
)


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_of_a_manifest_is_checked(saved, tmp_path, name):
    manifest = copied(saved / name, tmp_path / "m")
    manifest.pop("sha256")
    taken = []
    for done, changed in damaged_documents(manifest):
        reseal(tmp_path / "m", changed, {})
        if not refused(tmp_path / "m"):
            taken.append(done)
    assert [done for done in taken if WRONG.search(done) and not MEANT.match(done)] == []


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_is_checked(saved, tmp_path, name):
    manifest = copied(saved / name, tmp_path / "m")
    for done, arrays in damaged_arrays(load_file(saved / name / TENSORS), texts=False):
        save_file({key: np.ascontiguousarray(values) for key, values in arrays.items()}, tmp_path / "t")
        reseal(tmp_path / "m", manifest, {TENSORS: (tmp_path / "t").read_bytes()})
        assert refused(tmp_path / "m"), done


def with_trees(saved, folder, text):
    """Write a copy of the saved trees in which those of one label are `text`."""
    manifest = copied(saved / "lightgbm", folder)
    reseal(folder, manifest, {"trees_log_g.txt": text.encode()})


def damaged_texts(text):
    """Yield texts of trees with a line gone, doubled, or with other numbers in it; tree sizes follow."""
    lines = text.split("\n")
    end = lines.index("end of trees")
    for at in range(end + 2):
        key, equals, value = lines[at].partition("=")
        words = value.split(" ")
        others = [
            "",
            "nan",
            "99999999999",
            "-7",
            "x",
            "1 " * 40,
            *(" ".join([w, *words[1:]]) for w in ("5", "-5")),
        ]
        news = [[], [lines[at]] * 2, *([f"{key}={other}"] for other in others if equals)]
        for new in news:
            changed = [*lines[:at], *new, *lines[at + 1 :]]
            if changed != lines:
                yield "\n".join(changed)
    yield from (text[: len(text) * k // 7] for k in range(7))
    yield text + "tree"


def resized(text):
    """Return the text with tree sizes that are right, where it still has them."""
    trees = re.search(r"(Tree=0\n.*?)end of trees\n", text, re.DOTALL)
    if trees is None:
        return text
    sizes = [str(len(part)) for part in re.split(r"(?=Tree=\d)", trees[1])[1:]]
    return re.sub(r"tree_sizes=[\d ]+\n", f"tree_sizes={' '.join(sizes)}\n", text)


def test_every_line_of_the_trees_is_checked_before_lightgbm_reads_it(saved):
    """A text that is taken has other numbers in places where any number makes sense."""
    text = (saved / "lightgbm" / "trees_log_g.txt").read_text()
    assert check_tree_text(text, 12) >= 2
    taken = []
    for changed in damaged_texts(text):
        for sealed in (changed, resized(changed)):
            if refusal(lambda text=sealed: check_tree_text(text, 12), TreeTextError):
                continue
            before, after = (set(each.split("\n")) for each in (text, sealed))
            taken += [line.partition("=")[0] for line in after - before]
    numbers = {
        "tree_sizes",
        "split_feature",
        "split_gain",
        "threshold",
        "shrinkage",
        "leaf_value",
        "leaf_weight",
    }
    assert set(taken) <= {*numbers, "leaf_count", "internal_value", "internal_weight", "internal_count"}


CHILD = """
import sys, pathlib
from specvit.errors import DataError
from specvit.models import LightGBM
for folder in sys.argv[1:]:
    try:
        LightGBM.load(pathlib.Path(folder))
        print("taken")
    except DataError as error:
        print(str(error).count(chr(10)), error)
"""


def test_damaged_trees_do_not_end_the_process(saved, tmp_path):
    """LightGBM's own parser aborts on some of these, so they are read in a process of their own."""
    text = (saved / "lightgbm" / "trees_log_g.txt").read_text()
    damages = [
        (r"num_leaves=\d+", "num_leaves=2000000000"),
        (r"left_child=-?\d+", "left_child=77"),
        (r"threshold=\S+", "threshold=x"),
        (r"leaf_value=\S+ ", "leaf_value="),
        (r"tree_sizes=\d+", "tree_sizes=3"),
        (r"Tree=1", "Tree=one"),
        (r"split_feature=\d+", "split_feature=4000"),
    ]
    folders = []
    for number, (old, new) in enumerate(damages):
        changed = re.sub(old, new, text, count=1)
        assert changed != text
        for kind, sealed in (("plain", changed), ("resized", resized(changed))):
            if sealed != text:
                folders.append(tmp_path / f"{kind}{number}")
                with_trees(saved, folders[-1], sealed)
    command = [sys.executable, "-c", CHILD, *map(str, folders)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    lines = result.stdout.splitlines()
    assert len(lines) == len(folders)
    assert [line for line in lines if not (line.startswith("0 ") and "trees_log_g.txt" in line)] == []
