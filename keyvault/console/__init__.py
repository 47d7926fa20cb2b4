"""Pages about rotations, and those that show keys together with their rotations."""
