"""What lies on disk: run folders and everything in them, and the index over them."""
