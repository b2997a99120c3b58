"""What each step of a GPU's day does, in its own process."""
