"""The fault suite: real jobs, real processes, a fault at a random moment, and laws that every story must keep.

`python3 dev.py faults` runs hundreds of rounds, `python3 dev.py test` a few. Rooms: `tasks` and `witness` (what
really ran, seen from outside), `story` and `laws` (pure: what was seen of one job, and what must hold),
`house` (the processes and what can be done to them), `scenarios` (the faults), `rounds` (the driver).
"""
