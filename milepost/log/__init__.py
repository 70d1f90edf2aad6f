"""The job log on Redis: the only package that knows its keys and its Lua.

Redis is the truth of a live job. Everything that happens to one is appended by a script that checks,
numbers, stores and publishes in one step (DESIGN §3), so state, history and notification cannot disagree.
"""

from milepost.log.announcements import Announcement
from milepost.log.bookmarks import Bookmark, Bookmarks
from milepost.log.calls import Call, ReportCalls
from milepost.log.catalogue import Catalogue, Load, RunningJob, TaskInfo, WorkerInfo
from milepost.log.joblog import JobLog
from milepost.log.keys import JOBS_CHANNEL, bookmarks_channel, live_channel
from milepost.log.looks import Looks
from milepost.log.places import Place
from milepost.log.scripts import SCRIPTS, Script
from milepost.log.shapes import Claim, Created, Entry, NewJob, Taken, View

__all__ = [
    "JOBS_CHANNEL",
    "SCRIPTS",
    "Announcement",
    "Bookmark",
    "Bookmarks",
    "Call",
    "Catalogue",
    "Claim",
    "Created",
    "Entry",
    "JobLog",
    "Load",
    "Looks",
    "NewJob",
    "Place",
    "ReportCalls",
    "RunningJob",
    "Script",
    "Taken",
    "TaskInfo",
    "View",
    "WorkerInfo",
    "bookmarks_channel",
    "live_channel",
]
