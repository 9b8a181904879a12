"""The loop: it learns, keeps the best weights, and continues exactly where it was killed."""

import copy
from dataclasses import replace

import pytest
import torch

from damage import refusal
from specvit.errors import DataError, LabelError, RunError
from specvit.estimators import network_config
from specvit.models.network import build_network
from specvit.training import LabelRegression, Recipe, Trainer
from specvit.training.checkpoint import NAME
from specvit.training.distributed import Processes
from specvit.training.feeds import MemoryFeed, Share
from specvit.training.objectives import pooled_r2
from training_stars import GRID, SPACE, stars

HERE = Processes(0, 1, torch.device("cpu"))
TINY = {
    "mlp": {"width": 32, "depth": 1, "dropout": 0.1, "head": "gaussian"},
    "vit": {"patch": 8, "width": 16, "depth": 1, "heads": 2, "dropout": 0.1, "head": "point"},
    "cnn": {"width": 4, "kernel": 3, "stages": 2, "blocks": 1, "segments": 4, "head": "ordinal"},
    "swin": {"patch": 4, "window": 4, "width": 8, "heads": 2, "stages": 2},
}  # fmt: skip


def trainer(model="mlp", folder=None, feed=None, listen=None, validation=None, **recipe):
    recipe = Recipe(**{"steps": 30, "batch": 32, "validations": 6, "ema": 0.9, "seed": 5, **recipe})
    torch.manual_seed(recipe.seed)
    network = build_network(network_config(model).with_options(TINY[model]), GRID, SPACE)
    train = stars(256)
    network.front.fit(train.flux, train.sigma)
    feed = feed or MemoryFeed(train, Share(recipe.batch), HERE.device, recipe.seed)
    objective = LabelRegression.of(network, SPACE, recipe)
    validation = validation or stars(64, seed=1)
    return Trainer(network.body, objective, feed, validation, recipe, HERE, folder, listen)


def weights(run):
    return [p.detach().clone() for p in run.body.parameters()]


@pytest.mark.parametrize("model", TINY)
def test_every_network_fits_one_batch_by_heart(model):
    batch = stars(16)
    lr = 1e-2 if model == "mlp" else 5e-3
    run = trainer(model, feed=lambda step: batch, steps=200, lr=lr, ema=0.0, validations=1)
    run.body.apply(lambda m: setattr(m, "p", 0.0) if isinstance(m, torch.nn.Dropout) else None)
    for block in run.body.modules():
        if hasattr(block, "dropout") and isinstance(block.dropout, float):
            block.dropout = 0.0
    run.run()
    # Validation selects; here the last weights are what was fitted.
    estimate = run.objective.network.eval().estimate(batch.flux, batch.sigma).mean.detach()
    assert pooled_r2(estimate, batch.labels.double()).min() > 0.95


def test_training_generalises_and_says_how_well():
    records = []
    record = trainer(listen=records.append, steps=200, lr=5e-3).run()
    assert record["validation_r2"] > 0.97
    assert record["train_spectra"] == 200 * 32
    validations = [r for r in records if r["event"] == "validation"]
    assert [r["step"] for r in validations] == [34, 67, 100, 134, 167, 200]
    assert validations[-1]["best"] == max(max(r["monitored"].values()) for r in validations)


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "options", [{"optimiser": "adamw"}, {"optimiser": "muon", "schedule": "wsd", "masked": 0.5}]
)
@pytest.mark.parametrize("killed_at", [1, 13, 29])
def test_a_killed_training_continues_to_the_same_bits(tmp_path, killed_at, options):
    whole = trainer("vit", **options)
    expected = whole.run()
    feed = MemoryFeed(stars(256), Share(32), HERE.device, 5)

    def dying(step):
        if step == killed_at:
            raise Killed
        return feed(step)

    with pytest.raises(Killed):
        trainer("vit", tmp_path, feed=dying, checkpoint_minutes=0.0, **options).run()
    again = trainer("vit", tmp_path, checkpoint_minutes=0.0, **options)
    assert again.step == killed_at
    found = again.run()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))
    for key in ("steps", "best_step", "best_weights", "validation_r2"):
        assert found[key] == expected[key]


def test_a_finished_training_is_not_repeated(tmp_path):
    first = trainer(folder=tmp_path)
    first.run()
    again = trainer(folder=tmp_path, feed=lambda step: stars(32, seed=99))
    assert again.run()["steps"] == 30
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    trainer(folder=tmp_path).run()
    with pytest.raises(RunError, match=r"belongs to another training \(recipe"):
        trainer(folder=tmp_path, lr=0.5)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"nonsense" * 100])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    run = trainer(folder=tmp_path)
    run.run()
    path = tmp_path / NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match="move it away to start over"):
        trainer(folder=tmp_path)


