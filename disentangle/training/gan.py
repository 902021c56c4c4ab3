"""Training of EigenGAN and the simple GAN: one loop, with the loss and the penalty chosen by the configuration."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from disentangle.data import ImageSource, open_data
from disentangle.models.base import build_model
from disentangle.models.discriminators import build_discriminator
from disentangle.training.adversarial import LOSSES, gradient_penalty, r1_penalty
from disentangle.training.augment import DiffAugment
from disentangle.training.config import GANTraining
from disentangle.training.ema import EMA
from disentangle.training.optimizers import attach_treatment, build_optimizer
from disentangle.training.presets import data_arguments
from disentangle.training.session import Progress, Session, TrainingResult
from disentangle.viz import save_grid

__all__ = ["train_gan"]


def train_gan(
    config: GANTraining, out: str | os.PathLike[str], *, device: str = "auto", progress: Progress | None = None
) -> TrainingResult:
    """Train a generator against a discriminator, or continue a run.

    Args and exceptions are those of :func:`disentangle.training.train_vae`. The result's model is the generator with
    averaged weights.
    """
    begun = time.perf_counter()
    session = Session(config, os.fspath(out), device=device, progress=progress)
    source = open_data(**data_arguments(config.data.model_dump()))

    generator = session.place(build_model(config.model, seed=config.seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        discriminator = session.place(build_discriminator(config.discriminator))
    average = EMA(generator, config.ema)
    optimizer = build_optimizer(config.optimizer, generator.parameters())
    discriminator_optimizer = build_optimizer(config.discriminator_optimizer, discriminator.parameters())
    projections = generator.projections()  # type: ignore[operator]
    session.prepare(
        {
            "generator": generator,
            "discriminator": discriminator,
            "average": average,
            "optimizer": optimizer,
            "discriminator_optimizer": discriminator_optimizer,
        },
        model=average.model,
        sample=lambda: write_samples(session, average.model),
        projections=projections,
        treatment=attach_treatment(config.treatment, optimizer, projections),
    )
    discriminator_loss, generator_loss = LOSSES[config.loss]
    autocast = session.accelerator.autocast

    for step in session.steps():
        real = real_images(session, source)
        augment = augmentation(session)

        # The discriminator: tell real from fake, with a penalty on its gradient now and then.
        with torch.set_grad_enabled(config.reuse_fakes), autocast():
            generated = generator(session.latents("discriminator", generator)).float()
        fake = generated.detach()
        with autocast():
            real_logits, fake_logits = discriminator(augment("real", real)), discriminator(augment("fake", fake))
        loss = discriminator_loss(real_logits.float(), fake_logits.float())
        losses = {"discriminator": loss}
        if config.penalty.kind != "none" and (step - 1) % config.penalty.every == 0:
            penalty = gradient_penalty_of(session, discriminator, real, fake, augment)
            losses["penalty"] = penalty
            loss = loss + config.penalty.weight * (config.penalty.every if config.penalty.lazy else 1) * penalty
        discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        session.average_gradients(discriminator.parameters())
        discriminator_optimizer.step()

        # The generator: pass for real. Its projections' treatment runs inside the optimizer's step.
        discriminator.requires_grad_(False)
        with autocast():
            if not config.reuse_fakes:
                generated = generator(session.latents("generator", generator)).float()
            logits = discriminator(augment("generated", generated))
        losses["generator"] = generator_loss(logits.float())
        optimizer.zero_grad(set_to_none=True)
        losses["generator"].backward()
        session.average_gradients(generator.parameters())
        optimizer.step()
        discriminator.requires_grad_(True)
        average.update(generator)
        session.record(**losses)
    return TrainingResult(session.run, average.model.eval(), session.step, time.perf_counter() - begun)


def real_images(session: Session, source: ImageSource) -> Tensor:
    """This step's shard of real images in [-1, 1], flipped at random if the configuration says so."""
    images = 2 * session.batch(source) - 1
    config = session.config
    assert isinstance(config, GANTraining)
    if config.flip:
        flipped = session.uniform("flip") < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


def augmentation(session: Session) -> Callable[[str, Tensor], Tensor]:
    """``augment(purpose, images)``: DiffAugment with random numbers of this step and purpose."""
    config = session.config
    assert isinstance(config, GANTraining)
    change = DiffAugment(config.augment, config.augment_probability)

    def augment(purpose: str, images: Tensor) -> Tensor:
        return change(images, session.random(f"augment {purpose}"), session.shard, config.batch)

    return augment


def gradient_penalty_of(
    session: Session, discriminator: nn.Module, real: Tensor, fake: Tensor, augment: Callable[[str, Tensor], Tensor]
) -> Tensor:
    """The configured penalty, in full precision."""
    config = session.config
    assert isinstance(config, GANTraining)
    if config.penalty.kind == "r1":
        return r1_penalty(discriminator, real, lambda images: augment("real", images))
    return gradient_penalty(discriminator, real, fake, session.uniform("between"))


@torch.no_grad()
def write_samples(session: Session, generator: nn.Module, rows: int = 6, columns: int = 10) -> None:
    """The same latents at every call."""
    latents = generator.sample_latents(rows * columns, generator=session.random("sample", 0))  # type: ignore[operator]
    images = generator(latents)
    path = session.run.path / "samples" / f"{session.step:06d}.png"
    save_grid(images.reshape(rows, columns, *images.shape[1:]), path, scale=max(1, 48 // images.shape[-1]))
