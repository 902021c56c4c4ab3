"""Learning-rate schedules: pure functions of the step, so that a continued run needs no state of them."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import pydantic

from disentangle.config import Config

__all__ = [
    "ConstantSchedule",
    "CosineSchedule",
    "OneCycleSchedule",
    "ScheduleConfig",
    "StepSchedule",
    "learning_rate_factor",
]


class ConstantSchedule(Config):
    """The base rate throughout."""

    kind: Literal["constant"] = "constant"


class OneCycleSchedule(Config):
    """Up and down along half cosines: from ``start`` times the base rate to it within ``warmup`` of the run, then to
    ``end`` times it (Smith and Topin 2017, in the form of fast.ai; momentum is not cycled)."""

    kind: Literal["one-cycle"] = "one-cycle"
    warmup: float = pydantic.Field(0.3, gt=0, lt=1)
    start: float = pydantic.Field(0.04, ge=0, le=1)
    end: float = pydantic.Field(4e-6, ge=0, le=1)


class CosineSchedule(Config):
    """Linear from 0 within ``warmup`` of the run, then half a cosine down to ``end`` (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = pydantic.Field(0.0, ge=0, lt=1)
    end: float = pydantic.Field(0.0, ge=0, le=1)


class StepSchedule(Config):
    """Times ``factor`` at each of the ``milestones``, given as shares of the run."""

    kind: Literal["step"] = "step"
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = pydantic.Field(0.1, gt=0, le=1)

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> StepSchedule:
        if not all(0 < share < 1 for share in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones are {self.milestones}; expected rising shares of the run between 0 and 1")
        return self


ScheduleConfig = Annotated[
    ConstantSchedule | OneCycleSchedule | CosineSchedule | StepSchedule, pydantic.Field(discriminator="kind")
]


def learning_rate_factor(
    schedule: ConstantSchedule | OneCycleSchedule | CosineSchedule | StepSchedule, step: int, steps: int
) -> float:
    """What to multiply the base rate with in step 1, 2, ... of ``steps``.

    >>> [learning_rate_factor(StepSchedule(milestones=(0.5,)), step, 4) for step in (1, 2, 3, 4)]
    [1.0, 1.0, 0.1, 0.1]
    """
    if isinstance(schedule, ConstantSchedule):
        return 1.0
    done = (step - 1) / steps  # the share of the run that lies behind
    if isinstance(schedule, StepSchedule):
        # a share such as 100/350 of the run may be a rounding above the step that is meant
        return schedule.factor ** sum(done + 1e-9 >= share for share in schedule.milestones)
    # One-cycle and cosine reach their last value in the last step.
    done = (step - 1) / max(1, steps - 1)
    if done < schedule.warmup:
        rising = done / schedule.warmup
        if isinstance(schedule, CosineSchedule):
            # the first step is not wasted on a rate of zero
            return max(rising, 1 / max(1.0, schedule.warmup * steps))
        return _between(schedule.start, 1.0, rising)
    return _between(1.0, schedule.end, (done - schedule.warmup) / (1 - schedule.warmup))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
