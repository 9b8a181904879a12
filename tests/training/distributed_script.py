"""What `test_distributed` runs under torchrun: a tiny training whose weights every process writes down."""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from specvit.estimators import network_config
from specvit.models.network import build_network
from specvit.training import LabelRegression, Recipe, Trainer
from specvit.training.distributed import join_processes, leave_processes
from specvit.training.feeds import MemoryFeed, Share
from training_stars import GRID, SPACE, stars


def train(world, batch):
    """Return the record and the final weights of a training whose first process starts from seed 0."""
    recipe = Recipe(steps=20, batch=batch, validations=2, ema=0.0, lr=3e-3)
    torch.manual_seed(world.rank)
    network = build_network(network_config("mlp").with_options({"width": 16, "depth": 1}), GRID, SPACE)
    sample = stars(256)
    network.front.fit(sample.flux, sample.sigma)
    feed = MemoryFeed(sample, Share(batch, world.rank, world.size), world.device, 0)
    objective = LabelRegression.of(network, SPACE, recipe)
    record = Trainer(network.body, objective, feed, stars(64, seed=1), recipe, world).run()
    return record, [parameter.detach() for parameter in network.body.parameters()]


if __name__ == "__main__":
    out, world = Path(sys.argv[1]), join_processes("cpu")
    record, weights = train(world, batch=16)
    torch.save(weights, out / f"weights-{world.rank}.pt")
    (out / f"record-{world.rank}.json").write_text(json.dumps(record))
    leave_processes(world)
    tasks = Path("/proc/self/task")  # Linux only
    threads = [(task / "comm").read_text().strip() for task in tasks.iterdir()] if tasks.is_dir() else []
    (out / f"threads-{world.rank}.json").write_text(json.dumps(threads))
