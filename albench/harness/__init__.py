"""Harness: scenarios, suites, a runner that isolates and resumes, records, environment."""
