"""Records in SQL: that a job exists, and its history. Live state is in the job log, not here."""

from milepost.tenants import DEFAULT_TENANT
from milepost_api.records.conversions import job_of, new_job
from milepost_api.records.engine import Engines, open_engines
from milepost_api.records.intake import IdTaken, KeyTaken
from milepost_api.records.listing import COUNTED_MOST, JobCounts, JobFilter
from milepost_api.records.queues import QueueCounts
from milepost_api.records.standing import Standing
from milepost_api.records.store import JobStore, Outline
from milepost_api.records.table import JobRecord, fresh_record

__all__ = [
    "COUNTED_MOST",
    "DEFAULT_TENANT",
    "Engines",
    "IdTaken",
    "JobCounts",
    "JobFilter",
    "JobRecord",
    "JobStore",
    "KeyTaken",
    "Outline",
    "QueueCounts",
    "Standing",
    "fresh_record",
    "job_of",
    "new_job",
    "open_engines",
]
