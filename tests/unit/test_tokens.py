"""Stream tokens without a server: what they grant, who signed them, and what is no token."""

from __future__ import annotations

import asyncio
import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_api.settings import ApiSettings
from milepost_api.tokens import BadToken, Grant, Seals
from milepost_api.tokens.doors import pass_through
from milepost_api.tokens.grant import JOBS_MOST
from milepost_api.tokens.seal import ALGORITHM, AUDIENCE, looks_like_a_token

from milepost.errors import JobNotFound, SettingsError
from milepost.ids import new_job_id
from milepost.job import Job
from milepost.settings import load

KEYS = {"one-key-of-acme": "acme", "another-of-acme": "acme", "the-key-of-globex": "globex"}
SECRETS = ("s" * 32, "t" * 40)
ids = st.from_regex(r"\A[0-9A-Za-z_-]{1,64}\Z")


def grant(**what: object) -> Grant:
    named = {} if what.keys() - {"tenant"} else {"jobs": frozenset({"a"})}
    return Grant(**{"tenant": "acme", "expires_at": 2_000_000_000, **named, **what})  # type: ignore[arg-type]


def signed(claims: object, secret: str = SECRETS[0], **header: str) -> str:
    return jwt.encode({"aud": AUDIENCE, "exp": 9, **claims}, secret, algorithm=ALGORITHM, headers=header)  # type: ignore[dict-item]


@given(jobs=st.frozensets(ids, min_size=1, max_size=JOBS_MOST), other=ids)
def test_a_token_of_jobs_allows_exactly_these(jobs: frozenset[str], other: str) -> None:
    """However many, and however long their ids are; and it says the same after a round trip."""
    seals = Seals(KEYS)
    opened = seals.open(seals.of(b"one-key-of-acme").sign(grant(jobs=jobs)))
    assert all(opened.allows_job(one) for one in jobs)
    assert opened.allows_job(other) == (other in jobs)
    assert (opened.tenant, opened.expires_at, opened.asks_for_the_job) == ("acme", 2_000_000_000, False)


@pytest.mark.parametrize("make", [new_job_id, lambda: new_job_id() + "x" * 28], ids=["uuid", "longest"])
def test_a_token_fits_into_an_address(make) -> None:
    """Below 2 kB for 50 jobs, and 3 kB for as many as there may be, whatever their ids."""
    seal = Seals(KEYS).of(b"one-key-of-acme")
    assert len(seal.sign(grant(jobs=frozenset(make() for _ in range(50))))) < 2000
    assert len(seal.sign(grant(jobs=frozenset(make() for _ in range(JOBS_MOST))))) < 3000


def test_tokens_of_a_tag_a_batch_and_of_all() -> None:
    """The first two ask for the job; the last needs nothing but its tenant."""
    tag, batch, everything = grant(tag="nightly"), grant(batch="b-1"), grant(everything=True)
    assert tag.allows_job("x", tags=("a", "nightly"))
    assert not tag.allows_job("x", tags=("nightly-2",), batch="nightly")
    assert batch.allows_job("x", batch="b-1")
    assert not batch.allows_job("x", tags=("b-1",))
    assert everything.allows_job("x")
    assert [one.asks_for_the_job for one in (tag, batch, everything)] == [True, True, False]


def test_a_selection_is_allowed_as_it_was_granted() -> None:
    """Fewer of the jobs are fine; another tag, more jobs, or the live list of everything are not."""
    jobs, tag, batch = grant(jobs=frozenset({"a", "b"})), grant(tag="t"), grant(batch="b")
    assert jobs.allows_selection(jobs=["a"])
    assert not jobs.allows_selection(jobs=["a", "c"])
    assert not jobs.allows_selection(jobs=["a"], tags=["t"])
    assert tag.allows_selection(tags=["t"])
    assert not tag.allows_selection(tags=["t", "u"])
    assert not tag.allows_selection(jobs=["a"], tags=["t"])
    assert batch.allows_selection(batches=["b"])
    assert not batch.allows_selection(tags=["b"])
    assert [one.allows_selection() for one in (jobs, tag, batch)] == [False, False, False]
    assert grant(everything=True).allows_selection()


