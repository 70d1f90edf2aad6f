"""The application: what is opened, in which order, and what answers where."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from milepost.background import end
from milepost.ids import new_job_id
from milepost.log import Catalogue, JobLog
from milepost.log.fitness import Fitness
from milepost.log.lifecycle import Lifecycle
from milepost.redis import connect, connect_subscriber
from milepost.upkeep import kept_running
from milepost_api import openapi, problems
from milepost_api.auth import Auth, KeyRing
from milepost_api.caretaker import (
    Caretaker,
    Chore,
    Dispatcher,
    Leases,
    Patience,
    Retention,
    StartDeadlines,
)
from milepost_api.catalogue import Offers
from milepost_api.crossing import cross_origin
from milepost_api.descriptors import room_for_streams
from milepost_api.desk import Desk
from milepost_api.express import Express
from milepost_api.hub import Times, open_hub
from milepost_api.limits import BodyLimit
from milepost_api.lookup import Lookup
from milepost_api.many import look, open_multiplexer
from milepost_api.memory import Memory
from milepost_api.pages import Pages
from milepost_api.prompt import PromptStreams, stands_alone
from milepost_api.protocol import Prompt
from milepost_api.recorder import Recorder
from milepost_api.records import JobStore, open_engines
from milepost_api.requests import RequestId
from milepost_api.revival import Revival
from milepost_api.roster import Roster
from milepost_api.routes import (
    bulk,
    catalogue,
    details,
    health,
    history,
    jobs,
    listing,
    many,
    status,
    streams,
    submit,
    tokens,
)
from milepost_api.services import Services
from milepost_api.settings import ApiSettings
from milepost_api.shortcut import Shortcut
from milepost_api.streaming import open_lanes
from milepost_api.tokens import Seals
from milepost_api.views import job_wire


class Application(FastAPI):
    """Answers requests without what FastAPI puts around all middlewares.

    Its telemetry is not used, and `RequestId` has caught every error before `ServerErrorMiddleware` could; both cost
    as much as opening a stream.
    """

    _offered: Prompt | None = None
    _stack_then: ASGIApp | None = None

    def offer(self, prompt: Prompt | None) -> None:
        """Let `StreamingProtocol` ask this before it asks the app, until something else is put around that."""
        self._offered, self._stack_then = prompt, self.middleware_stack

    @property
    def prompt(self) -> Prompt | None:
        """What is asked before the app, if anything."""
        return self._offered if self.middleware_stack is self._stack_then else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stack = self.middleware_stack  # what instrumentation has put around it included
        if scope["type"] != "http" or stack is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        if self.root_path:
            scope["root_path"] = self.root_path
        requests = stack.app if isinstance(stack, ServerErrorMiddleware) else stack
        await requests(scope, receive, send)


def create_app(settings: ApiSettings) -> FastAPI:
    """Return the ASGI application; its lifespan opens and closes everything it uses."""
    keys = KeyRing(settings.keys)
    app = Application(
        title="Milepost",
        summary="Live progress for background jobs.",
        version=openapi.VERSION,
        lifespan=_lifespan(settings, keys),
        generate_unique_id_function=lambda route: route.name,  # operation ids that generated clients can keep
    )
    problems.install(app)
    v1 = APIRouter(
        prefix="/v1", responses=problems.describe("unauthorized", "forbidden", "internal", "unavailable")
    )
    for module in (submit, listing, bulk, jobs, details, status, streams, many, history, tokens, catalogue):
        v1.include_router(module.router)
    app.include_router(v1)
    app.include_router(health.router)
    app.router.default = Pages()  # not a route: it would answer GET where only POST is served
    openapi.install(app, keys=bool(keys))

    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit_bytes=settings.body_limit_bytes)
    app.add_middleware(Express, limit_bytes=settings.body_limit_bytes)
    app.add_middleware(Shortcut)
    app.add_middleware(
        Auth,
        keys=keys,
        seals=Seals(settings.keys, settings.token_secrets),
        grace_seconds=settings.token_grace_seconds,
        origins=settings.cors_origins,
    )
    app.add_middleware(RequestId)
    if settings.cors_origins:
        app.add_middleware(cross_origin, allowed=settings.cors_origins)
    return app


def _lifespan(
    settings: ApiSettings, keys: KeyRing
) -> Callable[[Application], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.services = services = await _open(settings, stack, app.root_path)
            await stack.enter_async_context(_background(services))
            app.offer(_prompt(app, services, keys))
            try:
                yield
            finally:
                app.offer(None)

    return lifespan


def _prompt(app: Application, services: Services, keys: KeyRing) -> Prompt | None:
    settings = services.settings
    cors = [cross_origin] if settings.cors_origins else []
    if services.lanes is None or not stands_alone(
        app, [*cors, RequestId, Auth, Shortcut, Express, BodyLimit]
    ):
        return None
    stalled = settings.stalled_reader_seconds
    return PromptStreams(services.hub, services.lanes, keys, root_path=app.root_path, stalled_seconds=stalled)


async def _open(settings: ApiSettings, stack: AsyncExitStack, root_path: str) -> Services:
    engines = await stack.enter_async_context(open_engines(settings.database))
    redis = await stack.enter_async_context(connect(settings.redis_url))
    store = JobStore(engines)
    joblog = JobLog(
        redis, history_limit=settings.history_limit_events, retention_seconds=settings.redis_retention_seconds
    )
    lifecycle = Lifecycle(redis, consumer=f"{socket.gethostname()}-{new_job_id()}")
    announced = Catalogue(redis)
    seconds = settings.redis_answer_seconds
    offers, roster = Offers(announced, answer_seconds=seconds), Roster(announced, answer_seconds=seconds)
    revival = Revival(store, joblog, lifecycle)
    subscriber = await stack.enter_async_context(connect_subscriber(settings.redis_url))
    hub = await stack.enter_async_context(
        open_hub(
            joblog,
            subscriber,
            Memory(store, revival, answer_seconds=seconds),
            lambda job: job_wire(root_path, job),
            Times(answer=seconds, rotate=settings.stream_seconds_max),
            explain=roster.explain,
            stream_limit=settings.stream_limit or room_for_streams(),
        )
    )
    lanes = None
    if settings.stream_writer == "lanes":
        lanes = await stack.enter_async_context(open_lanes(hub, ping_seconds=settings.ping_seconds))
    multiplexer = await stack.enter_async_context(
        open_multiplexer(hub, redis, lambda wanted: look(store, wanted), answer_seconds=seconds)
    )
    return Services(
        settings=settings,
        engines=engines,
        store=store,
        redis=redis,
        log=joblog,
        lifecycle=lifecycle,
        catalogue=announced,
        offers=offers,
        roster=roster,
        desk=Desk(store, joblog, offers, hub.foresee, answer_seconds=seconds),
        lookup=Lookup(redis, store, roster, answer_seconds=seconds),
        revival=revival,
        hub=hub,
        many=multiplexer,
        lanes=lanes,
    )


@asynccontextmanager
async def _background(services: Services) -> AsyncIterator[None]:
    """The work that no request asks for lives exactly as long as this block."""
    store, joblog, lifecycle, redis = services.store, services.log, services.lifecycle, services.redis
    patience = Patience(services.settings.lease_seconds)
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "recorder": Recorder(lifecycle, store, joblog).run,
        "caretaker": Caretaker(redis, _chores(services, patience), patience).run,
        "fitness of redis": Fitness(redis).run,
    }
    # Each is kept running, so none of them ends by itself.
    tasks = [asyncio.create_task(kept_running(name, run), name=name) for name, run in work.items()]
    try:
        yield
    finally:
        await end(*tasks)


def _chores(services: Services, patience: Patience) -> list[Chore]:
    settings, store, joblog = services.settings, services.store, services.log
    leases = Leases(
        joblog, patience, lease_seconds=settings.lease_seconds, silence_seconds=settings.silence_seconds
    )
    chores: list[Chore] = [
        leases,
        StartDeadlines(store, joblog, services.lookup),
        Dispatcher(store, joblog, services.redis, services.lifecycle),
    ]
    if settings.history_retention_days:
        chores.append(Retention(store, days=settings.history_retention_days))
    return chores
