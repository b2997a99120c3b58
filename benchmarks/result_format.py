"""The format of result files; apart from `results`, which loads OpenCV with the machine's properties."""

FORMAT = "lehrnet-result-1"
