"""What a training of an autoencoder with quantised codes is."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from disentangle.config import Config
from disentangle.models.autoencoder import AutoencoderConfig
from disentangle.training.config import OptimizerConfig, TrainingConfig

__all__ = ["AutoencoderTraining", "FSQObjective", "QLAEObjective", "QuantisedObjective", "TripodObjective"]


class QLAEObjective(Config):
    """QLAE (Hsu et al., NeurIPS 2023): reconstruction, quantisation and commitment loss of learnt codebooks.

    Its other half is weight decay: 0.1 on 3D Shapes, 0.001 on MPI3D, both decoupled from the gradient.
    """

    kind: Literal["qlae"] = "qlae"
    quantisation: float = pydantic.Field(0.01, ge=0)
    commitment: float = pydantic.Field(0.01, ge=0)


class FSQObjective(Config):
    """Reconstruction alone, through evenly spaced values (Mentzer et al., ICLR 2024)."""

    kind: Literal["fsq"] = "fsq"


class TripodObjective(Config):
    """Tripod (Hsu et al., ICML 2024): evenly spaced values, kernel information, normalised Hessian penalty.

    Its weights were tuned for each data set with the true factors, and lie six decades apart: 3D Shapes 1e-4 and 1e-2
    (the default), MPI3D 1e-8 and 1e-4, Falcor3D 1e-10 and 1e-2, Isaac3D 1e-4 and 1e-8.
    """

    kind: Literal["tripod"] = "tripod"
    information: float = pydantic.Field(1e-4, ge=0)
    hessian: float = pydantic.Field(1e-2, ge=0)
    bandwidth: Literal["released", "consistent"] = "released"
    samples: int = pydantic.Field(2, ge=2, description="random directions")
    epsilon: float = pydantic.Field(0.1, gt=0, description="length of the differences")


QuantisedObjective = Annotated[
    QLAEObjective | FSQObjective | TripodObjective, pydantic.Field(discriminator="kind")
]  # fmt: skip


class AutoencoderTraining(TrainingConfig):
    """Training of an autoencoder with quantised codes, see :func:`disentangle.training.train_autoencoder`.

    Losses are means over pixels, as in the sources. Attributes:
        clip: largest absolute entry of a gradient; that of weights (what decays) with ``clip_all`` False, as QLAE's.
        usage_every: steps over which values that no picture takes are counted; each count is logged.
        revive: put such a value of a codebook beside the one that is taken most, each ``usage_every`` steps.
    """

    kind: Literal["autoencoder"] = "autoencoder"
    model: AutoencoderConfig
    objective: QuantisedObjective = QLAEObjective()
    reconstruction: Literal["bernoulli", "gaussian", "gaussian-learned"] = "bernoulli"
    optimizer: OptimizerConfig = OptimizerConfig(kind="adamw", lr=1e-3, weight_decay=0.1)
    clip: float | None = pydantic.Field(1.0, gt=0)
    clip_all: bool = False
    usage_every: int = pydantic.Field(1000, ge=1)
    revive: bool = False

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> AutoencoderTraining:
        quantiser = self.model.quantiser
        wanted = "codebooks" if isinstance(self.objective, QLAEObjective) else "fsq"
        if quantiser.kind != wanted:
            raise ValueError(
                f"objective {self.objective.kind!r} is for model.quantiser.kind {wanted!r}, not {quantiser.kind!r}"
            )
        if quantiser.values > self.batch:
            raise ValueError(
                f"model.quantiser.values is {quantiser.values}, but a batch of {self.batch} pictures can take no more "
                f"than {self.batch} of them; give fewer values, or a larger batch"
            )
        if self.revive and wanted == "fsq":
            raise ValueError("revive is for learnt codebooks; evenly spaced values stay where they are: leave it out")
        if self.batch < 2:
            raise ValueError("batch is 1; expected 2 or more pictures, whose codes are compared")
        return self
