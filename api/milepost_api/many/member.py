"""One job on a stream of many."""

from __future__ import annotations

from collections.abc import Callable

from milepost_api.hub import Subscription


class Member:
    """Tells its stream, once, that the job has news; what they are, the subscription says when it is asked."""

    __slots__ = ("_news", "job_id", "missed", "subscription")

    def __init__(self, job_id: str, subscription: Subscription, news: Callable[[Member, bool], None]) -> None:
        """`news(member, urgent)` is called whenever there may be something; it is `urgent` that a job has ended."""
        self.job_id, self.subscription, self._news = job_id, subscription, news
        topic = subscription.topic
        self.missed = topic.last if topic else 0
        """What the reader missed before it came is all replayed; only later it can be too slow."""
        if topic is not None:
            topic.watchers[self] = self

    def close(self) -> None:
        """Give the topic back. Idempotent."""
        if topic := self.subscription.topic:
            topic.watchers.pop(self, None)
        self.subscription.close()

    def changed(self) -> None:
        """Take note of a change of the topic: what it is, is looked at later."""
        topic = self.subscription.topic
        self._news(self, topic is not None and (topic.done or topic.gone))
