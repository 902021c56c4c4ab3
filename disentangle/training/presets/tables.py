"""Settings that work, one aligned row each; the one for the resolution is the default."""

from __future__ import annotations

from typing import Any

__all__ = ["AUTOENCODER", "CLASSIFIER", "GAN", "PROGAN", "STYLEGAN", "VAE"]

# A row is for one kind of model and one resolution. Rows with a paper's data set in their name hold that paper's
# settings (Song, Sebe, Wang 2023; Wei et al. 2021); the others were found on the data they name.
#
#   lr = generator / discriminator;  penalty = kind, weight, every;  d = discriminator kind, channels
# fmt: off
GAN_COLUMNS = ("kind", "size", "channels", "latent", "d", "loss", "penalty", "lr", "betas", "batch", "ema", "augment", "steps")  # noqa: E501
GAN: dict[str, tuple[Any, ...]] = {
    "eigengan-32":        ("eigengan",  32, (128, 64, 32, 24),               (6, 64),  ("strided", (32, 64, 128)),                     "non-saturating", ("r1", 3, 8),       (5e-4, 4e-4), (0.5, 0.99),   32, 0.998,   (),     5_000),  # noqa: E501
    "eigengan-64":        ("eigengan",  64, (192, 128, 64, 32, 24),          (6, 64),  ("strided", (32, 64, 128, 192)),                "non-saturating", ("r1", 5, 8),       (5e-4, 4e-4), (0.5, 0.99),   32, 0.998,   (),    20_000),  # noqa: E501
    "eigengan-animeface": ("eigengan", 128, (512, 256, 128, 64, 32, 16),     (6, 512), ("paired",  (16, 32, 64, 128, 256, 512)),       "hinge-clipped",  ("r1", 10, 16),     (1e-4, 1e-4), (0.5, 0.99),   64, 0.99557, "all", 500_000),  # noqa: E501
    "eigengan-ffhq":      ("eigengan", 256, (512, 512, 256, 128, 64, 32, 16), (6, 512), ("paired", (16, 32, 64, 128, 256, 512, 512)),  "hinge-clipped",  ("r1", 10, 16),     (1e-4, 1e-4), (0.5, 0.99),   64, 0.99557, "all", 500_000),  # noqa: E501
    "gan-32":             ("gan",       32, (256, 128, 64, 64),              12,       ("strided", (64, 128, 256)),                    "non-saturating", ("r1", 1, 8),       (2e-4, 2e-4), (0.5, 0.99),   32, 0.998,   (),    10_000),  # noqa: E501
    "gan-dsprites":       ("gan",       64, (512, 256, 128, 64, 64),         12,       ("strided-in", (64, 128, 256, 512)),            "non-saturating", ("wgan-gp", 20, 1), (2e-4, 2e-4), (0.5, 0.999), 128, 0.0,     (),   300_000),  # noqa: E501
    "gan-celeba":         ("gan",      128, (1024, 1024, 512, 256, 128, 64), 30,       ("strided-in", (64, 128, 256, 512, 1024)),      "non-saturating", ("wgan-gp", 20, 1), (2e-4, 2e-4), (0.5, 0.999), 128, 0.0,     (),   600_000),  # noqa: E501
    "gan-church":         ("gan",      128, (1024, 1024, 512, 256, 128, 64), 30,       ("strided-in", (64, 128, 256, 512, 1024)),      "non-saturating", ("wgan-gp", 20, 1), (2e-4, 2e-4), (0.5, 0.999), 128, 0.0,     (),   600_000),  # noqa: E501
}


# Of StyleGAN2. latent = z, w, layers of the mapping network;  r1 = weight without the factor 1/2, every 16 steps;
# path = weight of the path length, every 4 steps;  lr and betas before the correction for lazy regularisation.
# Church and FFHQ: Karras et al. 2020 as trained for the Householder projector (Song et al., ICCV 2023). 128 and 512:
# NVIDIA's stylegan2-ada-pytorch, its "auto" at 128 pixels (R1 of 0.0002 resolution^2 / batch) and its "paper512", whose
# R1 is small because it was trained with adaptive augmentation: --augment ada.
STYLEGAN_COLUMNS = ("kind", "size", "channels", "latent", "r1", "path", "mixing", "lr", "batch", "ema", "augment", "flip", "steps")  # noqa: E501
STYLEGAN: dict[str, tuple[Any, ...]] = {
    "stylegan2-32":     ("stylegan2",   32, (128, 128, 64, 32),                            (64, 64, 4),   1, 2, 0.9, 2e-3, 16, 0.998,   (), False,  20_000),  # noqa: E501
    "stylegan2-64":     ("stylegan2",   64, (128, 128, 128, 64, 32),                       (128, 128, 4), 1, 2, 0.9, 2e-3, 16, 0.998,   (), False,  30_000),  # noqa: E501
    "stylegan2-128":    ("stylegan2",  128, (512, 512, 512, 512, 256, 128),                (512, 512, 2), 0.0512, 2, 0.9, 2.5e-3, 32, 0.99778, (), False, 780_000),  # noqa: E501
    "stylegan2-church": ("stylegan2",  256, (512, 512, 512, 512, 256, 128, 64),            (512, 512, 8), 5, 2, 0.9, 2e-3, 32, 0.99778, (), True,  780_000),  # noqa: E501
    "stylegan2-512":    ("stylegan2",  512, (512, 512, 512, 512, 512, 256, 128, 64),       (512, 512, 8), 0.25, 2, 0.9, 2.5e-3, 64, 0.99778, (), True,  390_000),  # noqa: E501
    "stylegan2-ffhq":   ("stylegan2", 1024, (512, 512, 512, 512, 512, 256, 128, 64, 32),   (512, 512, 8), 5, 2, 0.9, 2e-3, 32, 0.99778, (), True,  780_000),  # noqa: E501
}

