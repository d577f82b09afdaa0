"""One file a sense: raw <-> tokens, its encoder and its decoder."""
