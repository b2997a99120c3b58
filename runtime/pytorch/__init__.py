"""The PyTorch backend: the only package of the runtime that imports torch and the network."""
