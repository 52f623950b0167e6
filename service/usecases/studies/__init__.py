"""Studies: create, edit, extend, fork and delete them, and questions about them."""