@pytest.mark.parametrize("path", ["/v1/jobs/a/status/stream", "/v1/status/stream"])
def test_a_token_opens_the_same_below_a_prefix(path: str) -> None:
    """Where the app is mounted in another one, all its addresses begin with that."""
    scope = {"method": "GET", "path": f"/below{path}", "root_path": "/below", "query_string": b"job=a"}
    asyncio.run(pass_through(scope, grant(jobs=frozenset({"a"})), never_asked))
    with pytest.raises(JobNotFound):
        asyncio.run(pass_through(scope, grant(jobs=frozenset({"b"})), never_asked))


async def never_asked(job_id: str) -> Job:
    raise AssertionError(job_id)


def test_every_process_with_these_keys_knows_the_tokens_of_the_others() -> None:
    """Nothing but the keys is shared, in whatever order they stand."""
    token = Seals(KEYS).of(b"the-key-of-globex").sign(grant())
    assert (
        Seals(dict(reversed(KEYS.items()))).open(token).tenant == "globex"
    )  # the key's, whatever it asked for


def test_a_key_that_is_taken_back_takes_its_tokens_with_it_and_no_others() -> None:
    """As does one that is replaced; a new key voids nothing."""
    mine, other = (Seals(KEYS).of(key).sign(grant()) for key in (b"one-key-of-acme", b"another-of-acme"))
    left = Seals({"another-of-acme": "acme", "a-new-one": "acme"})
    assert left.open(other).tenant == "acme"
    with pytest.raises(BadToken):
        left.open(mine)


def test_a_key_that_moves_to_another_tenant_takes_its_tokens_along() -> None:
    """A token never reads for somebody whose key did not make it."""
    token = Seals({"k": "acme"}).of(b"k").sign(grant())
    assert Seals({"k": "globex"}).open(token).tenant == "globex"


def test_with_a_secret_keys_come_and_go() -> None:
    """The first signs, all are good; and keys sign nothing any more."""
    old, new = Seals(KEYS, SECRETS[1:]), Seals({"k": "acme"}, SECRETS)
    token = old.of(b"one-key-of-acme").sign(grant(tenant="globex"))
    assert new.open(token).tenant == "globex"
    assert Seals(KEYS, SECRETS[:1]).open(new.of(b"k").sign(grant())).tenant == "acme"
    with pytest.raises(BadToken):
        new.open(Seals({"k": "acme"}).of(b"k").sign(grant()))


def test_who_has_the_secret_can_sign_without_asking() -> None:
    """A server of one's own needs no request for each page: a JWT with these claims is a token."""
    opened = Seals(KEYS, SECRETS).open(signed({"tenant": "acme", "jobs": ["x"]}, SECRETS[1]))
    assert opened == Grant(tenant="acme", expires_at=9, jobs=frozenset({"x"}))


def test_without_keys_tokens_are_for_trying_out() -> None:
    """They open nothing as soon as there is a key."""
    token = Seals({}).of(None).sign(grant(tenant="default"))
    assert Seals({}).open(token).tenant == "default"
    for closed in (Seals(KEYS), Seals({}, SECRETS), Seals(KEYS, SECRETS)):
        with pytest.raises(BadToken):
            closed.open(token)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"jobs": []},
        {"jobs": "x"},
        {"jobs": [1]},
        {"tag": ""},
        {"tag": 5},
        {"tag": "a", "batch": "b"},
        {"jobs": ["x"], "all": True},
        {"all": "yes"},
        {"all": False},
        {"all": True, "exp": 1.5},
        {"all": True, "exp": None},
        {"all": True, "tenant": "../x"},
        {"all": True, "tenant": None},
        {"all": True, "aud": "somebody else"},
        {"all": True, "nbf": 99_999_999_999},
    ],
    ids=str,
)
def test_claims_that_grant_nothing_definite_are_refused(claims: dict[str, object]) -> None:
    """The signature is right; what it says is not."""
    with pytest.raises(BadToken):
        Seals(KEYS, SECRETS).open(signed(claims))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


