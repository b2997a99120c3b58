"""LE-HRNet from checkpoint to device: train, export, calibrate, run and measure a light pose network."""

import os

# ONNX Runtime 1.32 for Linux sends telemetry unless this stands in the environment when it is loaded; nothing that
# lehrnet starts phones home (SECURITY.md).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
