"""Engines that people run already, fitted to a bundle: Triton for many clients, a pool or Ray for archives."""
