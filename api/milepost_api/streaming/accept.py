"""Which of the media types that we offer a request accepts."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=128)  # browsers and clients have a few ways to ask
def accepts(accept: str, offered: tuple[str, ...], default: str) -> str | None:
    """Return which of the `offered` media types an Accept header asks for; None when it excludes them all."""
    if not accept.strip():
        return default
    best: tuple[float, int, str] | None = None
    for media_type in offered:
        quality = _quality(accept, media_type)
        rank = (quality, media_type == default, media_type)
        if quality > 0 and (best is None or rank > best):
            best = rank
    return best[2] if best else None


def _quality(accept: str, media_type: str) -> float:
    """The weight that an Accept header gives a type: the most specific range decides (RFC 9110 §12.5.1)."""
    main = media_type.partition("/")[0]
    found: dict[int, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        specificity = {media_type: 3, f"{main}/*": 2, "*/*": 1}.get(name)
        if specificity:
            try:
                found[specificity] = float(weight)
            except ValueError:
                found[specificity] = 0.0
    return found[max(found)] if found else 0.0
