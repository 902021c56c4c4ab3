"""A VAE on images with known factors: trained for seconds, scored and traversed. Real ones train for longer."""

import disentangle
from disentangle.evaluations import encode_dataset, mig
from disentangle.training import preset_config, train_vae

config = preset_config(
    "vae", data={"name": "sprites", "resolution": 32}, batch=64, steps=150, objective={"kind": "beta-vae", "beta": 4}
)
result = train_vae(config, "runs/example-vae", device="cpu")  # run it again: it continues, or says that it is done

sprites = disentangle.data.open_data("sprites", resolution=32)
codes, factors = encode_dataset(result.model.encode, sprites, n=1000)
score = mig(codes, factors)
print(f"MIG {score.value:.3f} (chance {score.chance:.3f}, ceiling {score.ceiling:.3f}) after {config.steps} steps")

walks = disentangle.traverse(result.model, seeds=[0], steps=7)
disentangle.viz.save_grid(walks[0], "vae.png", image_range=(0, 1))
print("written: vae.png, runs/example-vae")
