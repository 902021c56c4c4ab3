"""What every training loop needs besides its own mathematics: devices, draws, logs, checkpoints.

Gradients are averaged over processes by one all-reduce before the optimizer steps (and before any treatment in its
hooks), not by DistributedDataParallel, whose bookkeeping does not fit several backward passes a step.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from disentangle.devices import resolve_device
from disentangle.errors import ConfigError, DisentangleError
from disentangle.io import RunFolder
from disentangle.linalg import effective_condition_number, orthogonality_error
from disentangle.models.base import Projection
from disentangle.optim import Treatment
from disentangle.training.config import TrainingConfig
from disentangle.training.devices import make_accelerator
from disentangle.training.draws import Draws

__all__ = ["Interrupted", "Progress", "Session", "Stateful", "TrainingFailed", "TrainingResult"]


class Stateful(Protocol):
    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


class TrainingFailed(DisentangleError):
    """A loss became NaN or infinite; the last checkpoint is from before."""


class Interrupted(DisentangleError):
    """The run was stopped by a signal after saving a checkpoint."""


@dataclass(frozen=True)
class TrainingResult:
    """A finished (or continued and finished) training.

    Attributes:
        run: its folder.
        model: the trained model (of a GAN the averaged generator), in evaluation mode.
        steps: steps trained in all.
        seconds: wall time of this call.
    """

    run: RunFolder
    model: nn.Module
    steps: int
    seconds: float


# Called after every step with (steps done, steps in all, images per second so far, latest losses).
Progress = Callable[[int, int, float, Mapping[str, float]], None]


class Session(Draws):
    """One training run on this process.

    Args:
        config: the run's configuration.
        out: the run folder; a finished checkpoint in it is continued.
        device: see :func:`resolve_device`; under ``torchrun`` or ``accelerate launch`` each process takes its own.
        progress: called after every step on the main process.
    """

    def __init__(
        self,
        config: TrainingConfig,
        out: str,
        *,
        device: str = "auto",
        progress: Progress | None = None,
    ) -> None:
        chosen = resolve_device(device)
        self.run = RunFolder(out, config, may_differ=config.may_grow)
        self.accelerator = make_accelerator(
            chosen, precision=config.precision, tracker=config.tracker, folder=str(self.run.path)
        )
        self.progress = progress
        self.main = self.accelerator.is_main_process
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        if config.batch % world:
            raise ConfigError(f"batch is {config.batch}, which {world} processes cannot share evenly.")
        local = config.batch // world
        if local % getattr(config, "accumulate", 1):
            raise ConfigError(
                f"accumulate is {config.accumulate}, which a batch of {config.batch} on {world} processes cannot be "  # type: ignore[attr-defined]
                "divided into; give a divisor of each process's part."
            )
        super().__init__(config, slice(rank * local, (rank + 1) * local), self.accelerator.device)
        self.projections: Mapping[str, Projection] = {}
        self.treatment: Treatment | None = None
        self._parts: dict[str, Stateful] = {}
        self._sums: dict[str, Tensor] = {}
        self._stop: str | None = None
        self._model: nn.Module | None = None
        self._sample: Callable[[], None] | None = None
        self._diagnostics: Callable[[], Mapping[str, Any]] | None = None

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
            if set(state["parts"]) != set(self._parts):
                raise ConfigError(
                    f"The checkpoint in {self.run.path} holds {sorted(state['parts'])}, but this training has "
                    f"{sorted(self._parts)}; it cannot be continued."
                )
            for name, part in self._parts.items():
                part.load_state_dict(state["parts"][name])
            self.step = state["step"]
        if self.main:
            self.run.start(str(self.device))
            self.run.forget_after(self.step)
            if state is None:
                self._log({}, 0.0)
        if self.config.tracker != "none":
            self.accelerator.init_trackers("disentangle")

    @property
    def shows(self) -> bool:
        """Whether this step is one after which the model is looked at: every ``sample_every`` steps, and at the end."""
        return self.step == self.config.steps or self.step % self.config.sample_every == 0

    def steps(self) -> Iterator[int]:
        """Step numbers to train, 1 to ``config.steps``; after each one, logs, samples and checkpoints as configured.

        Raises:
            TrainingFailed: if a loss became NaN or infinite; nothing of it is saved.
            Interrupted: after SIGINT or SIGTERM, once a checkpoint is saved.
        """
        restore = self._catch_signals()
        first, begun = self.step, time.perf_counter()
        logged, logged_at, saved = self.step, begun, self.step
        losses: dict[str, float] = {}
        try:
            while self.step < self.config.steps:
                self.step += 1
                yield self.step
                last = self.step == self.config.steps
                stop = self._stop is not None
                due_checkpoint = last or stop or self.step % self.config.checkpoint_every == 0
                if due_checkpoint or self.step % self.config.log_every == 0:
                    now = time.perf_counter()
                    losses = self._mean_losses()
                    if self.main:
                        with self._writing():
                            self._log(losses, (self.step - logged) * self.config.batch / (now - logged_at))
                    logged, logged_at = self.step, now
                if self.main and self._sample is not None and self.shows:
                    with self._writing():
                        self._sample()
                if due_checkpoint and saved != self.step:
                    self._checkpoint()
                    saved = self.step
                if self.main and self.progress is not None:
                    rate = (self.step - first) * self.config.batch / (time.perf_counter() - begun)
                    self.progress(self.step, self.config.steps, rate, losses)
                if stop and not last:
                    raise Interrupted(
                        f"Stopped by {self._stop} at step {self.step} of {self.config.steps}; the same command "
                        f"continues {self.run.path}."
                    )
        finally:
            restore()
            self.close()
            if self.config.tracker != "none":
                self.accelerator.end_training()

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
        where = f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"
        raise TrainingFailed(f"{what}; {where}. Lower the learning rate, or look at stats.jsonl for what grew.")

    # ---------------------------------------------------------------------------------------------- internals

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a full disk into a sentence."""
        try:
            yield
        except OSError as error:
            good = self.run.latest
            raise TrainingFailed(
                f"Step {self.step} could not be written to {self.run.path} ({error.strerror or error}); "
                f"{'there is no checkpoint yet' if good is None else f'the last good checkpoint is {good}'}. "
                "Make room; the same command then continues."
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
                f"{' and '.join(bad)} became NaN or infinite within the {self.config.log_every} steps before step "
                f"{self.step}"
            )
        return means

    def _log(self, losses: Mapping[str, float], rate: float) -> None:
        record: dict[str, Any] = {
            "step": self.step,
            "kimg": self.step * self.config.batch / 1000,
            "images_per_second": rate,
            "losses": dict(losses),
            "projections": self._projection_stats(),
            **(self._diagnostics() if self._diagnostics is not None else {}),
        }
        self.run.log(record)
        if self.config.tracker != "none" and self.step:
            flat = {f"loss/{name}": value for name, value in losses.items()}
            for name, stats in record["projections"].items():
                flat |= {f"{name}/{key}": value for key, value in stats.items() if isinstance(value, (int, float))}
            self.accelerator.log({**flat, "images_per_second": rate}, step=self.step)

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
                "orthogonality_error": float(orthogonality_error(matrix)),
                "condition_number": float(effective_condition_number(matrix)),
                **treated.get(id(projection.parameter), {}),
            }
        return rows

    def _checkpoint(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.main:
            assert self._model is not None
            state = {"step": self.step, "parts": {name: part.state_dict() for name, part in self._parts.items()}}
            provenance = {"step": self.step, "seed": self.config.seed, "data": self.config.data.name}
            self.run.save_checkpoint(
                self.step, self._model, state, provenance=provenance, keep=self.config.keep_checkpoints
            )
        self.accelerator.wait_for_everyone()

    def _catch_signals(self) -> Callable[[], None]:
        """Finish the step and save on the first SIGINT or SIGTERM; a second one acts at once."""
        if self.accelerator.num_processes > 1:  # processes must stop at the same step; checkpoints bound the loss
            return lambda: None

        def handle(number: int, frame: FrameType | None) -> None:
            self._stop = signal.Signals(number).name
            restore()

        previous: dict[int, Any] = {}

        def restore() -> None:
            for number, handler in previous.items():
                signal.signal(number, handler)
            previous.clear()

        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                previous[number] = signal.signal(number, handle)
        except ValueError:  # not the main thread: the caller's signals are the caller's
            restore()
        return restore


_TREATMENT_STATS = (
    "last_lr",
    "olr_proposed",
    "olr_acceptance",
    "cosine",
    "zero_gradients",
    "nonfinite_gradients",
)
