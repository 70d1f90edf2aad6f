"""Milepost beside its peers: same machine, same run, server on one core and client on the other."""
