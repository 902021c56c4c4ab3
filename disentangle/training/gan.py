"""Training of generators against a discriminator: one loop; families differ in the terms of their losses."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from disentangle.data import ImageSource, LabelledImageSource, check_classes, open_data
from disentangle.errors import InputError
from disentangle.looking import own_randomness
from disentangle.models.base import Projection
from disentangle.models.discriminators import build_discriminator
from disentangle.signatures import checks_arguments
from disentangle.training.augmentation import Augmentation
from disentangle.training.ema import EMA
from disentangle.training.fakes import Fakes
from disentangle.training.gan_config import GANTraining
from disentangle.training.gan_terms import DiscriminatorTerms, GeneratorTerms, Terms
from disentangle.training.growing import at_level_of_detail, level_of_detail
from disentangle.training.initial import initial_generator, start_discriminator
from disentangle.training.optimizers import attach_treatment, build_optimizer
from disentangle.training.presets import data_arguments
from disentangle.training.session import Progress, Session, TrainingResult
from disentangle.viz import save_grid

__all__ = ["train_gan"]


@checks_arguments
def train_gan(
    config: GANTraining, out: str | os.PathLike[str], *, device: str = "auto", progress: Progress | None = None
) -> TrainingResult:
    """Train a generator against a discriminator, or continue a run.

    Args and exceptions are those of :func:`disentangle.training.train_vae`. The result's model is the generator with
    averaged weights. A checkpoint's ``model.safetensors`` is this one; its ``state.pt`` has both networks.

    A logged line has, besides the terms of both losses, ``lod`` while a ProGAN grows, ``path_length`` of a StyleGAN,
    and ``augment_probability`` where it is adaptive.
    """
    with Session(config, out, device=device, progress=progress) as session:
        return session.result(_train(session, config))


def _train(session: Session, config: GANTraining) -> nn.Module:
    source = open_data(**data_arguments(config.data.model_dump()))
    labelled = with_its_classes(config, source)
    fresh = session.run.latest is None

    generator = session.place(initial_generator(config, fresh=fresh))
    with own_randomness(config.seed + 1):
        discriminator = session.place(build_discriminator(config.discriminator))
    if fresh:
        start_discriminator(discriminator, config)
    average = EMA(generator, config.ema)
    averaged: Any = average.model
    projections = treated_projections(generator)
    trained = trained_parameters(generator, config)
    optimizer = build_optimizer(config.optimizer, rate_groups(generator, trained, config))
    discriminator_optimizer = build_optimizer(config.discriminator_optimizer, discriminator.parameters())
    fakes = Fakes(session, generator, mixing=config.style_mixing, labels=None if labelled is None else labelled.labels)
    augment = Augmentation(session)
    of_discriminator = DiscriminatorTerms(session, discriminator, augment)
    of_generator = GeneratorTerms(session, generator, fakes)
    session.prepare(
        {
            "generator": generator,
            "discriminator": discriminator,
            "average": average,
            "optimizer": optimizer,
            "discriminator_optimizer": discriminator_optimizer,
            **of_generator.parts(),
            **augment.parts(),
        },
        model=average.model,
        sample=lambda: write_samples(session, average.model),
        projections=projections,
        treatment=attach_treatment(config.treatment, optimizer, projections),
        diagnostics=lambda: {**of_generator.news(), **augment.news(), **fakes.options},
    )
    autocast = session.accelerator.autocast

    for step in session.steps():
        real = real_images(session, source)
        classes = None if labelled is None else session.labels(labelled)
        if config.growth is not None:
            lod = level_of_detail(config.growth, (step - 1) * config.batch, config.model.resolution)
            real = at_level_of_detail(real, lod)
            fakes.options["lod"] = of_discriminator.options["lod"] = lod
            averaged.config = averaged.config.model_copy(update={"lod": lod})  # what a checkpoint draws at
        generator_learns = step > config.discriminator_first
        reused: Tensor | None = None

        # The discriminator: tell real from fake, with a penalty on its gradient now and then.
        discriminator_optimizer.zero_grad(set_to_none=True)
        for piece in session.pieces(config.accumulate):
            with torch.set_grad_enabled(config.reuse_fakes and generator_learns), autocast():
                reused = fakes("discriminator").float()
            seen = real[piece], None if classes is None else classes[piece]
            backward(session, of_discriminator(seen, (reused.detach(), fakes.classes("discriminator"))))
        session.average_gradients(discriminator.parameters())
        discriminator_optimizer.step()

        # The generator: pass for real. Its projections' treatment runs inside the optimizer's step.
        if generator_learns:
            discriminator.requires_grad_(False)
            optimizer.zero_grad(set_to_none=True)
            purpose = "discriminator" if config.reuse_fakes else "generator"
            for _ in session.pieces(config.accumulate):
                with autocast():
                    generated = reused if config.reuse_fakes else fakes(purpose).float()
                    assert generated is not None
                    logits = of_discriminator.logits("generated", generated, fakes.classes(purpose))
                backward(session, of_generator(logits.float()))
            session.average_gradients([*trained, *of_generator.parameters()])
            optimizer.step()
            of_generator.step()
            discriminator.requires_grad_(True)
            average.update(generator)
        augment.adapt()
    return average.model


def backward(session: Session, terms: Terms) -> None:
    """Gradients of the weighted sum of the terms, which are logged without their weights."""
    config = session.config
    assert isinstance(config, GANTraining)
    loss = sum((weight * value for value, weight in terms.values()), start=torch.zeros((), device=session.device))
    (loss / config.accumulate).backward()
    session.record(**{name: value for name, (value, _) in terms.items()})


def treated_projections(generator: Any) -> dict[str, Projection]:
    """The projections whose orthogonality is of interest: those made orthogonal, or else all."""
    projections: dict[str, Projection] = generator.projections()
    chosen = generator.config.projection
    return projections if chosen is None else {name: projections[name] for name in chosen.layers}


def trained_parameters(generator: Any, config: GANTraining) -> list[nn.Parameter]:
    """The generator's parameters that the optimizer moves; the others are frozen."""
    generator.requires_grad_(config.trains == "all")
    if config.trains == "projections":
        for name in treated_projections(generator):
            layer = generator.projection_layers()[name]
            for own_name, own in layer.module.named_parameters():
                if own_name == layer.parameter or own_name.startswith(f"parametrizations.{layer.parameter}."):
                    own.requires_grad_(True)
    return [parameter for parameter in generator.parameters() if parameter.requires_grad]


