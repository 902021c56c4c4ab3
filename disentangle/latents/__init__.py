"""Directions in a latent space, and walks along them."""

from disentangle.latents.activity import activity, most_active
from disentangle.latents.basis import basis
from disentangle.latents.directions import Directions, fingerprint
from disentangle.latents.ganspace import ganspace, read_ganspace
from disentangle.latents.inversion import Inversion, invert
from disentangle.latents.jacobian import jacobian_axes
from disentangle.latents.latent_file import Latents
from disentangle.latents.method import DirectionMethod
from disentangle.latents.methods import METHODS, find_directions, register
from disentangle.latents.random_directions import random_directions
from disentangle.latents.sefa import sefa
from disentangle.latents.style_channels import style_channels
from disentangle.latents.traversal import check_fit, start_columns, traverse
from disentangle.latents.turning import rotation, turn

__all__ = [
    "METHODS",
    "DirectionMethod",
    "Directions",
    "Inversion",
    "Latents",
    "activity",
    "basis",
    "check_fit",
    "find_directions",
    "fingerprint",
    "ganspace",
    "invert",
    "jacobian_axes",
    "most_active",
    "random_directions",
    "read_ganspace",
    "register",
    "rotation",
    "sefa",
    "start_columns",
    "style_channels",
    "traverse",
    "turn",
]


def __dir__() -> list[str]:
    return sorted(__all__)
