"""What the training of a generator starts from: random weights, or networks that are trained already."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from torch import nn

from disentangle.config import differences, parse_config
from disentangle.errors import CheckpointError, ConfigError, reason
from disentangle.io import find_model, load, load_discriminator, load_state
from disentangle.io.run_checkpoints import MODEL, STATE, damage, newest_checkpoint
from disentangle.json_files import read_json
from disentangle.models.base import build_model
from disentangle.nn import project
from disentangle.training.config import VAETraining
from disentangle.training.gan_config import GANTraining

__all__ = ["initial_generator", "run_config", "start_discriminator"]

logger = logging.getLogger(__name__)


def initial_generator(config: GANTraining | VAETraining, *, fresh: bool) -> nn.Module:
    """The generator at step 0.

    A projection that the file does not have yet starts at the nearest orthogonal weights to those in the file.

    Args:
        config: of the training.
        fresh: False if a checkpoint of the run holds the weights, so that ``config.init`` is not read any more.

    Raises:
        ConfigError: if the file's generator is another one than ``config.model``.
    """
    if config.init is None or not fresh:
        return build_model(config.model, seed=config.seed)
    generator: Any = load(config.init)
    wanted = config.model.projection
    new = wanted is not None and generator.config.projection is None
    compared = config.model.model_copy(update={"projection": None}) if new else config.model
    rows = differences(generator.config, compared)
    if rows:
        raise ConfigError(
            f"The generator in {config.init} is another one than the configured model; file != model: "
            f"{'; '.join(rows)}. Leave the model's fields to the file."
        )
    if new:
        assert wanted is not None
        project(generator, kind=wanted.kind, rank=wanted.rank, layers=wanted.layers or None)
    return generator.train().requires_grad_(True)


def start_discriminator(discriminator: nn.Module, config: GANTraining) -> None:
    """Give the discriminator the weights of its file, or of the run that ``config.init`` names, if that is the same.

    Raises:
        ConfigError: if the file's discriminator is another one than ``config.discriminator``.
    """
    if config.discriminator_init is not None:
        given: Any = load_discriminator(config.discriminator_init)
        rows = differences(given.config, config.discriminator)
        if rows:
            raise ConfigError(
                f"The discriminator in {config.discriminator_init} is another one than the configured one; file != "
                f"configuration: {'; '.join(rows)}. Leave the discriminator's fields to the file."
            )
        discriminator.load_state_dict(given.state_dict())
        return
    if config.init is None:
        return
    found = run_config(config.init)
    if found is None:
        logger.info("%s brings no discriminator; it starts from random weights", config.init)
        return
    if not isinstance(found, GANTraining) or found.discriminator != config.discriminator:
        logger.info("the discriminator of %s is another one; it starts from random weights", config.init)
        return
    folder = find_model(config.init).parent  # the checkpoint that the generator is of
    problem = damage(folder, (STATE,))
    if problem is not None:
        raise CheckpointError(
            f"{folder} is damaged ({problem}), and with it the discriminator; delete that folder to start from the "
            f"checkpoint before it, or give {folder / MODEL} to start with a new discriminator."
        )
    try:
        discriminator.load_state_dict(load_state(folder / STATE)["parts"]["discriminator"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{folder} has no discriminator that fits its own config.json ({reason(error)})."
        ) from None


def run_config(init: str | os.PathLike[str]) -> GANTraining | VAETraining | None:
    """The configuration of a run folder of a generator with a checkpoint; None for anything else.

    Raises:
        ConfigError: if the folder's config.json does not validate.
    """
    path = Path(init) / "config.json"
    if not path.is_file() or newest_checkpoint(init, files=(MODEL,)) is None:
        return None
    record = read_json(path, what="a configuration", error=ConfigError)
    if not isinstance(record, dict):
        raise ConfigError(f"{path} holds no configuration; expected a JSON object.")
    kinds: dict[str, type[GANTraining | VAETraining]] = {"gan": GANTraining, "vae": VAETraining}
    training = kinds.get(str(record.get("kind")))
    return None if training is None else parse_config(training, record, source=str(path))
