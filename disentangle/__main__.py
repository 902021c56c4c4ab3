"""``python -m disentangle``, which ``torchrun -m`` and ``accelerate launch -m`` need."""

from disentangle.cli import main

if __name__ == "__main__":
    main()
