"""What the tests of the data sets share: a web server in place of the public ones, and real files where there are."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server that offers the files in ``folder``."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def real(name: str, tmp_path: Path) -> Path:
    """A root, below ``tmp_path``, with a link to the real file ``name`` of $STR_TEST_DATA or $DATA_ROOT; skips the test
    where it is not there. Nothing is written into the real folder.
    """
    for variable in ("STR_TEST_DATA", "DATA_ROOT"):
        path = Path(os.environ.get(variable, ""), name).absolute()
        if variable in os.environ and path.is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).symlink_to(path)
            return tmp_path
    pytest.skip(f"needs {name} in $STR_TEST_DATA or $DATA_ROOT")
