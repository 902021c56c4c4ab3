"""Directions of a generator that this toolkit has never seen, and what each of them does."""

import torch
from torch import nn

import disentangle


class MyGenerator(nn.Module):
    """Stands for yours: z (n, 32) to images (n, 3, 32, 32) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose2d(32, 64, 4), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.net(z[:, :, None, None])


torch.manual_seed(0)
mine = MyGenerator()
generator = disentangle.wrap(mine, z_dim=32, projection=mine.net[0])
directions = disentangle.latents.sefa(generator, top=5)
walks = disentangle.traverse(generator, directions, seeds=[0], steps=7)

images = walks[0]  # (directions, steps, channels, height, width)
disentangle.viz.save_grid(images, "directions.png", row_labels=[f"direction {i}" for i in range(len(images))])
print("written: directions.png")
