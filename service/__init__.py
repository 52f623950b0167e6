"""The search service: stores studies, assigns trials to workers and explains its decisions."""
