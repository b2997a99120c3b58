"""One-off measurements, each run by `python -m`, that fill `benchmarks/results` and support what the docs say."""
