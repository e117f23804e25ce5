"""Fetch one large file so that it arrives whole or not at all, and a broken transfer goes on where it stopped.

What ``urlretrieve`` and torchvision's downloader lack: mirrors, a time-out, resuming with an HTTP Range request, a
check of size and SHA-256 before the file gets its name, and a look at the free disk space before the first byte.
"""

import hashlib
import os
import shutil
import ssl
import sys
import time
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

TIMEOUT = 20  # seconds without a single byte before a connection counts as dead
PAUSE = 1  # seconds before asking the same server again
NETWORK_ERRORS = (URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException)


@dataclass(frozen=True)
class RemoteFile:
    """A file that several servers hold, byte for byte the same."""

    name: str
    mirrors: tuple[str, ...]  # addresses, tried in this order
    size: int  # bytes
    sha256: str
    unpacked: int = 0  # bytes that its contents will need beside it


def download(file: RemoteFile, folder: Path | str) -> Path:
    """Fetch the file into the folder, unless it is there already, and return its path.

    Until the checksum is right, the bytes are in ``<name>.part``; a later call, or the next mirror, goes on from there.
    A server is asked again as long as each try gets further than the ones before it.

    Raises:
        ConnectionError: if no mirror could deliver the file; one line that says what happened at each.
        OSError: if the disk is too full or the folder cannot be written.
    """
    folder = Path(folder)
    target, partial = folder / file.name, folder / f"{file.name}.part"
    if target.exists() and target.stat().st_size == file.size:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    check_free_space(folder, file.size - length(partial) + file.unpacked)
    failures = []
    for url in file.mirrors:
        reached = -1
        while length(partial) > reached:
            reached = length(partial)
            try:
                receive(url, partial, file)
            except NETWORK_ERRORS as error:
                failure = reason(error)
                time.sleep(PAUSE if length(partial) > reached else 0)
                continue
            except OSError as error:
                raise OSError(error.errno, f"could not write {partial} ({error.strerror}); what arrived is kept, and a "
                              "later call goes on from there") from None
            if sha256(partial) == file.sha256:
                os.replace(partial, target)
                return target
            partial.unlink()  # not one byte of it can be trusted
            failure = "what it sent has a wrong checksum"
        failures.append(f"{url} ({failure})")
    kept = f"; {length(partial):,} bytes are kept and a later call goes on from there" if length(partial) else ""
    raise ConnectionError(f"could not download {file.name}: tried {', '.join(failures)}{kept}")


def receive(url: str, partial: Path, file: RemoteFile) -> None:
    """Append to the partial file what it lacks; raise one of NETWORK_ERRORS if the server does not send all of it."""
    start = length(partial)
    if start > file.size:
        partial.unlink()
        start = 0
    if start == file.size:
        return
    request = Request(url, headers={"User-Agent": "attncourse"} | ({"Range": f"bytes={start}-"} if start else {}))
    with urlopen(request, timeout=TIMEOUT) as response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        start = start if resumed else 0  # a server that cannot resume sends everything again
        announced = int(response.headers.get("Content-Length") or file.size - start)
        if announced != file.size - start:
            raise HTTPException(f"has {start + announced:,} bytes where {file.size:,} are expected")
        with (open(partial, "ab" if resumed else "wb") as output,
              tqdm(desc=file.name, total=file.size, initial=start, unit="B", unit_scale=True, file=sys.stdout,
                   mininterval=1) as bar):
            while chunk := response.read1(1 << 16):  # what has come so far: none of it is lost if no more comes
                output.write(chunk)
                bar.update(len(chunk))
            os.fsync(output.fileno())
    if length(partial) < file.size:
        raise ConnectionError(f"the connection was cut after {length(partial):,} of {file.size:,} bytes")


def check_free_space(folder: Path, needed: int) -> None:
    """Raise OSError unless the folder's disk has room for that many bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"not enough space in {folder}: {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are "
                      "free; make room there and try again")


def length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def sha256(file: Path) -> str:
    sha = hashlib.sha256()
    with open(file, "rb") as content:
        while chunk := content.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def reason(error: Exception) -> str:
    """What a failed request means, without the name of a Python class."""
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return f"silent for {TIMEOUT} seconds"
    if isinstance(error, URLError):
        return str(getattr(error.reason, "strerror", None) or error.reason)
    return str(error) or type(error).__name__
