"""Directions in a latent space, and walks along them."""

from disentangle.latents.activity import activity, most_active
from disentangle.latents.basis import basis
from disentangle.latents.directions import Directions
from disentangle.latents.traversal import traverse

__all__ = ["Directions", "activity", "basis", "most_active", "traverse"]
