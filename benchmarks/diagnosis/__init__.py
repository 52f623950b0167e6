"""Trainings that fail in known ways and healthy ones, and a measurement of the rules of one trial on them."""
