"""Training of a classifier: one loop, with whitening, pooling and treatments chosen by the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disentangle.data import LabelledImageSource, check_classes, hold_out, open_data, with_classes
from disentangle.data.folder import split_folders
from disentangle.errors import ConfigError
from disentangle.looking import own_randomness
from disentangle.models import Projection
from disentangle.models.classifier import Classifier
from disentangle.nn import spectral_layers
from disentangle.signatures import checks_arguments
from disentangle.tensor_files import read_weights
from disentangle.training.config import ClassifierTraining
from disentangle.training.crops import random_crop, random_flip
from disentangle.training.diagnostics import covariance_stats, first_nonfinite, weight_in_use
from disentangle.training.optimizers import attach_treatment, build_optimizer
from disentangle.training.presets import data_arguments
from disentangle.training.schedules import learning_rate_factor
from disentangle.training.session import Progress, Session, TrainingResult

__all__ = ["open_parts", "train_classifier"]


@checks_arguments
def train_classifier(
    config: ClassifierTraining, out: str | os.PathLike[str], *, device: str = "auto", progress: Progress | None = None
) -> TrainingResult:
    """Train a classifier, or continue a run.

    Args and exceptions are those of :func:`disentangle.training.train_vae`. A step whose gradient holds NaN or infinity
    is not taken: the training stops, names the layer where they came in and the last good checkpoint.

    A logged line has, besides the means of ``loss`` and ``accuracy`` on the (changed) training pictures: the
    ``learning_rate``; the last ``validation``; under ``spectral`` the conditioning of each meta-layer's covariance, see
    :func:`disentangle.training.diagnostics.covariance_stats`; under ``projections`` the orthogonality of each pre-SVD
    weight and what its treatment did.

    With several processes each normalises its own part of the batch, as usual for BatchNorm; whitening shares its
    statistics if ``model.dbn.synchronize`` is set. The checkpoint holds the first process's running statistics.
    """
    with Session(config, out, device=device, progress=progress) as session:
        return session.result(_train(session, config))


def _train(session: Session, config: ClassifierTraining) -> nn.Module:
    train, validation = open_parts(config)
    model = session.place(initial_model(config, fresh=session.run.latest is None))
    assert isinstance(model, Classifier)
    head = list(model.head.parameters())
    body = [p for p in model.parameters() if all(p is not other for other in head)]
    optimizer = build_optimizer(config.optimizer, [{"params": body}, {"params": head}])
    projections = pre_svd_projections(model)
    layers = spectral_layers(model.network)
    news: dict[str, Any] = {}

    def diagnostics() -> Mapping[str, Any]:
        line = {**news, "spectral": covariance_stats(layers, config.precision)}
        news.pop("validation", None)
        return line

    session.prepare(
        {"model": model, "optimizer": optimizer},
        model=model,
        projections=projections,
        treatment=attach_treatment(config.treatment, optimizer, projections),
        diagnostics=diagnostics,
    )

    model.train()
    parameters = list(model.parameters())
    for step in session.steps():
        rate = config.optimizer.lr * learning_rate_factor(config.schedule, step, config.steps)
        for group, factor in zip(optimizer.param_groups, (1.0, config.head_lr), strict=True):
            group["lr"] = factor * rate
        news["learning_rate"] = rate

        images, labels = session.batch(train), session.labels(train)
        if config.flip:
            images = random_flip(images, session.uniform("flip"))
        images = random_crop(images, config.crop_padding, session.uniform("crop", 2))
        with session.accelerator.autocast():
            logits = model(images).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        session.average_gradients(parameters)
        norm = clip_gradients(parameters, config.clip_norm)
        if not bool(torch.isfinite(norm)):
            with session.accelerator.autocast():
                where = first_nonfinite(model, images)
            session.fail(f"In step {step} {where} NaN or infinity, and the step was not taken")
        optimizer.step()
        session.record(loss=loss, accuracy=(logits.argmax(1) == labels).float().mean())

        if validation is not None and session.shows and session.main:
            news["validation"] = {"step": step, **validate(session, model, validation)}
    return model


def open_parts(config: ClassifierTraining) -> tuple[LabelledImageSource, LabelledImageSource | None]:
    """The pictures to learn from, and those kept apart to validate on, if any; never the test set's.

    Raises:
        DataError: if the data set has no labels, or a class of fewer than two pictures.
        ConfigError: if its classes are not the model's, or it is opened with mirror images.
        InputError: if more pictures are to be held out than there are.
    """
    name, arguments = config.data.name, data_arguments(config.data.model_dump())
    if config.data.options.get("flip"):
        raise ConfigError(
            "data.options.flip adds the mirror image of every picture, those kept apart included, to the ones that are "
            "learnt from; give flip=true of the training instead, which mirrors at random."
        )
    source = check_classes(open_data(**arguments), name)
    if source.class_names != config.model.class_names:
        raise ConfigError(
            f"{name} has the classes {', '.join(source.class_names)}, but model.class_names is "
            f"{', '.join(config.model.class_names)}; they must be the same, in the same order."
        )
    if config.validation:
        return hold_out(source, config.validation)
    if "validation" in split_folders(Path(name).expanduser()):
        validation = check_classes(open_data(**arguments, split="validation"), f"{name}'s val", training=False)
        return source, with_classes(validation, source.class_names, f"{name}'s val")
    return source, None


def initial_model(config: ClassifierTraining, *, fresh: bool) -> nn.Module:
    """The network at step 0, with the weights of ``config.init`` (not needed any more once there is a checkpoint)."""
    weights = read_weights(config.init) if config.init is not None and fresh else None
    with own_randomness(config.seed):
        return Classifier(config.model, weights=weights)


def pre_svd_projections(model: Classifier) -> dict[str, Projection]:
    """The pre-SVD weights in the form that treatments and the log take."""

    def in_use(layer: nn.Module) -> Callable[[], Tensor]:
        return lambda: weight_in_use(layer)

    layers = model.pre_svd_layers()
    return {
        name: Projection(
            parameter=parameter,
            space="features",
            depth=depth,
            coordinates=(),
            linear_map=in_use(layers[name]),
            weight=in_use(layers[name]),
        )
        for depth, (name, parameter) in enumerate(model.pre_svd().items())
    }


def clip_gradients(parameters: list[nn.Parameter], largest: float | None) -> Tensor:
    """The norm of all gradients together, before they are clipped to ``largest``."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if largest is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


@torch.no_grad()
def validate(session: Session, model: Classifier, source: LabelledImageSource) -> dict[str, float]:
    """Cross entropy and accuracy on all pictures of ``source``, in evaluation mode."""
    model.eval()
    loss = correct = 0.0
    for indices in torch.arange(len(source)).split(max(256, session.config.batch)):
        labels = source.labels[indices].to(session.device)
        with session.accelerator.autocast():
            logits = model(source.images(indices).to(session.device)).float()
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += float((logits.argmax(1) == labels).sum())
    model.train()
    return {"loss": loss / len(source), "accuracy": correct / len(source)}
