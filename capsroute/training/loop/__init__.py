"""The training loop, and what it minimises, schedules, averages and records."""
