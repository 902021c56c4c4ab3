"""Operations that several generators share, pure torch, each with a plain reference twin."""
