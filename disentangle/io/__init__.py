"""The disk: model files, training states, run folders, the zoo."""

from disentangle.io.checkpoint import find_model, load, load_state, model_config, model_info, save, save_state
from disentangle.io.discriminators import discriminator_config, load_discriminator, save_discriminator
from disentangle.io.published import fetch
from disentangle.io.runs import RunFolder
from disentangle.io.summary import is_run, model_summary
from disentangle.io.zoo import PublishedEntry, ZooEntry, published_entries, zoo_entries, zoo_entry
from disentangle.tensor_files import read_weights

__all__ = [
    "PublishedEntry",
    "RunFolder",
    "ZooEntry",
    "discriminator_config",
    "fetch",
    "find_model",
    "is_run",
    "load",
    "load_discriminator",
    "load_state",
    "model_config",
    "model_info",
    "model_summary",
    "published_entries",
    "read_weights",
    "save",
    "save_discriminator",
    "save_state",
    "zoo_entries",
    "zoo_entry",
]


def __dir__() -> list[str]:
    return sorted(__all__)
