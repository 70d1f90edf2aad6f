"""Tasks that are given secrets and do their worst to let them out."""

from __future__ import annotations

import base64
import json
import logging
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from pydantic import AfterValidator, BaseModel, Secret, SecretStr

from milepost import progress, task


class Database(BaseModel):
    user: str
    password: SecretStr


def _refuse(value: SecretStr) -> SecretStr:
    if value.get_secret_value().endswith("refused"):
        raise ValueError(f"{value.get_secret_value()} is not good enough")
    return value


Token = Annotated[SecretStr, AfterValidator(_refuse)]


def _ways(secret: str) -> list[str]:
    """How a secret ends up in the texts of libraries."""
    basic = base64.b64encode(f"user:{secret}".encode()).decode()
    return [
        secret,
        json.dumps(secret),
        repr(secret),
        f"https://u:{quote(secret, safe='')}@host/",
        f"Basic {basic}",
    ]


def _tell(token: SecretStr, db: Database, pin: int) -> dict[str, Any]:
    for secret in (token.get_secret_value(), db.password.get_secret_value()):
        with progress.step(f"step {secret}"):
            for text in _ways(secret):
                progress(1, 2, f"message {text}", unit=f"{secret}s")
                progress.log(f"log {text}")
                progress.output({"seen": [text], text: True, "pin": pin})
                logging.getLogger("secretive").warning("standard %s", text)
                structlog.get_logger("secretive").warning("structured", text=text, nested={"in": [text]})
    return {"token": token, "plain": [token.get_secret_value()], "db": db, "pin": pin}


@task(name="secret.tell")
async def tell(token: Token, db: Database, pin: Secret[int]) -> dict[str, Any]:
    return _tell(token, db, pin.get_secret_value())


@task(name="secret.tell_in_a_process", process=True)
def tell_in_a_process(token: Token, db: Database, pin: Secret[int]) -> dict[str, Any]:
    return _tell(token, db, pin.get_secret_value())


@task(name="secret.raise", max_attempts=2, backoff=0.01)
def fail(token: Token, db: Database, pin: Secret[int]) -> None:
    try:
        json.loads("{" + token.get_secret_value())
    except ValueError as error:
        error.add_note(f"while reading {token.get_secret_value()}")
        raise RuntimeError(_ways(db.password.get_secret_value()), pin.get_secret_value()) from error
