"""`study errors`: the examples that a model gets wrong, groups of them, what fixing them gains, likely label errors."""
