"""The commands of `study`: one module per group, one function per command."""
