"""The training step, written once for every backend: of a returned loss, of yielded losses, of a closure."""
