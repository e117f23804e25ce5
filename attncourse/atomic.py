"""Write a file so that it is either complete or not there at all."""

import os
import tempfile
from pathlib import Path


def write_atomic(path: Path | str, content: bytes | str) -> Path:
    """Write content to a temporary file beside path, flush it to disk, then rename it to path.

    A full disk or an interruption leaves the old file as it was and no temporary file behind.

    Raises:
        OSError: if the disk is full or the folder cannot be written; the message names the path.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"could not write {path} ({error.strerror}); nothing was changed") from None
        raise
    return path
