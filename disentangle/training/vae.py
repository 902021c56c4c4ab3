"""Training of the VAE family: one loop, one objective chosen by the configuration."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import nn

from disentangle.data import open_data
from disentangle.looking import own_randomness
from disentangle.models import VAE
from disentangle.signatures import checks_arguments
from disentangle.training.config import FactorVAEObjective, VAETraining
from disentangle.training.generator_penalty import independence
from disentangle.training.initial import initial_generator
from disentangle.training.objectives import CodeDiscriminator, permute_codes, reconstruction_error, regulariser
from disentangle.training.optimizers import attach_treatment, build_optimizer
from disentangle.training.pairs import check_pairs, paired_batch, share_posteriors
from disentangle.training.presets import data_arguments
from disentangle.training.reconstructions import write_reconstructions
from disentangle.training.session import Progress, Session, Stateful, TrainingResult

__all__ = ["train_vae"]


@checks_arguments
def train_vae(
    config: VAETraining, out: str | os.PathLike[str], *, device: str = "auto", progress: Progress | None = None
) -> TrainingResult:
    """Train a VAE, or continue a run.

    Args:
        config: what to train; see :func:`disentangle.training.preset_config`.
        out: the run folder. If it holds a checkpoint of the same configuration, training goes on from there and ends
            with the weights an unbroken run would have.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: called after every step.

    Raises:
        ConfigError: if ``out`` holds another run, or the data has no factors and pairs are asked for.
        TrainingFailed: if a loss became NaN or infinite.
        Interrupted: after SIGINT, SIGTERM or SIGHUP, once a checkpoint is saved.
    """
    with Session(config, out, device=device, progress=progress) as session:
        return session.result(_train(session, config))


def _train(session: Session, config: VAETraining) -> nn.Module:
    source = open_data(**data_arguments(config.data.model_dump()))
    factors = None if config.pairs == "none" else check_pairs(config, source)

    model = session.place(initial_generator(config, fresh=session.run.latest is None))
    assert isinstance(model, VAE)
    optimizer = build_optimizer(config.optimizer, model.parameters())
    treatment = attach_treatment(config.treatment, optimizer, model.projections())
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
    critic = critic_optimizer = None
    if isinstance(config.objective, FactorVAEObjective):
        with own_randomness(config.seed + 1):
            critic = CodeDiscriminator(config.model.latent_dim, config.objective.discriminator_width)
        critic = critic.to(session.device)
        critic_optimizer = torch.optim.Adam(critic.parameters(), lr=config.objective.discriminator_lr, betas=(0.5, 0.9))
        parts |= {"critic": critic, "critic_optimizer": critic_optimizer}
    session.prepare(
        parts,
        model=model,
        sample=lambda: write_reconstructions(session, model, source, drawn="prior"),
        projections=model.projections(),
        treatment=treatment,
    )

    model.train()
    for step in session.steps():
        if factors is None:
            images = session.batch(source)
        else:
            images, changed = paired_batch(session, factors)
        noise = session.normal("posterior", config.model.latent_dim)
        with session.accelerator.autocast():
            mean, log_variance = model.posterior(images)
            if factors is not None:
                known = changed if config.pairs == "known" else None
                mean, log_variance = share_posteriors(mean, log_variance, known)
            z = mean + (0.5 * log_variance).exp() * noise
            logits = model.decode(z)
        reconstruction = reconstruction_error(logits.float(), images, config.reconstruction)
        terms = regulariser(
            config.objective,
            mean.float(),
            log_variance.float(),
            z.float(),
            step=step,
            dataset_size=len(source),
            discriminator=critic,
        )
        loss = reconstruction + terms["regulariser"]
        penalty = config.generator_penalty
        if penalty.kind != "none" and (step - 1) % penalty.every == 0:
            terms[penalty.kind] = independence(
                penalty, model, z.detach().float(), torch.ones_like(z[0].float()), batch=config.batch,
                shard=session.shard, stream=session.random,
            )  # fmt: skip
            loss = loss + penalty.scale * penalty.every * terms[penalty.kind]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        session.average_gradients(model.parameters())
        optimizer.step()
        session.record(loss=loss, reconstruction=reconstruction, **terms)

        if critic is not None and critic_optimizer is not None:
            # The codes of this batch are the joint sample; shuffled latent by latent they are the marginals'.
            joint = z.detach().float()
            logits = critic(torch.cat([joint, permute_codes(joint, session.random("permute"))]))
            labels = torch.arange(2, device=session.device).repeat_interleave(len(joint))
            critic_loss = F.cross_entropy(logits, labels)
            critic_optimizer.zero_grad(set_to_none=True)
            critic_loss.backward()
            session.average_gradients(critic.parameters())
            critic_optimizer.step()
            session.record(critic=critic_loss)
    return model
