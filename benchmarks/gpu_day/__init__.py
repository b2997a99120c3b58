"""A borrowed GPU's half hour: steps by worth, each in its own process, with results that fit what comes back."""