def rate_groups(
    generator: Any, trained: list[nn.Parameter], config: GANTraining
) -> list[nn.Parameter] | list[dict[str, Any]]:
    """What the optimizer is built with: importances of directions in a group of their own if they have their own rate.

    Otherwise there are no groups, so that checkpoints of runs without such a rate stay what they were.
    """
    if config.importance_lr == 1:
        return trained
    importances = [projection.importance for projection in generator.projections().values()]
    own = {id(importance) for importance in importances if importance is not None}
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if id(parameter) not in own]},
        {"params": [parameter for parameter in trained if id(parameter) in own]},
    ]
    groups[1]["lr"] = config.importance_lr * config.optimizer.lr
    return groups


def with_its_classes(config: GANTraining, source: ImageSource) -> LabelledImageSource | None:
    """The pictures with the classes that a conditional generator is trained on, None for one without classes.

    Raises:
        DataError: if the pictures have no classes.
        InputError: if they have more or fewer than the generator.
    """
    c_dim = getattr(config.model, "c_dim", 0)
    if not c_dim:
        return None
    labelled = check_classes(source, config.data.name, training=False)
    if len(labelled.class_names) != c_dim:
        raise InputError(
            f"{config.data.name} has {len(labelled.class_names)} classes, but the model has {c_dim}; give other data, "
            "or another model."
        )
    return labelled


def real_images(session: Session, source: ImageSource) -> Tensor:
    """This step's shard of real images in [-1, 1], flipped at random if the configuration says so."""
    images = 2 * session.batch(source) - 1
    config = session.config
    assert isinstance(config, GANTraining)
    if config.flip:
        flipped = session.uniform("flip") < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


@torch.no_grad()
def write_samples(session: Session, generator: nn.Module, rows: int = 6, columns: int = 10) -> None:
    """The same latents at every call; of a conditional generator each column is of one class."""
    latents = generator.sample_latents(rows * columns, generator=session.random("sample", 0))  # type: ignore[operator]
    c_dim: Any = getattr(generator, "c_dim", 0)
    options = [{"label": torch.arange(columns) % c_dim} if c_dim else {}] * rows
    images = torch.cat([
        generator(piece, **given) for piece, given in zip(latents.split(columns), options, strict=True)
    ])  # fmt: skip
    path = session.run.path / "samples" / f"{session.step:06d}.png"
    save_grid(images.reshape(rows, columns, *images.shape[1:]), path, scale=max(1, 48 // images.shape[-1]))
