"""NOG and OLR on one layer of an ordinary classifier: the optimizer, the loop and the checkpoint stay as they are."""

import torch

import disentangle

torch.manual_seed(0)
images, labels = torch.rand(512, 1, 16, 16), torch.arange(512) % 4
images += labels[:, None, None, None] * torch.linspace(0, 1, 16)[:, None]  # something to learn

model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 49, 4)
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

# Under Adam the step itself is made orthogonal, and the weight is put back on the orthogonal matrices.
handle = disentangle.orthogonalize(optimizer, model[0].weight, nog=True, mode="update", retraction="polar")

for _ in range(60):
    batch = torch.randperm(512)[:64]
    loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

weight = model[0].weight.detach().flatten(1)
print(f"loss {loss.item():.3f}")
print(f"orthogonality error of the treated weight {handle.stats()[0]['orthogonality_error']:.1e}")
print(f"condition number {torch.linalg.cond(weight).item():.4f}")
handle.remove()  # the optimizer steps as it was built from here on
