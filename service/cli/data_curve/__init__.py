"""`study data-curve`: what more training data would give, by a power law through trainings on parts of the data."""
