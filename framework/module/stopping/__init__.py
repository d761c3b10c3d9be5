"""Where a run may stop, and what asks it to."""
