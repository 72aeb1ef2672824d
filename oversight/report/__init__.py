"""The report: one page and report.json of a finished check, from its artifacts alone. Torch-free."""
