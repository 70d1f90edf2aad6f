"""What browsers may do with a page and with its files."""

from __future__ import annotations

# Scripts and styles of this server only, nothing inline, no string that becomes markup or code: what a job reports
# stays text.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
# What the page never asks for is not to be had by what may creep into it either.
_NEVER_ASKED_FOR = (  # only those that all Chromiums know: of others each page would report an error
    "accelerometer camera display-capture fullscreen geolocation gyroscope hid magnetometer microphone midi payment "
    "screen-wake-lock serial usb"
)
PERMISSIONS = ", ".join(f"{feature}=()" for feature in _NEVER_ASKED_FOR.split())

REVALIDATED = "no-cache"  # kept, but asked again each time, and answered 304 by the ETag
FOREVER = "public, max-age=31536000, immutable"  # a year is the most that is customary; RFC 8246

_ALL = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE = {
    **_ALL,
    "Cache-Control": REVALIDATED,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": PERMISSIONS,
}
# Everybody may load the elements, pages of any origin with any embedder policy too: they are published, and no
# cookie or key is sent with them.
FILE = {
    **_ALL,
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
