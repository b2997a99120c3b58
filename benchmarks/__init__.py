"""Benchmarks of cost, latency and accuracy, compared with the paper's figures."""
