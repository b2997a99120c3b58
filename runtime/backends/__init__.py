"""Sessions on the CPU's own runtimes: one backend is one file."""
