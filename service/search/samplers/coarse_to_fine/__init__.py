"""Coarse-to-fine search: stages, the boxes that they search, and the reasons for them."""
