"""Decorrelated batch normalisation and covariance pooling put into a network that exists, without changing its code."""

import torch
import torchvision

import disentangle

torch.manual_seed(0)
images = torch.randn(16, 3, 64, 64)

model = torchvision.models.resnet18(num_classes=10)
disentangle.nn.replace_norm(model, "bn1", channels_per_group=32)  # batch normalisation -> whitening of 32 channels each
disentangle.nn.replace_pool(model, reduction=64)  # average -> root of the covariance of 64 channels
print(model.bn1)
print(model.avgpool)

optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):  # it trains as before
    loss = torch.nn.functional.cross_entropy(model(images), torch.arange(16) % 10)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {loss.item():.3f}, {sum(p.numel() for p in model.parameters()):,} weights")
