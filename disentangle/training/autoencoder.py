"""Training of autoencoders with quantised codes: QLAE, FSQ, Tripod.

A loop of its own beside the VAE's: a code of finitely many values has no posterior, no KL and no prior, its losses are
means over pixels, and only its weights decay and are clipped.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from disentangle.data import open_data
from disentangle.models import Autoencoder
from disentangle.models.base import build_model
from disentangle.models.ops.scalar_codebooks import ScalarCodebooks
from disentangle.training.autoencoder_config import AutoencoderTraining
from disentangle.training.code_usage import CodeUsage, revived
from disentangle.training.objectives import reconstruction_error
from disentangle.training.optimizers import attach_treatment, build_optimizer
from disentangle.training.presets.rows import data_arguments
from disentangle.training.quantisation import quantised_terms
from disentangle.training.reconstructions import write_reconstructions
from disentangle.training.session import Progress, Session, TrainingResult

__all__ = ["train_autoencoder"]


def train_autoencoder(
    config: AutoencoderTraining, out: str | os.PathLike[str], *, device: str = "auto", progress: Progress | None = None
) -> TrainingResult:
    """Train an autoencoder with quantised codes, or continue a run.

    Args, returned values and errors are those of :func:`disentangle.training.train_vae`. Each line of ``stats.jsonl``
    has ``codes``: how many values there are, and how many of them no picture took in the last ``usage_every`` steps.
    Of several processes each estimates Tripod's information, and a learnt variance, from its own part of the batch.
    """
    with Session(config, out, device=device, progress=progress) as session:
        return session.result(_train(session, config))


def _train(session: Session, config: AutoencoderTraining) -> nn.Module:
    source = open_data(**data_arguments(config.data.model_dump()))
    model = session.place(build_model(config.model, seed=config.seed))
    assert isinstance(model, Autoencoder)
    weights, others = decayed(model)
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    optimizer = build_optimizer(config.optimizer, groups)
    treatment = attach_treatment(config.treatment, optimizer, model.projections())
    usage = CodeUsage(config.model.latent_dim, config.model.quantiser.values, session.device)
    total = usage.counts.numel()
    session.prepare(
        {"model": model, "optimizer": optimizer, "usage": usage},
        model=model,
        sample=lambda: write_reconstructions(session, model, source, drawn="drawn"),
        projections=model.projections(),
        treatment=treatment,
        diagnostics=lambda: {"codes": {"values": total, "dead": usage.dead}},
    )
    pixels = source.image_shape[0] * config.model.resolution**2

    model.train()
    for step in session.steps():
        images = session.batch(source)
        with session.accelerator.autocast():
            continuous = model.continuous(images).float()
            z = model.quantiser(continuous)
            logits = model.decode(z)
        reconstruction = reconstruction_error(logits.float(), images, config.reconstruction) / pixels
        terms = quantised_terms(
            config.objective, model, continuous, z, batch=config.batch, shard=session.shard, stream=session.random
        )
        loss = reconstruction + terms["regulariser"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        session.average_gradients(model.parameters())
        if config.clip is not None:
            nn.utils.clip_grad_value_(model.parameters() if config.clip_all else weights, config.clip)
        optimizer.step()
        session.record(loss=loss, reconstruction=reconstruction, **terms)
        usage.add(model.quantiser.indices(continuous.detach()), session.mean)
        if step % config.usage_every == 0:
            counts = usage.close()
            if config.revive and isinstance(model.quantiser, ScalarCodebooks):
                values = model.quantiser.values
                with torch.no_grad():
                    values.copy_(revived(values, counts, session.random("revive")))
    return model


def decayed(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that decay, and the others: biases and codebooks."""
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        keeps = name.rpartition(".")[2] == "bias" or name.startswith("quantiser.")
        (others if keeps else weights).append(parameter)
    return weights, others
