"""What runs on a GPU: driver, graphs, kernels, pipeline and engines; importing it loads nothing of CUDA."""
