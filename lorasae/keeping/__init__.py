"""Runs kept where they outlive this machine's disk: copied out while they change, brought back when the disk is new."""
