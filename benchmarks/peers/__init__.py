"""The queues that `dev.py bench` runs side by side: each with the same three jobs, each as its README says."""

NOTES = "bench:notes"
"""The list in Redis where jobs leave the moments that they note."""
