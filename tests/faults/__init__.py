"""The fault suite: real jobs, real processes, a fault at a random moment, and laws that every story must keep.

`python3 dev.py faults` runs hundreds of rounds, `python3 dev.py test` a few. Rooms: `tasks` and `witness` (what
really ran, seen from outside), `story` and `laws` (pure: what was seen of one job, and what must hold),
`house` (the processes and what can be done to them) in its `kinds`, `points` and `doom` (where an API is killed, and
how), `readers` and `work` (who follows jobs, and a load of them), `baseline` (what a house at rest may hold),
`scenarios` (the faults), `rounds` and `driver` (who plays them).
"""