def test_any_damaged_part_of_a_checkpoint_is_refused(tmp_path):
    """Every entry missing, of another kind, or a tensor of another shape or with NaN; of many alike, first and last."""
    trainer(folder=tmp_path, steps=4, ema=0.9).run()
    path = tmp_path / NAME
    whole = torch.load(path, weights_only=True)

    def parts(value, place=()):
        if isinstance(value, dict | list):
            entries = list(value.items() if isinstance(value, dict) else enumerate(value))
            # Entries of one name each are all different; numbered ones, and weights by layer, are alike.
            alike = isinstance(value, list) or all(isinstance(key, int) or "." in key for key, _ in entries)
            for key, part in (entries[0], entries[-1]) if alike and len(entries) > 2 else entries:
                yield (*place, key)
                yield from parts(part, (*place, key))

    def at(value, place):
        for key in place:
            value = value[key]
        return value

    taken = []
    for place in list(parts(whole)):
        old = at(whole, place)
        others = [None, torch.zeros(7)] if len(place) > 2 else [None, "x", -1, [], {}, torch.zeros(7)]
        if isinstance(old, torch.Tensor) and old.is_floating_point():
            others.append(torch.full_like(old, torch.nan))
        for other in others:
            changed = copy.deepcopy(whole)
            at(changed, place[:-1])[place[-1]] = other
            torch.save(changed, path)
            numbers = isinstance(old, float) and isinstance(other, int)
            if numbers or (type(old) is type(other) and not isinstance(old, torch.Tensor)):
                continue
            if not refusal(lambda: trainer(folder=tmp_path, steps=4, ema=0.9), RunError):
                taken.append((place, other))
    assert taken == []


def test_the_best_weights_are_kept_not_the_last():
    """A rate that grows until it explodes: the last weights are bad, the kept ones are the best."""
    run = trainer(steps=60, lr=3.0, warmup=1.0, clip=0.0, ema=0.0, validations=30)
    record = run.run()
    raw, truth = zip(*((run.body(inputs), labels) for inputs, labels in run.selection.parts), strict=True)
    estimate = run.objective.network.mean(torch.cat(raw)).detach()
    score = float(pooled_r2(estimate, torch.cat(truth).double())[0])
    assert score == pytest.approx(record["validation_r2"], abs=1e-6)
    assert record["best_step"] < 60


def test_the_average_is_kept_when_it_is_better():
    record = trainer(steps=100, lr=0.02, floor=1.0, ema=0.98, validations=1).run()
    assert record["best_weights"] == "average"


def test_patience_ends_a_training_that_no_longer_improves():
    record = trainer(steps=400, lr=1e-12, patience=3, validations=200, ema=0.0).run()
    assert (record["steps"], record["best_step"]) == (8, 2)


def test_a_time_budget_ends_a_training_and_sets_its_schedule():
    records = []
    record = trainer(minutes=0.03, steps=10**8, listen=records.append).run()
    assert 1.8 <= record["seconds"] < 6
    rates = [r["lr"] for r in records if r["event"] == "step"]
    assert rates
    assert rates == sorted(rates, reverse=True)


def test_a_loss_that_is_not_finite_stops_with_advice(monkeypatch):
    monkeypatch.setattr("specvit.training.engine.REPORT_SECONDS", 0.0)
    broken = stars(32)
    broken.labels.mul_(1e30)
    with pytest.raises(RunError, match="lower the learning rate"):
        trainer(feed=lambda step: broken).run()


def test_validation_spectra_need_their_labels():
    labels = stars(8)
    labels.labels[3, 1] = torch.nan
    with pytest.raises(DataError, match="validation set"):
        trainer(validation=labels)
    with pytest.raises(LabelError, match="got 8 without any"):
        trainer(validation=replace(labels, labels=None))


def test_bf16_stays_inside_the_body():
    seen = []
    run = trainer("vit", precision="bf16", steps=3, ema=0.0)
    run.body.backbone.blocks[0].up.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    run.body.backbone.tokenisers[0].register_forward_pre_hook(lambda m, i: seen.append(i[0].dtype))
    run._take_step(*run._prepare(0), 1.0)
    assert seen == [torch.float32, torch.bfloat16]
    assert all(p.dtype == torch.float32 and p.grad is None for p in run.body.parameters())


def test_pooled_r2_is_not_an_average_over_batches():
    truth = torch.tensor([[0.0], [1.0], [10.0], [11.0]]).double()
    assert float(pooled_r2(truth + 1, truth)) == pytest.approx(1 - 4 / 101)
