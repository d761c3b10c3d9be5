"""One batch of everything, measured, and everything put back."""