# growth = first resolution, thousands of pictures while a new resolution fades in, and while it is trained whole.
# From 128 pixels on the widths and phases of Karras et al. 2018; their batches of the last phases were smaller for want
# of memory (14, 6 and 3 from 256 pixels on), which --accumulate saves too.
PROGAN_COLUMNS = ("kind", "size", "channels", "latent", "growth", "lr", "batch", "ema", "flip", "steps")
PROGAN: dict[str, tuple[Any, ...]] = {
    "progan-32":      ("progan",  32, (128, 128, 64, 32),                    64,  (8,  30,  30), 1e-3, 16, 0.999, False,  12_500),  # noqa: E501
    "progan-64":      ("progan",  64, (128, 128, 128, 64, 32),               128, (8,  40,  40), 1e-3, 16, 0.999, False,  25_000),  # noqa: E501
    "progan-celeba":  ("progan", 128, (512, 512, 512, 512, 256, 128),        512, (8, 600, 600), 1e-3, 16, 0.999, True,  750_000),  # noqa: E501
    "progan-church":  ("progan", 256, (512, 512, 512, 512, 256, 128, 64),    512, (8, 600, 600), 1e-3, 16, 0.999, True,  750_000),  # noqa: E501
    "progan-512":     ("progan", 512, (512, 512, 512, 512, 256, 128, 64, 32), 512, (8, 600, 600), 1e-3, 16, 0.999, True, 750_000),  # noqa: E501
    "progan-celebahq": ("progan", 1024, (512, 512, 512, 512, 256, 128, 64, 32, 16), 512, (8, 600, 600), 1e-3, 16, 0.999, True, 750_000),  # noqa: E501
}

# pairs = weak supervision: "pairs-32" is told which factor of rooms changed, "vae-*" nothing.
VAE_COLUMNS = ("kind", "size", "channels", "hidden", "latent", "decoder", "likelihood", "pairs", "objective", "lr", "batch", "steps")  # noqa: E501
VAE: dict[str, tuple[Any, ...]] = {
    "vae-32":   ("vae",  32, (32, 32, 64),         256, 10, "plain", "bernoulli",        "none",  {"kind": "beta-tcvae", "beta": 6.0}, 5e-4, 64,  50_000),  # noqa: E501
    "vae-64":   ("vae",  64, (32, 32, 64, 64),     256, 10, "plain", "bernoulli",        "none",  {"kind": "beta-tcvae", "beta": 6.0}, 5e-4, 64, 100_000),  # noqa: E501
    "vae-128":  ("vae", 128, (32, 32, 64, 64, 64), 256, 10, "plain", "bernoulli",        "none",  {"kind": "beta-tcvae", "beta": 6.0}, 5e-4, 64, 100_000),  # noqa: E501
    "pairs-32": ("vae",  32, (32, 32, 64),         128,  6, "style", "gaussian-learned", "known", {"kind": "beta-vae", "beta": 1.0},   5e-4, 64, 120_000),  # noqa: E501
}

