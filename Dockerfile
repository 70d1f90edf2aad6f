# One image for every process: `milepost api`, `milepost worker MODULE...`, `milepost db upgrade`.
# Everything that is installed comes with a hash from a lock file; the build backend too.

FROM python:3.13-slim AS wheel
WORKDIR /src
COPY requirements-dev.lock .
RUN sed -nE '/^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/,/^    # via/p' requirements-dev.lock > build.lock \
 && pip install --no-cache-dir --require-hashes --only-binary :all: -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY milepost milepost
COPY api api
COPY worker worker
COPY frontend frontend
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.13-slim AS environment
COPY requirements.lock .
RUN python -m venv /opt/milepost \
 && /opt/milepost/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY --from=wheel /wheels /wheels
RUN /opt/milepost/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Milepost" \
      org.opencontainers.image.description="Live progress for background jobs" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 milepost && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin milepost
COPY --from=environment /opt/milepost /opt/milepost
COPY deploy/healthcheck.py /opt/milepost/healthcheck.py
ENV PATH=/opt/milepost/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Modules with tasks of your own go here: `COPY myapp /app/myapp`, then `milepost worker myapp.tasks`.
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "/opt/milepost/healthcheck.py"]
ENTRYPOINT ["milepost"]
CMD ["api"]
