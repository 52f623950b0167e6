"""Examines a data file for `study look`: statistics of its columns, texts or images, and what is wrong with them."""
