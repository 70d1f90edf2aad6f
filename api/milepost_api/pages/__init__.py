"""The dashboard and the elements: files of `frontend/`, served where no route answers."""

from milepost_api.pages.pages import Pages, is_open
from milepost_api.pages.site import ASSETS, EMBEDDED, Site

__all__ = ["ASSETS", "EMBEDDED", "Pages", "Site", "is_open"]
