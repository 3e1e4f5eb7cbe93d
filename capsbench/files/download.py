"""Downloads: streamed beside their place, resumed, checked, and put in place whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from capsbench import __version__
from capsbench.errors import UserError
from capsbench.files.content import CHUNK, stream_sha256
from capsbench.files.locking import locked, unwritable
from capsbench.files.remote import RemoteFile

PATIENCE = 30.0  # seconds without a byte, after which a mirror is given up


class MirrorFailed(Exception):
    """A mirror did not give the file; the message says why."""


def fetch(files: Sequence[RemoteFile], folder: Path, *, what: str) -> None:
    """Have files in a folder: those that are there are checked, the others downloaded.

    A download goes to ``<name>.part`` beside its place, which it takes only when it is whole and
    its SHA-256 is right, or its form where no SHA-256 is known. What came before a broken
    connection is kept, and resumed by the next mirror or the next call. Processes that want the
    same folder wait for the first and find its files. Where everything is there, nothing is
    written, so the folder may be read-only.

    Args:
        files: The files.
        folder: Where they belong; made if need be.
        what: The data set's name, for messages.

    Raises:
        UserError: A file that is there is another one (it is left alone), no mirror gave a missing
            one, or the folder cannot be written.
    """
    if not _missing(files, folder):
        return
    with locked(folder):
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
                    left = ", ".join(map(str, missing[done:]))
                    raise UserError(
                        f"{what}: {file.name} could not be downloaded ({'; '.join(reasons)}); "
                        f"put {left} in {folder}, or name its root by --data-root"
                    )


def _missing(files: Sequence[RemoteFile], folder: Path) -> list[RemoteFile]:
    """The files that are not there; those that are, are checked."""
    missing = [file for file in files if not (folder / file.name).exists()]
    for file in files:
        if file not in missing:
            file.check(folder / file.name)
    return missing


def _download(file: RemoteFile, path: Path, progress: Progress) -> list[str]:
    """Try each mirror in turn.

    Returns:
        Why each of them failed; nothing if one gave the file.
    """
    reasons = []
    for url in file.urls:
        try:
            _download_from(url, file, path, progress)
        except MirrorFailed as failure:
            reasons.append(f"{url}: {failure}")
        except OSError as error:  # the mirror's are MirrorFailed
            raise unwritable(path, error) from None
        else:
            return []
    return reasons


def _download_from(url: str, file: RemoteFile, path: Path, progress: Progress) -> None:
    """Download from one mirror.

    Raises:
        MirrorFailed: It did not give the file. What came is kept if the connection broke, and
            removed if it is another file.
        OSError: Something cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    begun = part.exists()
    found = _stream(url, file, part, progress)
    failure = _failure(file, part, found)
    if failure is None:
        part.replace(path)
        return
    part.unlink()
    if not begun:
        raise MirrorFailed(failure)
    _download_from(url, file, path, progress)  # what was there before may have been at fault


def _failure(file: RemoteFile, part: Path, found: str) -> str | None:
    """Why a file with some SHA-256 is not the wanted one; None if it is."""
    if file.sha256 is not None:
        return None if found == file.sha256 else f"expected SHA-256 {file.sha256}, got {found}"
    with part.open("rb") as stream:
        other = file.other_form(stream)
    return None if other is None else f"expected a whole {file.form} file, got {other}"


def _stream(url: str, file: RemoteFile, part: Path, progress: Progress) -> str:
    """Append to the temporary file what it lacks.

    Returns:
        The SHA-256 of the whole.

    Raises:
        MirrorFailed: The mirror has not given it all.
        OSError: Something cannot be written.
    """
    size = part.stat().st_size if part.exists() else 0
    if size and size == file.size:
        with part.open("rb") as stream:
            return stream_sha256(stream)
    with _ask(url, size) as response:
        start = size if response.status == 206 else 0
        whole = start + response.length if response.length is not None else file.size
        if file.size is not None and whole != file.size:
            raise MirrorFailed(f"expected {file.size} bytes, it offers {whole}")
        with part.open("a+b") as stream:  # what is written goes to its end
            if not start:
                stream.truncate(0)
            stream.seek(0)
            digest, size = sha256(), start
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
            task = progress.add_task(file.name, total=whole, completed=size)
            for chunk in _chunks(response):
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                progress.update(task, completed=size)
                if whole is not None and size > whole:
                    stream.truncate(0)
                    raise MirrorFailed(f"expected {whole} bytes, it sends more")
            stream.flush()
            os.fsync(stream.fileno())
    if whole is not None and size < whole:
        raise MirrorFailed(f"the connection ended after {size} of {whole} bytes")
    return digest.hexdigest()


def _ask(url: str, start: int) -> HTTPResponse:
    """Ask for a file from a byte on; the answer's status is 206 if it begins there, or else 200."""
    headers = {"User-Agent": f"capsbench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=PATIENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing is left from there on: not this file's beginning
            return _ask(url, 0)
        raise MirrorFailed(f"HTTP {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise MirrorFailed(_told(error)) from None
    promised = response.headers.get("Content-Range", "")
    if response.status == 206 and not promised.startswith(f"bytes {start}-"):
        response.close()
        raise MirrorFailed(f"asked for the bytes from {start} on, it answers {promised!r}")
    return response


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """What a mirror sends; errors here are the mirror's, not the disk's."""
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise MirrorFailed(_told(error)) from None


def _told(error: OSError | HTTPException) -> str:
    """Why a mirror did not answer."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer for {PATIENCE:.0f} s"
    told = reason.strerror if isinstance(reason, OSError) else str(reason)
    return told or type(reason).__name__
