"""PyTorch as a backend: the only room of the runtime that knows the network and torch."""