NO_TOKENS = {
    "empty": "",
    "word": "token",
    "dots": "..",
    "unsigned": f"{part({'alg': 'none'})}.{part({'aud': AUDIENCE, 'exp': 9, 'all': True})}.",
    "other-algorithm": jwt.encode(
        {"aud": AUDIENCE, "exp": 9, "all": True}, SECRETS[0] * 3, algorithm="HS512"
    ),
    "strange-key-id": signed({"all": True}, kid="\u2028"),
    "header-is-a-list": f"{part([])}.{part({})}.{part('x')}",
    "deep": base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.e30",
    "not-ascii": "eyJ\u00e9.e30.e30",
    "surrogate": "eyJ\ud800.e30.e30",
    "endless": "eyJ" + "a" * 100_000 + ".e30.e30",
}


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_is_refused_in_words(text: str) -> None:
    """Whatever somebody writes into an address; the refusal does not repeat it."""
    for seals in (Seals(KEYS), Seals({}), Seals(KEYS, SECRETS)):
        with pytest.raises(BadToken) as refused:
            seals.open(text)
        assert len(text) < 4 or text not in str(refused.value)


@given(st.data())
def test_a_token_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    """By one character, at any place, it is another text, and nobody signed that."""
    seals = Seals(KEYS)
    token = seals.of(b"one-key-of-acme").sign(grant())
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABab019-_.").filter(lambda one: one != token[place]))
    changed = token[:place] + letter + token[place + 1 :]
    try:
        opened = seals.open(changed)
    except BadToken:
        return
    # The last character of base64 has bits that mean nothing: the same bytes, written in another way.
    assert place == len(token) - 1
    assert opened == grant()


def test_keys_and_tokens_are_told_apart() -> None:
    """Both come as bearers."""
    assert looks_like_a_token(Seals({}).of(None).sign(grant()))
    assert not looks_like_a_token("a.key.with-dots")
    assert not looks_like_a_token("eyJhbGciOiJIUzI1NiJ9")


# --- settings --------------------------------------------------------------------------------------


def test_secrets_come_from_text_and_file_and_are_not_shown(tmp_path) -> None:
    """The first of the text signs; `repr` keeps them."""
    (tmp_path / "secrets").write_text(f"{SECRETS[1]}\n")
    settings = load(ApiSettings, token_secret=f" {SECRETS[0]} ,", token_secret_file=tmp_path / "secrets")
    assert settings.token_secrets == list(SECRETS)
    assert SECRETS[0] not in repr(settings)


def test_a_secret_that_could_be_guessed_is_refused_and_not_shown(tmp_path) -> None:
    """As is a file that cannot be read."""
    with pytest.raises(SettingsError, match="MILEPOST_TOKEN_SECRET: a secret has at least 32") as refused:
        load(ApiSettings, token_secret="hunter2")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(SettingsError, match="MILEPOST_TOKEN_SECRET_FILE cannot be read"):
        load(ApiSettings, token_secret_file=tmp_path / "nowhere")


def test_origins_are_exact() -> None:
    """As browsers send them."""
    given = load(ApiSettings, cors_origins="https://app.example.org, http://localhost:5173,")
    assert given.cors_origins == ("https://app.example.org", "http://localhost:5173")
    assert load(ApiSettings, cors_origins="").cors_origins == ()


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "example.org",
        "https://*.example.org",
        "https://example.org/",
        "https://example.org/app",
        "https://Example.org",
        "https://me@example.org",
        "ftp://example.org",
        "https://",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """A star would open an API without keys to every page that somebody on this machine visits."""
    with pytest.raises(SettingsError, match="MILEPOST_CORS_ORIGINS"):
        load(ApiSettings, cors_origins=origin)
