"""The CUDA backend: driver, graphs, kernels, pipeline and engines; importing this package does not load CUDA."""
