"""What a run costs: parameters, operations, bytes and seconds, as arithmetic over sizes. No torch."""
