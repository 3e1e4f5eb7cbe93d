"""Downloads: streamed to a temporary file, resumed, checked, and renamed when complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from capsbench import __version__
from capsbench.errors import UserError
from capsbench.files.content import CHUNK, stream_sha256
from capsbench.files.folders import misplaced, unwritable
from capsbench.files.lease import LEASE, lease
from capsbench.files.remote import RemoteFile

TIMEOUT = 30.0  # seconds without data until a mirror is given up


class MirrorError(Exception):
    """Failure of a mirror; the message gives the reason."""


class Redirects(HTTPRedirectHandler):
    """Redirects within http and https, and never from https to http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the request of the new address, or refuse it."""
        schemes = ("https://",) if req.full_url.startswith("https://") else ("https://", "http://")
        if not newurl.startswith(schemes):
            fp.close()
            raise MirrorError(f"redirects to {newurl}, which is not {' or '.join(schemes)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(files: Sequence[RemoteFile], folder: Path, *, data_set: str) -> None:
    """Check the files of a folder and download those that are missing.

    A download is written to ``<name>.part`` in the same folder and renamed when it is complete and
    its SHA-256 (or its format, if no SHA-256 is known) is correct. After a broken connection the
    next mirror or the next call resumes it. Other processes that need the same folder wait for the
    first one and use its files. If no file is missing, nothing is written, so the folder may be
    read-only.

    Args:
        files: Files to check or download.
        folder: Folder of the files; created if needed.
        data_set: Name of the data set, for messages.

    Raises:
        UserError: An existing file is wrong (it is not changed), no mirror provided a missing file,
            or the folder cannot be written.
    """
    if not _missing(files, folder):
        return
    with lease(folder / LEASE, f"download {data_set}"):
        missing = _missing(files, folder)
        console = Console(stderr=True)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as progress:
            for done, file in enumerate(missing):
                reasons = _download(file, folder / file.name, progress)
                if reasons:
                    remaining = ", ".join(map(str, missing[done:]))
                    similar = misplaced(folder, [each.name for each in missing[done:]])
                    raise UserError(
                        f"{data_set}: {file.name} could not be downloaded ({'; '.join(reasons)}); "
                        f"put {remaining} in {folder}{similar}, or set another root with "
                        "--data-root"
                    )


def _missing(files: Sequence[RemoteFile], folder: Path) -> list[RemoteFile]:
    """Return the missing files; check the others."""
    missing = [file for file in files if not (folder / file.name).exists()]
    for file in files:
        if file not in missing:
            file.check(folder / file.name)
    return missing


def _download(file: RemoteFile, path: Path, progress: Progress) -> list[str]:
    """Try each mirror in order.

    Returns:
        The reason for each mirror's failure; empty if one provided the file.
    """
    reasons = []
    for url in file.urls:
        try:
            _download_from(url, file, path, progress)
        except MirrorError as error:
            reasons.append(f"{url}: {error}")
        except OSError as error:  # of the disk: those of the connection are MirrorError
            raise unwritable(path, error) from None
        else:
            return []
    return reasons


def _download_from(url: str, file: RemoteFile, path: Path, progress: Progress) -> None:
    """Download from one mirror.

    Raises:
        MirrorError: The mirror did not provide the file. The partial file is kept if the connection
            broke, and removed if its content is wrong.
        OSError: The file cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    resumed = part.exists()
    digest = _stream(url, file, part, progress)
    mismatch = _mismatch(file, part, digest)
    if mismatch is None:
        part.replace(path)
        return
    part.unlink()
    if not resumed:
        raise MirrorError(mismatch)
    _download_from(url, file, path, progress)  # the error may be in the earlier partial file


def _mismatch(file: RemoteFile, part: Path, digest: str) -> str | None:
    """Return the difference of a download from the expected file; None if there is none."""
    if file.sha256 is not None:
        return None if digest == file.sha256 else f"expected SHA-256 {file.sha256}, got {digest}"
    with part.open("rb") as stream:
        start = file.invalid_start(stream)
    return None if start is None else f"expected a complete {file.form} file, got {start}"


def _stream(url: str, file: RemoteFile, part: Path, progress: Progress) -> str:
    """Append the missing rest to the temporary file.

    Returns:
        The SHA-256 of the complete file.

    Raises:
        MirrorError: The mirror did not send all bytes.
        OSError: The file cannot be written.
    """
    size = part.stat().st_size if part.exists() else 0
    if size and size == file.size:
        with part.open("rb") as stream:
            return stream_sha256(stream)
    with _request(url, size) as response:
        start = size if response.status == 206 else 0
        total = start + response.length if response.length is not None else file.size
        if file.size is not None and total != file.size:
            raise MirrorError(f"expected {file.size} bytes, the mirror has {total}")
        if total is not None and total > file.limit:
            raise MirrorError(f"expected at most {file.limit} bytes, the mirror has {total}")
        with part.open("a+b") as stream:  # appends
            if not start:
                stream.truncate(0)
            stream.seek(0)
            digest, size = sha256(), start
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
            task = progress.add_task(file.name, total=total, completed=size)
            for chunk in _chunks(response):
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                progress.update(task, completed=size)
                if size > (most := file.limit if total is None else total):
                    stream.truncate(0)
                    raise MirrorError(f"expected at most {most} bytes, the mirror sent more")
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and size < total:
        raise MirrorError(f"the connection ended after {size} of {total} bytes")
    return digest.hexdigest()


def _request(url: str, start: int) -> HTTPResponse:
    """Request a file from a byte on.

    Returns:
        The response; its status is 206 if it starts at that byte, and 200 if at the first one.

    Raises:
        MirrorError: The mirror did not answer, or answered with an error or another range.
    """
    headers = {"User-Agent": f"capsbench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = Request(url, headers=headers)
        response: HTTPResponse = build_opener(Redirects).open(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # the partial file is longer than the mirror's file
            return _request(url, 0)
        raise MirrorError(f"HTTP {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise MirrorError(_reason(error)) from None
    content_range = response.headers.get("Content-Range", "")
    if response.status == 206 and not content_range.startswith(f"bytes {start}-"):
        response.close()
        raise MirrorError(f"requested the bytes from {start} on, got {content_range!r}")
    return response


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """Read a response; errors of the connection become `MirrorError`, unlike those of the disk."""
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise MirrorError(_reason(error)) from None


def _reason(error: OSError | HTTPException) -> str:
    """Return the reason of a failed connection."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer for {TIMEOUT:.0f} s"
    message = reason.strerror if isinstance(reason, OSError) else str(reason)
    return message or type(reason).__name__
