"""What is kept of a run, and how one goes on from it."""
