"""Runs that the lab does for its owners: admitted, queued, started, watched."""
