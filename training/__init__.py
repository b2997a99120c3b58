"""Training: packed crops, recipes and the trainer."""
