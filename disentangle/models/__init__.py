"""Generators, encoders and classifiers, one family a file. Importing this package registers all kinds."""

from disentangle.models.autoencoder import Autoencoder, AutoencoderConfig, QuantiserConfig
from disentangle.models.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from disentangle.models.base import (
    Encoder,
    Generator,
    LatentSpace,
    Projection,
    StyleLayer,
    build_model,
    config_class,
    model_kinds,
    register_model,
)
from disentangle.models.classifier import Classifier, ClassifierConfig
from disentangle.models.dcgan import DCGAN, DCGANConfig
from disentangle.models.eigengan import EigenGAN, EigenGANConfig
from disentangle.models.gan import SimpleGAN, SimpleGANConfig
from disentangle.models.mlp_gan import MLPGAN, MLPGANConfig
from disentangle.models.mlp_vae import MLPVAE, MLPVAEConfig
from disentangle.models.progan import ProGAN, ProGANConfig
from disentangle.models.stylegan1 import StyleGAN1, StyleGAN1Config
from disentangle.models.stylegan2 import StyleGAN2, StyleGAN2Config
from disentangle.models.stylegan3 import StyleGAN3, StyleGAN3Config
from disentangle.models.vae import VAE, VAEConfig
from disentangle.models.wrapped import WrappedConfig, WrappedGenerator, WrappedStyleGenerator, as_generator, wrap

__all__ = [
    "DCGAN",
    "MLPGAN",
    "MLPVAE",
    "VAE",
    "Autoencoder",
    "AutoencoderConfig",
    "AutoencoderKL",
    "AutoencoderKLConfig",
    "Classifier",
    "ClassifierConfig",
    "DCGANConfig",
    "EigenGAN",
    "EigenGANConfig",
    "Encoder",
    "Generator",
    "LatentSpace",
    "MLPGANConfig",
    "MLPVAEConfig",
    "ProGAN",
    "ProGANConfig",
    "Projection",
    "QuantiserConfig",
    "SimpleGAN",
    "SimpleGANConfig",
    "StyleGAN1",
    "StyleGAN1Config",
    "StyleGAN2",
    "StyleGAN2Config",
    "StyleGAN3",
    "StyleGAN3Config",
    "StyleLayer",
    "VAEConfig",
    "WrappedConfig",
    "WrappedGenerator",
    "WrappedStyleGenerator",
    "as_generator",
    "build_model",
    "config_class",
    "model_kinds",
    "register_model",
    "wrap",
]


def __dir__() -> list[str]:
    return sorted(__all__)
