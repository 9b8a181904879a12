"""Files of latents: right rows, continued after a stop, the same in parts of any size and in Parquet."""

import json

import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.errors import ConfigError, DataError, RunError
from specvit.estimators.pretrained import load_pretrained
from specvit.jobs.latents import drawn_source, layers_of, stored_source, world_like, write_latents
from specvit.represent import Wanted, latents_file, open_latents
from specvit.represent.pooled import ALL
from specvit.simulate import WriteJob


@pytest.fixture(scope="module")
def vit():
    return load_pretrained("vit")


@pytest.fixture(scope="module")
def source(vit):
    return drawn_source(vit, world_like(vit), "test", 5, 70, truth=True)


WANTED = Wanted.parse(["tokens", "block2", "features"], ["mean", "segments:4"])


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(latents_file, "PART_BYTES", 1)  # then a part has 16 rows


def test_the_rows_are_those_of_the_network(vit, source, tmp_path, small_parts):
    write_latents(vit, source, WANTED, tmp_path / "a.h5")
    batch = source.draw(0, 70)
    with torch.no_grad():
        states = {state.name: state for state in vit.network.states(batch.flux, batch.sigma)}
    with open_latents(tmp_path / "a.h5") as file:
        assert set(file.keys) == {
            ("tokens", "mean"), ("tokens", "segments:4"), ("block2", "mean"), ("block2", "segments:4"),
            ("features", "vector"),
        }  # fmt: skip
        found = file.latents("block2", "mean")
        np.testing.assert_allclose(found, states["block2"].values.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(file.latents("features", "vector"), states["features"].values, atol=1e-4)
        np.testing.assert_allclose(file.column("label.log_g"), batch.labels[:, 1])
        np.testing.assert_allclose(file.column("snr"), batch.snr)
        estimate = vit.predict(batch.flux, batch.sigma).mean[:, 1]
        np.testing.assert_allclose(file.column("estimate.log_g"), estimate, atol=2e-3)
        assert list(file.column("row")) == list(range(70))
        assert file.about["network"] == vit.described
        assert file.about["spectra"] == source.provenance
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_stopped_command_continues(vit, source, tmp_path, small_parts, monkeypatch):
    write_latents(vit, source, WANTED, tmp_path / "whole.h5")
    drawn = []

    class Stopping:
        def __init__(self, stop_at):
            self.stop_at = stop_at

        def __getattr__(self, name):
            return getattr(source, name)

        def __len__(self):
            return len(source)

        def draw(self, start, stop, epoch=0):
            if start >= self.stop_at:
                raise KeyboardInterrupt
            drawn.append(start)
            return source.draw(start, stop, epoch)

    with pytest.raises(KeyboardInterrupt):
        write_latents(vit, Stopping(32), WANTED, tmp_path / "b.h5")
    assert drawn == [0, 16]
    assert not (tmp_path / "b.h5").exists()
    with pytest.raises(RunError, match="other latents"):
        write_latents(vit, source, Wanted.parse(["block1"], ["mean"]), tmp_path / "b.h5")
    write_latents(vit, Stopping(1000), WANTED, tmp_path / "b.h5")
    assert drawn == [0, 16, 32, 48, 64]
    with open_latents(tmp_path / "b.h5") as one, open_latents(tmp_path / "whole.h5") as other:
        for key in one.keys:
            np.testing.assert_array_equal(one.latents(*key), other.latents(*key))


def test_parquet_holds_the_same(vit, source, tmp_path, small_parts):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_latents(vit, source, WANTED, tmp_path / "a.h5")
    write_latents(vit, source, WANTED, tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    with open_latents(tmp_path / "a.h5") as file:
        for key in file.keys:
            np.testing.assert_array_equal(np.stack(table["/".join(key)].to_numpy()), file.latents(*key))
        assert sorted(set(table.column_names) - {"/".join(k) for k in file.keys}) == sorted(file.columns)
    with pytest.raises(ConfigError, match=r"tokens.*\.h5"):
        write_latents(vit, source, Wanted.parse(["block1"], ["tokens"]), tmp_path / "b.parquet")


def test_stored_spectra_are_read(vit, tmp_path):
    WriteJob(tmp_path / "set", world_like(vit), "test", 7, 20).run()
    write_latents(vit, stored_source(vit, tmp_path / "set"), WANTED, tmp_path / "stored.h5")
    write_latents(vit, drawn_source(vit, world_like(vit), "test", 7, 20), WANTED, tmp_path / "drawn.h5")
    with open_latents(tmp_path / "stored.h5") as one, open_latents(tmp_path / "drawn.h5") as other:
        np.testing.assert_allclose(one.latents("block2", "mean"), other.latents("block2", "mean"), atol=1e-3)


def test_all_means_all_that_can_be_pooled_so(vit):
    known = layers_of(vit)
    assert [layer.name for layer in known] == [
        "input", "level", "tokens", "block1", "block2", "block3", "features", "output",
    ]  # fmt: skip
    keys = Wanted.parse([ALL], ["mean", "cls"]).keys(known)
    assert ("block1", "mean") in keys
    assert ("block1", "cls") not in keys
    assert ("input", "vector") in keys


@pytest.mark.parametrize("name", ["a.h5", "a.parquet"])
def test_a_whole_file_of_other_latents_stays(vit, source, tmp_path, name):
    place = tmp_path / name
    write_latents(vit, source, Wanted.parse(["block1"], ["mean"]), place)
    before = place.read_bytes()
    write_latents(vit, source, Wanted.parse(["block1"], ["mean"]), place)
    with pytest.raises(RunError, match="holds other latents; move it away"):
        write_latents(vit, source, Wanted.parse(["block2"], ["mean"]), place)
    if name.endswith(".h5"):
        assert len(place.read_bytes()) == len(before)
    place.write_bytes(b"something of mine")
    with pytest.raises(RunError, match="is no file of latents"):
        write_latents(vit, source, Wanted.parse(["block1"], ["mean"]), place)
    assert place.read_bytes() == b"something of mine"


def test_a_pooling_that_suits_no_layer_is_refused_of_all_layers_too(vit):
    known = layers_of(vit)
    for pool, told in (("segments:1000", "segments"), ("cls", "CLS")):
        with pytest.raises(ConfigError, match=told):
            Wanted.parse([ALL], [pool]).check(known)
    Wanted.parse([ALL], ["segments:4"]).check(known)


def test_the_command_tells_what_it_wrote_and_refuses_in_a_line(tmp_path, capsys):
    place = tmp_path / "a.h5"
    assert (
        main(["latents", "subspace", "--layers", "block1", "--stars", "20", "--out", str(place), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["latents"] == {"block1/vector": [512]}
    assert main(["latents", "subspace", "--list-layers"]) == 0
    assert "block4" in capsys.readouterr().out
    for wrong, told in {
        "--layers blok1": "did you mean block1",
        "--pool median": "segments:K",
        "--stars 0": "at least 1",
        f"--out {tmp_path}/a.txt": ".parquet",
    }.items():
        assert main(["latents", "subspace", "--stars", "20", "--out", str(place), *wrong.split()]) == 2
        assert told in capsys.readouterr().err
    (tmp_path / "c.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"c\.h5"), open_latents(tmp_path / "c.h5"):
        pass
