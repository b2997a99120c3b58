"""LE-HRNet from checkpoint to device: train, export, calibrate, run and measure a light pose network."""

__version__ = "0.1.0"
