"""Looking inside finished runs, in a process of its own."""
