"""Quantization of an FP32 graph to FP16 and INT8: activation ranges, Q/DQ placement, accuracy budget."""