# Autoencoders with quantised codes. values = how many each latent can take;  decay = of AdamW;  clip = entries of which
# gradients are cut off at 1. Those of 64 pixels are the released configurations of Hsu et al. (QLAE: NeurIPS 2023;
# Tripod: ICML 2024), whose latents are two for each factor: 12 of 3D Shapes (and Rooms), 14 of MPI3D and Falcor3D, 18
# of Isaac3D. Those of 32 pixels are for a CPU and tuned by nobody.
AUTOENCODER_COLUMNS = ("kind", "size", "network", "channels", "hidden", "latent", "values", "objective", "lr", "decay", "clip", "batch", "steps")  # noqa: E501
AUTOENCODER: dict[str, tuple[Any, ...]] = {
    "qlae-32":         ("qlae",   32, "style",    (16, 32, 64),       128, 12, 10, {"kind": "qlae"},   1e-3, 0.1,   "weights",  64,  20_000),  # noqa: E501
    "qlae-64":         ("qlae",   64, "style",    (32, 64, 128, 256), 256, 12, 10, {"kind": "qlae"},   1e-3, 0.1,   "weights", 128, 200_000),  # noqa: E501
    "qlae-mpi3d":      ("qlae",   64, "style",    (32, 64, 128, 256), 256, 14, 10, {"kind": "qlae"},   1e-3, 0.001, "weights", 128, 200_000),  # noqa: E501
    "fsq-32":          ("fsq",    32, "style",    (16, 32, 64),       128, 12, 12, {"kind": "fsq"},    1e-3, 0.0,   "weights",  64,  20_000),  # noqa: E501
    "fsq-64":          ("fsq",    64, "residual", (32, 64, 128, 256), 256, 12, 12, {"kind": "fsq"},    2e-4, 0.0,   "all",      64, 250_000),  # noqa: E501
    "tripod-32":       ("tripod", 32, "residual", (16, 32, 64),       128, 12, 12, {"kind": "tripod"}, 2e-4, 0.0,   "all",      64,  20_000),  # noqa: E501
    "tripod-64":       ("tripod", 64, "residual", (32, 64, 128, 256), 256, 12, 12, {"kind": "tripod"}, 2e-4, 0.0,   "all",      64, 250_000),  # noqa: E501
    "tripod-mpi3d":    ("tripod", 64, "residual", (32, 64, 128, 256), 256, 14, 12, {"kind": "tripod", "information": 1e-8, "hessian": 1e-4}, 2e-4, 0.0, "all", 64, 250_000),  # noqa: E501
    "tripod-falcor3d": ("tripod", 64, "residual", (32, 64, 128, 256), 256, 14, 12, {"kind": "tripod", "information": 1e-10, "hessian": 1e-2}, 2e-4, 0.0, "all", 64, 250_000),  # noqa: E501
    "tripod-isaac3d":  ("tripod", 64, "residual", (32, 64, 128, 256), 256, 18, 12, {"kind": "tripod", "information": 1e-4, "hessian": 1e-8}, 2e-4, 0.0, "all", 64, 250_000),  # noqa: E501
}

# dbn = norm of the stem, and eps and running statistic of "dbn";  cov = pooling, and reduced channels, eps and what
# follows the reduction of "cov";  head = factor of the head's rate;  schedule = shares of the run at which the rate
# falls to a tenth, or "one-cycle".
# The small ones: at most ten minutes on two cores for 60,000 grey pictures. The others: Song, Sebe, Wang 2023
# (decorrelated BN on CIFAR) and the training scripts of the covariance pooling that it builds on.
CLASSIFIER_COLUMNS = ("kind", "size", "arch", "dbn", "cov", "lr", "decay", "schedule", "clip", "head", "batch", "epochs", "crop", "flip")  # noqa: E501
CLASSIFIER: dict[str, tuple[Any, ...]] = {
    "classifier-small-28":           ("classifier",  28, "small",    ("bn",  1e-3, "covariance"), ("avg", 24, 1e-3, "bn"),       0.1,    5e-4, "one-cycle",                          None,  1, 128,   8,  0, False),  # noqa: E501
    "classifier-small-32":           ("classifier",  32, "small",    ("bn",  1e-3, "covariance"), ("avg", 24, 1e-3, "bn"),       0.1,    5e-4, "one-cycle",                          None,  1, 128,   8,  0, False),  # noqa: E501
    "classifier-resnet18-cifar10":   ("classifier",  32, "resnet18", ("dbn", 1e-2, "matrix"),     ("avg", 256, 1e-5, "bn_relu"), 0.1,    5e-4, (100 / 350, 200 / 350, 300 / 350),    None,  1, 128, 350,  4, True),  # noqa: E501
    "classifier-resnet50-cifar100":  ("classifier",  32, "resnet50", ("dbn", 1e-2, "matrix"),     ("avg", 256, 1e-5, "bn_relu"), 0.1,    5e-4, (100 / 350, 200 / 350, 300 / 350),    None,  1, 128, 350,  4, True),  # noqa: E501
    "classifier-resnet50-imagenet":  ("classifier", 224, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 0.0794, 1e-4, (30 / 60, 45 / 60),                   5.0,   1, 256,  60, 28, True),  # noqa: E501
    "classifier-resnet50-birds":     ("classifier", 448, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 3e-3,   1e-4, (50 / 200, 100 / 200),                5.0,  20,  10, 200, 56, True),  # noqa: E501
    "classifier-resnet50-cars":      ("classifier", 448, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 3e-3,   1e-4, (50 / 200, 100 / 200),                5.0,  10,  10, 200, 56, True),  # noqa: E501
    "classifier-resnet50-aircraft":  ("classifier", 448, "resnet50", ("bn",  1e-5, "covariance"), ("cov", 256, 1e-5, "bn_relu"), 3e-3,   1e-3, (21 / 50, 40 / 50),                   5.0,   5,   8,  50, 56, True),  # noqa: E501
}
# fmt: on
