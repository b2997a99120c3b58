"""Sessions on other inference runtimes: one file per backend."""
