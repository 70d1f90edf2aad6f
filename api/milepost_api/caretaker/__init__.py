"""What has to be done by one process at a time, whichever that is: chores, under one turn."""

from milepost_api.caretaker.caretaker import Caretaker, Chore
from milepost_api.caretaker.dispatch import Dispatcher
from milepost_api.caretaker.leases import Leases
from milepost_api.caretaker.patience import Patience
from milepost_api.caretaker.retention import Retention
from milepost_api.caretaker.start_deadlines import StartDeadlines

__all__ = ["Caretaker", "Chore", "Dispatcher", "Leases", "Patience", "Retention", "StartDeadlines"]
