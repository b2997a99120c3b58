"""Measurements: cost, latency and accuracy beside the paper's figures."""
