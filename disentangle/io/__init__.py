"""The disk: model files, training states, run folders, the zoo."""

from disentangle.io.checkpoint import find_model, load, load_state, model_config, model_info, save, save_state
from disentangle.io.discriminators import discriminator_config, load_discriminator, save_discriminator
from disentangle.io.runs import RunFolder
from disentangle.io.zoo import ZooEntry, zoo_entries, zoo_entry
from disentangle.tensor_files import read_weights

__all__ = [
    "RunFolder",
    "ZooEntry",
    "discriminator_config",
    "find_model",
    "load",
    "load_discriminator",
    "load_state",
    "model_config",
    "model_info",
    "read_weights",
    "save",
    "save_discriminator",
    "save_state",
    "zoo_entries",
    "zoo_entry",
]
