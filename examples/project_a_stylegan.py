"""A StyleGAN2 whose layers pass ten orthonormal directions each; then ordinary layers again, with the same images."""

import torch

import disentangle
from disentangle.models import build_model

generator = build_model({"kind": "stylegan2", "resolution": 32, "channels": (32, 32, 16, 16)}, seed=0).eval()
disentangle.nn.project(generator, kind="householder", rank=10)  # at the nearest orthogonal weights; now train it
axes = disentangle.latents.basis(generator)
print(axes.vectors.shape[0], "directions, ten of each projected layer")

z = generator.sample_latents(4, generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    before = generator(z)
plain = disentangle.nn.bake(generator)
with torch.inference_mode():
    difference = (plain(z) - before).abs().max().item()
print(f"largest difference of the images after baking {difference:.1e}")
disentangle.save(plain, "plain.safetensors")
print("written: plain.safetensors, which every command reads")
