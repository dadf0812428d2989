"""Where the server of an `openai:` model listens: which address is used, which are refused, and how one is shown."""

from __future__ import annotations

import ipaddress
import os
from typing import Final
from urllib.parse import urlsplit

from piqa_cli.errors import UsageError

OPENAI: Final = "https://api.openai.com/v1"


def server_url(given: str | None, *, offline: bool) -> str:
    """Where the server listens: as given, else by OPENAI_BASE_URL, else OpenAI's own.

    An address that was given is used or refused; nothing else ever takes its place.

    Raises:
        UsageError: not an http(s) address, or it leads off this machine although `offline`.
    """
    url = (given if given is not None else os.environ.get("OPENAI_BASE_URL") or OPENAI).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(
            "the base URL is not one", expected="such as http://127.0.0.1:8000/v1", found=shown_url(url) or "nothing"
        )
    if offline and not is_loopback(url):
        raise UsageError(
            "--offline keeps the pictures on this machine, and the server is not on it",
            expected="a --base-url with localhost or 127.0.0.1",
            found=shown_url(url),
        )
    return url


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown_url(url: str) -> str:
    """The address without a name or password in it, as it may stand in records and messages."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def is_openai(url: str) -> bool:
    """Whether the address is OpenAI's own."""
    return urlsplit(url).hostname == urlsplit(OPENAI).hostname
