"""Files that a URL names (s3://, gs://, https:// ...), by the fsspec drivers that are installed.

A file is read whole into memory, within bounds of bytes and of time: pictures have to be gone through several times,
and drivers differ in what they do when a server falls silent. Credentials and endpoints are the drivers' own business,
in fsspec's configuration files (`~/.config/fsspec`) and variables (`FSSPEC_S3_ENDPOINT_URL` ...).
"""

from __future__ import annotations

import posixpath
import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from piqa_cli.errors import InputError, PiqaError, UsageError

MAX_PICTURE_BYTES: Final = 256 << 20
MAX_LIST_BYTES: Final = 1 << 30
TIMEOUT_SECONDS: Final = 60.0
"""For so long a server may give nothing; a file that keeps coming may take longer."""

_CHUNK = 1 << 20
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_HERE = frozenset(
    {"file", "local", "memory", "data", "zip", "tar", "libarchive", "cached", "blockcache", "filecache", "simplecache"}
)
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "http": "aiohttp", "https": "aiohttp", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol",
    "oss": "ossfs", "hf": "huggingface_hub", "hdfs": "pyarrow", "webdav": "webdav4", "github": "requests",
}  # fmt: skip
# What an answer to "what is this file" may hold that changes with every change of its bytes; a time of change may not.
_TAGS = frozenset(
    {"etag", "content-md5", "md5", "md5hash", "crc32c", "generation", "versionid", "version_id", "blob_id", "sha256"}
)
_block = threading.local()

T = TypeVar("T")


def is_remote(path: str) -> bool:
    """Whether it is a URL and not a path of this machine's file system."""
    return _URL.match(path) is not None


def needs_network(path: str) -> bool:
    """Whether reading it asks another machine: every link of a chain (`zip://a.png::https://...`) counts."""
    return is_remote(path) and any(link.partition("://")[0].lower() not in _HERE for link in path.split("::"))


def refuse_offline(path: str) -> InputError:
    """Why a URL is not read with --offline (E_OFFLINE)."""
    return InputError(
        "a URL is not read offline",
        code="E_OFFLINE",
        file=path,
        expected="files of this machine with --offline",
        found=f"{path.partition('://')[0]}://",
        hint="leave --offline out, or copy the files here",
    )


def folder_of(url: str) -> str:
    """What relative paths in the file of this URL refer to."""
    return posixpath.dirname(url.partition("?")[0] if url.lower().startswith("http") else url)


def join(root: str, path: str) -> str:
    """A path as a folder's list names it: as it is if it is a URL, else below the folder, `..` resolved."""
    if is_remote(path):
        return path
    start, separator, place = root.partition("://")
    host, _, folder = place.partition("/")
    return f"{start}{separator}{host}{posixpath.normpath(posixpath.join('/', folder, path))}"


@contextmanager
def once() -> Iterator[None]:
    """Within this block, in this thread, a URL is read once: what is hashed is what is decoded."""
    _block.met = {}
    try:
        yield
    finally:
        _block.met = None


def held(url: str) -> bool:
    """Whether the block has read it already."""
    return url in _met()


def _met() -> dict[str, bytes | PiqaError]:
    """Contents, or why there are none, of the URLs that the block has met; what is put there without one is lost."""
    met: dict[str, bytes | PiqaError] | None = getattr(_block, "met", None)
    return {} if met is None else met


def read(url: str, limit: int = MAX_PICTURE_BYTES) -> bytes:
    """All bytes of a file.

    Raises:
        InputError: E_NOT_FOUND, E_PERMISSION, E_TOO_LARGE, E_PLUGIN (no driver) or E_REMOTE (anything else).
    """
    met = _met()
    known = met.get(url)
    if isinstance(known, PiqaError):
        raise known
    if known is None:
        known = met[url] = b"".join(_chunks(url, limit))
    return known


