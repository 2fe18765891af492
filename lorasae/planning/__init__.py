"""Before a run starts: what it will take, whether it fits together, what its text looks like."""
