"""The durable outbox: keeps every claim id, report and outcome on disk until the service has answered it."""
