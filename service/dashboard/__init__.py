"""The dashboard: a static web client of the API, and the routes that serve it."""
