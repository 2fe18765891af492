"""The fast training step, part by part; each part equals the plain maths to rounding."""
