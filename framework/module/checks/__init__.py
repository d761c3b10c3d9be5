"""What a user's program is looked at for, before a run and in it, so that a mistake in it is an error."""
