"""The dashboard: a static client of the API in the browser, and the routes that serve it."""
