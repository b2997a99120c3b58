"""Training a network: packed crops, recipes and the trainer."""
