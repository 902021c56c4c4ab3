"""Pictures, animations, figures and the HTML report."""

from disentangle.viz.grid import image_grid, save_grid, to_pil
from disentangle.viz.video import animation_frames, save_animation

__all__ = ["animation_frames", "image_grid", "save_animation", "save_grid", "to_pil"]


def __dir__() -> list[str]:
    return sorted(__all__)
