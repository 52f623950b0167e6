"""The worker: an agent that claims trials from the service, and the training processes that execute them."""