def tag(url: str) -> str | None:
    """What the server says changes with the file's bytes (an ETag, a checksum, a generation); None: it says nothing.

    Raises:
        InputError: as `read`.
    """

    def ask(filesystem: Any, path: str) -> Iterator[dict[str, Any]]:
        yield filesystem.info(path)

    known = _met().get(url)
    if isinstance(known, PiqaError):
        raise known
    info = next(_elsewhere(url, ask))
    marks = sorted((name.lower(), str(value)) for name, value in info.items() if name.lower() in _TAGS and value)
    marks = [(name, value) for name, value in marks if not value.startswith("W/")]  # weak: not of the bytes
    return repr((info.get("size"), marks)) if marks else None


def _chunks(url: str, limit: int) -> Iterator[bytes]:
    def fetch(filesystem: Any, path: str) -> Iterator[bytes]:
        with filesystem.open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    total = 0
    for chunk in _elsewhere(url, fetch):
        total += len(chunk)
        if total > limit:
            raise InputError(
                f"{url!r} is too large to be read from afar",
                code="E_TOO_LARGE",
                file=url,
                expected=f"at most {limit:,} bytes",
                found="more",
                hint="copy the file to this machine",
            )
        yield chunk


def _elsewhere(url: str, work: Callable[[Any, str], Iterator[T]]) -> Iterator[T]:
    """What `work` yields, in a thread of its own: one that a silent server holds up is left to itself.

    The thread meets only `SimpleQueue`, which is written in C (see `prefetch`).
    """
    answers: queue.SimpleQueue[T | Exception | None] = queue.SimpleQueue()
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def run() -> None:
        try:
            for answer in work(*_locate(url)):
                answers.put(answer)
                if not wanted.get():
                    return
            answers.put(None)
        except Exception as error:  # noqa: BLE001 - drivers raise what they like; it becomes an error of the tree
            answers.put(error)

    threading.Thread(target=run, name="piqa-remote", daemon=True).start()
    try:
        while True:
            try:
                answer = answers.get(timeout=TIMEOUT_SECONDS)
            except queue.Empty:
                answer = TimeoutError(f"nothing came for {TIMEOUT_SECONDS:g} s")
            if answer is None:
                return
            if isinstance(answer, Exception):
                _met()[url] = problem = _unreadable(url, answer)
                raise problem from answer
            yield answer
            wanted.put(True)
    finally:
        wanted.put(False)


def _locate(url: str) -> tuple[Any, str]:
    """The file system of a URL, and its path there.

    Raises:
        UsageError, InputError: fsspec or the driver is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UsageError("URLs are read by fsspec", file=url, hint="pip install 'piqa-cli[remote]'") from error
    try:
        filesystem, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        protocol = url.rpartition("::")[2].partition("://")[0].lower()
        package = _PACKAGES.get(protocol)
        raise InputError(
            f"there is no driver for {protocol}:// here",
            code="E_PLUGIN",
            file=url,
            expected="an fsspec driver",
            found=str(error),
            hint=f"pip install {package}" if package else "install the package that brings the driver",
        ) from error
    return filesystem, path


def _unreadable(url: str, error: Exception) -> PiqaError:
    """What a driver's complaint amounts to."""
    if isinstance(error, PiqaError):
        return error
    # The driver for http says "not found" whatever went wrong, and only the cause tells.
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if status in {401, 403}:
        error = PermissionError(str(cause))
    elif isinstance(status, int) or (isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)):
        error = OSError(str(cause)) if status not in {404, 410} else error
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    code, found, hint = "E_REMOTE", reason, "try again; `--resume` tries failed pairs again"
    if isinstance(error, FileNotFoundError):
        code, found, hint = "E_NOT_FOUND", "nothing", "check the URL"
    elif isinstance(error, PermissionError):
        code, found, hint = "E_PERMISSION", "permission denied", "give the driver your credentials"
    elif isinstance(error, TimeoutError):
        found = str(error) or "no answer in time"
    return InputError(
        f"{url!r} cannot be read", code=code, file=url, expected="a file that can be read", found=found, hint=hint
    )
