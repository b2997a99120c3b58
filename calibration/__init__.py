"""From an FP32 graph to FP16 and INT8: ranges, rules, and what they cost in keypoints."""
