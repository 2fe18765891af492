"""The maths: tensors in, tensors out. No disk, no network, no clock, no config objects."""
