"""HTTP: thin routers, one per noun; what they do is said by the use cases."""
