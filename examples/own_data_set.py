"""A data set of yours, registered: `open_data`, configurations and the command line know it by its name."""

import torch

import disentangle
from disentangle.data import DataSource, open_data, register


class Stripes:
    """A record needs three things: the shape of its images, how many, and the images at some positions."""

    def __init__(self, resolution: int, *, width: int = 2) -> None:
        self.image_shape = (1, resolution, resolution)
        self.width = width

    def __len__(self) -> int:
        return 1000

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        columns = torch.arange(self.image_shape[2])
        lit = ((columns + indices[:, None]) // self.width) % 2
        return lit[:, None, None].expand(-1, *self.image_shape).float()


stripes = DataSource(
    name="stripes",
    title="Stripes",
    kind="images",
    factors="none",
    image_shape="1 x R x R",
    source="this file",
    licence="CC0",
    open=lambda asked: asked.build(Stripes, asked.needed_resolution()),
    needs_files=False,
)
register(stripes)

data = open_data("stripes", resolution=16, width=4)
disentangle.viz.save_grid(data.images(torch.arange(8)).unsqueeze(0), "stripes.png", image_range=(0, 1))
print(len(data), "images of", data.image_shape, "- written: stripes.png")
