"""How fast the polar factor is, and what NOG costs in a training step.

    python scripts/bench_polar.py [--threads 1]

Methods are interleaved in one process and medians of CPU time are compared, so that only ratios matter. On a CUDA
device wall time around a synchronisation is taken instead.
"""

from __future__ import annotations

import click
import torch
from timing import medians

from disentangle.linalg import polar
from disentangle.models import build_model
from disentangle.models.discriminators import build_discriminator
from disentangle.optim import orthogonalize
from disentangle.training import preset_config

SHAPES = ((64, 27), (64, 147), (64, 576), (256, 1024), (512, 512), (6, 8192), (6, 262144))


def svd_polar(matrix: torch.Tensor) -> torch.Tensor:
    """What the paper's code does."""
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def bench_shapes(device: torch.device, rounds: int) -> None:
    print(f"{'shape':>12} {'svd ms':>9} {'gram_eigh':>10} {'newton_schulz':>14}   times as fast as svd")
    for rows, columns in SHAPES:
        matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(device)
        result = medians(
            {
                "svd": lambda matrix=matrix: svd_polar(matrix),
                "gram_eigh": lambda matrix=matrix: polar(matrix),
                "newton_schulz": lambda matrix=matrix: polar(matrix, method="newton_schulz", steps=15),
            },
            rounds,
            device,
        )
        speed = {name: result["svd"] / value for name, value in result.items()}
        print(
            f"{rows}x{columns:<8} {result['svd']:9.3f} {speed['gram_eigh']:9.2f}x {speed['newton_schulz']:13.2f}x",
            flush=True,
        )


def bench_step(device: torch.device, batch: int, rounds: int) -> None:
    """A generator step and a discriminator step of EigenGAN at 128 pixels, with and without NOG."""
    config = preset_config("eigengan", data={"name": "rooms", "resolution": 128}, preset="eigengan-animeface")
    generator = build_model(config.model, seed=0).to(device)
    discriminator = build_discriminator(config.discriminator).to(device)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
    real = torch.rand(batch, 3, 128, 128, device=device) * 2 - 1
    latents = generator.sample_latents(batch, generator=torch.Generator().manual_seed(0))

    def step() -> None:
        discriminator.zero_grad()
        (discriminator(generator(latents).detach()).mean() - discriminator(real).mean()).backward()
        generator.zero_grad()
        (-discriminator(generator(latents)).mean()).backward()
        optimizer.step()

    step()
    gradients = [projection.parameter.grad.clone() for projection in generator.projections().values()]
    result = medians(
        {
            "step": step,
            "NOG by svd": lambda: [svd_polar(gradient) for gradient in gradients],
            "NOG": lambda: [polar(gradient) for gradient in gradients],
        },
        rounds,
        device,
    )
    handle = orthogonalize(optimizer, [p.parameter for p in generator.projections().values()], nog=True)
    treated = medians({"step": step}, rounds, device)["step"]
    handle.remove()
    print(f"EigenGAN 128x128, batch {batch}: step {result['step']:.0f} ms")
    for name in ("NOG by svd", "NOG"):
        print(f"  {name:12} {result[name]:8.2f} ms, {100 * result[name] / result['step']:.2f} % of the step")
    print(f"  treated step / plain step, separate medians: {treated / result['step']:.3f}")


@click.command()
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=25, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(threads: int, rounds: int, batch: int, device: str) -> None:
    torch.set_num_threads(threads)
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else f"cpu, {threads} thread(s)"
    print(f"torch {torch.__version__}, {name}, float32, medians of {rounds}")
    bench_shapes(where, rounds)
    bench_step(where, batch, max(3, rounds // 8))


if __name__ == "__main__":
    main()
