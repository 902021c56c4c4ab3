"""Registry, cards and weights of the bundled models."""

if __name__ != "disentangle.pretrained":
    raise ImportError(f"{__name__} is a part of disentangle; expected import disentangle.pretrained.")
