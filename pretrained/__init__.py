"""Registry, cards and weights of the bundled models."""
