"""The one training loop. Owns the order of things: step, report, validate, checkpoint, stop.

What is trained (`models`), for what (`objectives`), on what (`feeds`), how (`recipe`) and which weights are
kept (`selection`) come from outside; nothing here knows a survey, a model or a label. Batches and dropout are
functions of (seed, process, step), so a training continued from any checkpoint is the uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from specvit.errors import RunError
from specvit.runs.memory import freed_memory_kept
from specvit.simulate.seeding import entropy_words
from specvit.spectra import SpectraBatch
from specvit.training.checkpoint import NAME, START_OVER, check_state, load_checkpoint, save_checkpoint
from specvit.training.distributed import Processes
from specvit.training.ema import WeightAverage
from specvit.training.feeds import Feed, prefetched
from specvit.training.objectives import Objective
from specvit.training.optimisers import Optimisers
from specvit.training.recipe import Recipe
from specvit.training.schedules import rate_factor
from specvit.training.selection import Selection

#: Event of the records of a validation.
VALIDATED = "validation"

#: Seconds between two looks at the running loss: each one waits for the device.
REPORT_SECONDS = 1.0

Listener = Callable[[dict[str, Any]], None]


class Trainer:
    """Trains a body for one objective; `run` leaves the best weights in it.

    Args:
        body: what is trained, in place; called with the inputs that the objective prepares.
        objective: inputs, targets, loss and scores.
        feed: training batches by step number.
        validation: spectra for selecting the weights.
        recipe: see `Recipe`.
        world: the processes, see `distributed.join_processes`.
        folder: where checkpoints go; None keeps none. An interrupted training there is continued.
        listen: called with one record per report and per validation, in the first process.
        began: `time.monotonic()` at which the time budget started; now if None.

    Raises:
        RunError: if the checkpoint in `folder` belongs to another training.
        DataError: if the objective cannot score the validation spectra.
    """

    def __init__(
        self,
        body: nn.Module,
        objective: Objective,
        feed: Feed,
        validation: SpectraBatch,
        recipe: Recipe,
        world: Processes,
        folder: Path | None = None,
        listen: Listener | None = None,
        began: float | None = None,
    ) -> None:
        self.body, self.objective = body.to(world.device).train(), objective
        objective.front.to(world.device)
        self.feed, self.recipe, self.world, self.folder = feed, recipe, world, folder
        self.listen = listen or (lambda record: None)
        self.identity = {
            "objective": objective.identity,
            "recipe": recipe.to_dict(),
            "processes": world.size,
        }
        state = load_checkpoint(folder, self.identity) if folder is not None else None
        # Before the selection, which prepares the validation spectra once.
        if folder is not None and state is not None:
            check_state(folder, state.get("front"), objective.front.state_dict(), "front")
            objective.front.load_state_dict(state["front"])
        self.selection = Selection(self.body, objective, validation.to(world.device))
        self.average = WeightAverage(self.body, recipe.ema) if recipe.ema else None
        self.optimisers = Optimisers(self.body, recipe)
        self.step, self.validated, self.stopped, self.progress = 0, 0, False, 0.0
        self._began = time.monotonic() if began is None else began
        if folder is not None and state is not None:
            check_state(folder, state, self._state())
            if min(state["step"], state["validated"], state["seconds"]) < 0:
                raise RunError(f"{folder / NAME}: counts less than no steps or seconds; {START_OVER}")
            if problem := self.optimisers.problem(state["optimisers"]):
                raise RunError(f"{folder / NAME}: {problem}; {START_OVER}")
            self._continue_from(state)
        self._saved = time.monotonic()
        # Wrapped at last: the state that is saved is the bare body's, whose names have no prefix.
        self._forward = self._prepared_body()

    @property
    def seconds(self) -> float:
        """Time spent on this training so far, interruptions not counted."""
        return time.monotonic() - self._began

    def run(self) -> dict[str, Any]:
        """Train to the end of the recipe; return the record of what was done.

        Raises:
            RunError: if the loss stops being finite.
        """
        meter, done = _Meter(self.step, self.world.device), self._done()
        # Closed on errors too: the thread that makes batches has to end.
        with closing(self.steps()) as steps:
            while done < 1 and not self.stopped:
                meter.add(next(steps))
                done = self._done()
                if meter.is_due():
                    self._report(done, *meter.read(self.step))
                # By count, not by step: by the clock, one slow step may pass several.
                if int(done * self.recipe.validations) > self.validated:
                    self.validated = int(done * self.recipe.validations)
                    self._validate(done)
                if time.monotonic() - self._saved >= 60 * self.recipe.checkpoint_minutes:
                    self._checkpoint()
        # A job killed before its result is saved continues here without a further step.
        self._checkpoint()
        self.selection.restore()
        # Only the first process validates, so only it knows the best weights.
        self.world.spread([parameter.detach() for parameter in self.body.parameters()])
        self.body.eval()
        return self._record()

    def steps(self) -> Generator[Tensor, None, None]:
        """Take one optimiser step per item, for as long as items are asked for; yield losses, on the device."""
        memory = freed_memory_kept() if self.world.device.type == "cpu" else nullcontext()
        with memory, closing(prefetched(self._prepare, self.step)) as batches:
            for inputs, targets in batches:
                loss = self._take_step(inputs, targets, rate_factor(self.progress, self.recipe))
                self.step += 1
                yield loss

    def _prepared_body(self) -> nn.Module:
        body = self.body
        if self.world.size > 1:
            # Buffers do not change while a network trains: they are the same everywhere.
            body = nn.parallel.DistributedDataParallel(body, broadcast_buffers=False)
        return torch.compile(body) if self.recipe.compile else body  # type: ignore[return-value]

    def _prepare(self, step: int) -> tuple[Any, Tensor]:
        """Return inputs and targets of one step, this process's share."""
        return self.objective.prepare(self.feed(step), _seed(self.recipe.seed, self.world.rank, step))

    def _take_step(self, inputs: Any, targets: Tensor, factor: float) -> Tensor:
        """Take one optimiser step at `factor` times the peak rate; return its loss, still on the device."""
        # Dropout of a step does not depend on where the run was interrupted.
        torch.manual_seed(_seed(self.recipe.seed, self.world.rank, self.step))
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            outputs = self._forward(inputs)
        # Outside autocast: half precision is for the body alone.
        loss = self.objective.loss(outputs, targets)
        loss.backward()
        # Pascanu, Mikolov & Bengio 2013, ICML.
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.body.parameters(), self.recipe.clip)
        self.optimisers.step(factor)
        if self.average is not None:
            self.average.update(self.body)
        return loss.detach()

    def _done(self) -> float:
        """Return the share of the run that is done, the same in every process, and keep it as `progress`."""
        if self.recipe.minutes:
            # By the clock of one process: all must stop at the same step.
            share = self.world.agree(self.seconds / (60 * self.recipe.minutes))
        else:
            share = self.step / self.recipe.steps
        self.progress = min(share, 1.0)
        return self.progress

    def _report(self, done: float, loss: float, steps_per_second: float) -> None:
        if not math.isfinite(loss):
            raise RunError(
                f"training: the loss is {loss} at step {self.step}; lower the learning rate "
                f"(lr = {self.recipe.lr:g}) or clip gradients harder (clip = {self.recipe.clip:g})"
            )
        left = 60 * self.recipe.minutes - self.seconds
        if not self.recipe.minutes:
            left = (self.recipe.steps - self.step) / steps_per_second
        self._tell(
            "step",
            progress=done,
            seconds_left=max(left, 0.0),
            loss=loss,
            lr=rate_factor(done, self.recipe) * self.recipe.lr,
            spectra_per_second=steps_per_second * self.recipe.batch * self.world.size,
        )

    def _validate(self, done: float) -> None:
        """Offer the weights and their average to the selection; decide about stopping early."""
        if self.world.is_first:
            candidates = {"raw": [parameter.detach() for parameter in self.body.parameters()]}
            if self.average is not None:
                candidates["average"] = self.average.values
            self._tell(VALIDATED, progress=done, **self.selection.consider(self.step, candidates))
        patience = self.recipe.patience
        self.stopped = bool(self.world.agree(float(0 < patience <= self.selection.stale)))

    def _tell(self, event: str, **record: Any) -> None:
        if self.world.is_first:
            self.listen({"event": event, "step": self.step, "seconds": self.seconds, **record})

    def _checkpoint(self) -> None:
        self._saved = time.monotonic()
        if self.folder is None or not self.world.is_first:
            return
        save_checkpoint(self.folder, self.identity, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "validated": self.validated,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "body": self.body.state_dict(),
            "front": self.objective.front.state_dict(),
            "optimisers": self.optimisers.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "selection": self.selection.state_dict(),
        }

    def _continue_from(self, state: dict[str, Any]) -> None:
        self.step, self.validated, self.stopped = state["step"], state["validated"], state["stopped"]
        # The time a job lay still is not charged to its budget.
        self._began = time.monotonic() - state["seconds"]
        self.body.load_state_dict(state["body"])
        self.optimisers.load_state_dict(state["optimisers"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.selection.load_state_dict(state["selection"])

    def _record(self) -> dict[str, Any]:
        best = self.selection.best
        return {
            "steps": self.step,
            "train_spectra": self.step * self.recipe.batch * self.world.size,
            "seconds": round(self.seconds, 1),
            "best_step": self.selection.step,
            "best_weights": self.selection.kind,
            f"validation_{self.objective.score}": best if math.isfinite(best) else None,
            "recipe": self.recipe.to_dict(),
            "device": str(self.world.device),
            "processes": self.world.size,
        }


class _Meter:
    """Mean loss and speed since the last reading; never waits for the device in between."""

    def __init__(self, step: int, device: torch.device) -> None:
        self._total = torch.zeros((), device=device)
        self._step, self._time = step, time.monotonic()

    def add(self, loss: Tensor) -> None:
        self._total += loss

    def is_due(self) -> bool:
        return time.monotonic() - self._time >= REPORT_SECONDS

    def read(self, step: int) -> tuple[float, float]:
        """Return the mean loss and the steps per second since the last call."""
        count, elapsed = step - self._step, time.monotonic() - self._time
        loss = float(self._total) / count
        self._total.zero_()
        self._step, self._time = step, time.monotonic()
        return loss, count / elapsed


def _seed(seed: int, rank: int, step: int) -> int:
    """Return the seed of dropout and masks of one step in one process."""
    # Hashed: neighbouring seeds, ranks and steps have unrelated streams.
    return int(np.random.SeedSequence(entropy_words(seed, rank, step)).generate_state(1, np.uint64)[0]) >> 1
