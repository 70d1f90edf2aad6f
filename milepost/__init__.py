"""Milepost: live progress for background jobs."""
