"""What every training loop needs besides its own mathematics: devices, draws, logs, checkpoints.

Gradients are averaged over processes by one all-reduce before the optimizer steps (and before any treatment in its
hooks), not by DistributedDataParallel, whose bookkeeping does not fit several backward passes a step.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from disentangle.devices import resolve_device
from disentangle.errors import ConfigError, DisentangleError
from disentangle.files import failure_of
from disentangle.io import RunFolder
from disentangle.linalg import weight_diagnostics
from disentangle.models.base import Projection
from disentangle.optim import Treatment
from disentangle.training.accelerator import make_accelerator
from disentangle.training.config import TrainingConfig
from disentangle.training.draws import Draws
from disentangle.training.restoring import Stateful, restore
from disentangle.training.signals import Interrupted, StopSignals
from disentangle.training.trackers import check_tracker, start_tracker

__all__ = ["Interrupted", "Progress", "Session", "Stateful", "TrainingFailed", "TrainingResult"]


class TrainingFailed(DisentangleError):
    """A loss became NaN or infinite; the last checkpoint is from before."""


@dataclass(frozen=True)
class TrainingResult:
    """A finished (or continued and finished) training.

    Attributes:
        run: its folder.
        model: the trained model (of a GAN the averaged generator), in evaluation mode.
        steps: steps trained in all.
        seconds: wall time of this call.
        taken: steps that this call has trained; 0 where the run was finished already.
    """

    run: RunFolder
    model: nn.Module
    steps: int
    seconds: float
    taken: int


# Called after every step with (steps done, steps in all, images per second so far, latest losses).
Progress = Callable[[int, int, float, Mapping[str, float]], None]


class Session(Draws):
    """One training run on this process; its folder is open, and locked, in a ``with`` block.

    Args:
        config: the run's configuration.
        out: the run folder; a finished checkpoint in it is continued.
        device: see :func:`resolve_device`; under ``torchrun`` or ``accelerate launch`` each process takes its own.
        progress: called after every step on the main process.
    """

    def __init__(
        self,
        config: TrainingConfig,
        out: str | os.PathLike[str],
        *,
        device: str = "auto",
        progress: Progress | None = None,
    ) -> None:
        self._begun, self._first = time.perf_counter(), 0
        check_tracker(config.tracker)
        chosen = resolve_device(device)
        self.run = RunFolder(out, config, may_differ=config.may_differ, keep=config.keep_checkpoints)
        self.accelerator = make_accelerator(
            chosen, precision=config.precision, tracker=config.tracker, folder=str(self.run.path)
        )
        self.progress = progress
        self.main = self.accelerator.is_main_process
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        if config.batch % world:
            raise ConfigError(
                f"batch is {config.batch}, which {world} processes cannot share evenly; start as many as divide it."
            )
        local = config.batch // world
        if local % getattr(config, "accumulate", 1):
            raise ConfigError(
                f"accumulate is {config.accumulate}, which a batch of {config.batch} on {world} processes cannot be "  # type: ignore[attr-defined]
                "divided into; start another number of processes, or a run with a divisor of each process's part."
            )
        super().__init__(config, slice(rank * local, (rank + 1) * local), self.accelerator.device)
        self.projections: Mapping[str, Projection] = {}
        self.treatment: Treatment | None = None
        self._signals = StopSignals()
        self._parts: dict[str, Stateful] = {}
        self._sums: dict[str, Tensor] = {}
        self._model: nn.Module | None = None
        self._sample: Callable[[], None] | None = None
        self._diagnostics: Callable[[], Mapping[str, Any]] | None = None

    def __enter__(self) -> Session:
        failed: DisentangleError | None = None
        try:
            if self.main:
                try:
                    self.run.open()
                except DisentangleError as error:
                    failed = error
            if self.accelerator.num_processes > 1:  # all continue from the checkpoint that the first one has chosen
                from accelerate.utils import broadcast_object_list

                latest = self.run.latest
                news = [None if latest is None else int(latest.name), None if failed is None else str(failed)]
                step, message = broadcast_object_list(news, from_process=0)
                if message is not None and failed is None:
                    failed = ConfigError(message)
                elif not self.main:
                    self.run.follow(step)
            if failed is not None:
                raise failed
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop fetching pictures ahead, release the folder, leave signals to others."""
        self._signals.__exit__()
        super().close()
        self.run.close()

    def result(self, model: nn.Module) -> TrainingResult:
        """The finished training of ``model``."""
        seconds = time.perf_counter() - self._begun
        return TrainingResult(self.run, model.eval(), self.step, seconds, self.step - self._first)

    def place(self, network: nn.Module) -> nn.Module:
        """``network`` on this process's device, its convolutions in the layout that runs them fastest."""
        # Measured on a CPU: 1.26 times an EigenGAN's step, 1.1 times a VAE's; values do not change beyond rounding.
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    # ---------------------------------------------------------------------------------------------- the loop

    def prepare(
        self,
        parts: Mapping[str, Stateful],
        *,
        model: nn.Module,
        projections: Mapping[str, Projection],
        treatment: Treatment | None,
        sample: Callable[[], None] | None = None,
        diagnostics: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """Say what a checkpoint consists of, and continue from one if the folder has it.

        Args:
            parts: everything with a state: networks, optimizers, averages, the treatment.
            model: what a checkpoint offers to users (of a GAN the averaged generator).
            projections: whose orthogonality is logged.
            treatment: whose records are logged.
            sample: writes pictures of the current model.
            diagnostics: further fields of a logged line.
        """
        self._parts, self._model, self._sample, self._diagnostics = dict(parts), model, sample, diagnostics
        if treatment is not None:
            self._parts["treatment"] = treatment
        self.projections, self.treatment = projections, treatment
        state = self.run.load_state()
        if state is not None:
            restore(self._parts, state["parts"], source=self.run.latest)
            self.step = self._first = state["step"]
            if self.step > self.config.steps:
                raise ConfigError(
                    f"{self.run.path} is at step {self.step} already, and steps is {self.config.steps}; give as many "
                    "or more to continue it, or another --out."
                )
        if self.main:
            with self._writing():
                self.run.start(str(self.device), step=self.step, finished=self.step == self.config.steps)
                self.run.forget_after(-1 if state is None else self.step)
                if state is None:
                    self._log({}, 0.0)
        start_tracker(self.accelerator, self.config.tracker, self.run.path, self.config.model_dump(mode="json"))

    @property
    def shows(self) -> bool:
        """Whether this step is one after which the model is looked at: every ``sample_every`` steps, and at the end."""
        return self.step == self.config.steps or self.step % self.config.sample_every == 0

    def steps(self) -> Iterator[int]:
        """Step numbers to train, 1 to ``config.steps``; after each one, logs, samples and checkpoints as configured.

        Raises:
            TrainingFailed: if a loss became NaN or infinite; nothing of it is saved.
            Interrupted: after SIGINT, SIGTERM or SIGHUP, once a checkpoint is saved. Of several processes each is ended
                at once, as they would have to agree on the step: their last checkpoint is what is kept.
        """
        try:
            if self.accelerator.num_processes == 1:
                self._signals.__enter__()
            yield from self._steps()
        finally:
            self._signals.__exit__()
            if self.config.tracker != "none":
                self.accelerator.end_training()

    def _steps(self) -> Iterator[int]:
        first, begun = self.step, time.perf_counter()
        logged, logged_at, saved = self.step, begun, self.step
        losses: dict[str, float] = {}
        while self.step < self.config.steps:
            self.step += 1
            yield self.step
            last = self.step == self.config.steps
            stop = self._signals.received
            due_checkpoint = last or stop is not None or self.step % self.config.checkpoint_every == 0
            if due_checkpoint or self.step % self.config.log_every == 0:
                now = time.perf_counter()
                losses = self._mean_losses()
                if self.main:
                    with self._writing():
                        self._log(losses, self._rate(self.step - logged, now - logged_at), sync=due_checkpoint)
                logged, logged_at = self.step, now
            if self.main and self._sample is not None and self.shows:
                with self._writing():
                    self._sample()
            if due_checkpoint and saved != self.step:
                self._checkpoint()
                saved = self.step
            if self.main and self.progress is not None:
                rate = self._rate(self.step - first, time.perf_counter() - begun)
                self.progress(self.step, self.config.steps, rate, losses)
            if stop is not None and not last:
                raise Interrupted(
                    f"Stopped by {signal.Signals(stop).name} at step {self.step} of {self.config.steps}; the same "
                    f"command continues {self.run.path}.",
                    stop,
                )

    def _rate(self, steps: int, seconds: float) -> float:
        """Images per second; 0 where the clock stands still."""
        return steps * self.config.batch / seconds if seconds > 0 else 0.0

    def record(self, **losses: Tensor) -> None:
        """Add this step's losses to the means that are logged next."""
        for name, loss in losses.items():
            total, count = self._sums.get(name), torch.ones((), device=self.device)
            value = torch.stack([loss.detach().float().reshape(()), count])
            self._sums[name] = value if total is None else total + value

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over processes; nothing to do for a single one."""
        if self.accelerator.num_processes == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        flat = self.accelerator.reduce(flat, reduction="mean")
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.reshape(gradient.shape))

    def mean(self, value: Tensor) -> Tensor:
        """``value`` averaged over processes."""
        return value if self.accelerator.num_processes == 1 else self.accelerator.reduce(value, reduction="mean")

    def fail(self, what: str) -> NoReturn:
        """Raise a TrainingFailed: ``what`` happened, which checkpoint is good, what to do."""
        checkpoint = self.run.latest
        if checkpoint is None:  # such a folder may be begun afresh
            raise TrainingFailed(
                f"{what}; there is no checkpoint yet. Look at stats.jsonl for what grew, and start it again with a "
                "lower learning rate."
            )
        raise TrainingFailed(
            f"{what}; the last good checkpoint is {checkpoint}. Look at stats.jsonl for what grew, and start another "
            "run (another --out) with a lower learning rate, since this one keeps its own."
        )

    # ---------------------------------------------------------------------------------------------- internals

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a full disk into a sentence."""
        try:
            yield
        except OSError as error:
            good, (why, remedy) = self.run.latest, failure_of(error)
            raise TrainingFailed(
                f"Step {self.step} could not be written to {self.run.path} ({why}); "
                f"{'there is no checkpoint yet' if good is None else f'the last good checkpoint is {good}'}. "
                f"{remedy}; the same command then continues."
            ) from error

    def _mean_losses(self) -> dict[str, float]:
        names = sorted(self._sums)
        if not names:
            return {}
        sums = torch.stack([self._sums[name] for name in names])
        sums = self.accelerator.reduce(sums, reduction="sum") if self.accelerator.num_processes > 1 else sums
        self._sums = {}
        means = dict(zip(names, (sums[:, 0] / sums[:, 1]).tolist(), strict=True))
        bad = [name for name, mean in means.items() if not torch.isfinite(torch.tensor(mean))]
        if bad:
            self.fail(
                f"{' and '.join(bad)} became NaN or infinite within the {min(self.config.log_every, self.step)} steps "
                f"before step {self.step}"
            )
        return means

    def _log(self, losses: Mapping[str, float], rate: float, *, sync: bool = False) -> None:
        record: dict[str, Any] = {
            "step": self.step,
            "kimg": self.step * self.config.batch / 1000,
            "images_per_second": rate,
            "losses": dict(losses),
            "projections": self._projection_stats(),
            **(self._diagnostics() if self._diagnostics is not None else {}),
        }
        self.run.log(record, sync=sync)
        if self.config.tracker != "none" and self.step:
            flat = {f"loss/{name}": value for name, value in losses.items()}
            for name, stats in record["projections"].items():
                flat |= {f"{name}/{key}": value for key, value in stats.items() if isinstance(value, (int, float))}
            flat |= {f"validation/{key}": value for key, value in record.get("validation", {}).items() if key != "step"}
            flat |= {key: record[key] for key in ("images_per_second", "kimg", "learning_rate") if key in record}
            self.accelerator.log(flat, step=self.step)

    def _projection_stats(self) -> dict[str, dict[str, Any]]:
        treated: dict[int, dict[str, Any]] = {}
        if self.treatment is not None:
            for param, stats in zip(self.treatment.params, self.treatment.stats(), strict=True):
                treated[id(param)] = {key: stats[key] for key in _TREATMENT_STATS}
        rows = {}
        for name, projection in self.projections.items():
            weight = projection.parameter if projection.weight is None else projection.weight()
            matrix = weight.detach().flatten(1)
            rows[name] = {
                **weight_diagnostics(matrix),
                **treated.get(id(projection.parameter), {}),
            }
        return rows

    def _checkpoint(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.main:
            assert self._model is not None
            state = {"step": self.step, "parts": {name: part.state_dict() for name, part in self._parts.items()}}
            provenance = {"step": self.step, "seed": self.config.seed, "data": self.config.data.name}
            if self.config.supervision is not None:
                provenance["supervision"] = self.config.supervision
            self.run.save_checkpoint(self.step, self._model, state, provenance=provenance)
        self.accelerator.wait_for_everyone()


_TREATMENT_STATS = (
    "last_lr",
    "olr_proposed",
    "olr_acceptance",
    "cosine",
    "zero_gradients",
    "nonfinite_gradients",
)
