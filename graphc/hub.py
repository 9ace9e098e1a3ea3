"""torch.hub's names for what is on this machine: folders with a hubconf.py, and files.

Nothing is downloaded: what is not here yet is refused, with the place where to put it.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from urllib.parse import unquote, urlparse

from graphc.errors import InvalidArgument, InvalidState, Unsupported
from graphc.frontend.files.serialization import load as load_file

__all__ = [
    "download_url_to_file",
    "get_dir",
    "help",
    "list",
    "load",
    "load_state_dict_from_url",
    "set_dir",
]

CONF = "hubconf.py"
_dir = [Path.home() / ".cache" / "torch" / "hub"]


HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # in the name of a file, the start of its SHA-256


def _get_torch_home() -> str:
    """What holds `hub`, and may hold other caches of the same kind."""
    return str(_dir[0].parent)


def get_dir() -> str:
    """Where downloaded files would lie: `checkpoints` below it is looked into."""
    return str(_dir[0])


def set_dir(d: str | Path) -> None:
    """The folder in which downloads are kept from now on."""
    _dir[0] = Path(d).expanduser()


def _refuse(what: str, fix: str) -> NoReturn:
    raise Unsupported(f"{what}: graphc downloads no code and no weights", fix=fix)


def download_url_to_file(
    url: str, dst: str, hash_prefix: str | None = None, progress: bool = True
) -> NoReturn:
    """Refused: nothing is downloaded."""
    _refuse(f"download_url_to_file({url!r:.200})", f"put the file at {dst} by other means")


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """What a file holds: of a file:// URL, or one that lies where a download would have put it."""
    parts = urlparse(url)
    name = file_name or Path(parts.path).name
    here = Path(model_dir or Path(get_dir()) / "checkpoints") / name
    file = Path(unquote(parts.path)) if parts.scheme == "file" else here
    if not file.is_file():
        _refuse(f"load_state_dict_from_url({url!r:.200})", f"put the file at {file}")
    return load_file(file, map_location=map_location)


def _conf(repo_or_dir: str | Path, source: str) -> ModuleType:
    """The hubconf.py of a local folder, as a module."""
    if source not in ("github", "local"):
        raise InvalidArgument(
            f'Unknown source: "{source}". Allowed values: "github" | "local".',
        )
    if source == "github":
        _refuse(
            f"hub of {str(repo_or_dir)!r:.200}", 'clone it, and pass the folder, source="local"'
        )
    folder = Path(repo_or_dir).expanduser().resolve()
    spec = importlib.util.spec_from_file_location("hubconf", folder / CONF)
    if spec is None or spec.loader is None or not (folder / CONF).is_file():
        raise InvalidState(f"{folder} has no {CONF}", fix="pass the folder that holds it")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))  # what a hubconf imports lies beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def _entry(module: ModuleType, name: str) -> Callable[..., Any]:
    found = getattr(module, name, None) if isinstance(name, str) else None
    if not callable(found):
        raise InvalidState(f"Cannot find callable {name} in hubconf", fix="see hub.list()")
    return found  # type: ignore[no-any-return]  # of the user's own


def list(
    github: str | Path,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: Any = None,
    verbose: bool = True,
    *,
    source: str = "local",
) -> list[str]:  # type: ignore[valid-type]  # the built-in, which this function hides
    """The names that a folder's hubconf.py offers."""
    module = _conf(github, source)
    return [n for n, f in vars(module).items() if callable(f) and not n.startswith("_")]


def help(
    github: str | Path,
    model: str,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: Any = None,
    *,
    source: str = "local",
) -> str | None:
    """The documentation of one of them."""
    return _entry(_conf(github, source), model).__doc__


def load(
    repo_or_dir: str | Path,
    model: str,
    *args: Any,
    source: str = "github",
    trust_repo: Any = None,
    force_reload: bool = False,
    verbose: bool = True,
    skip_validation: bool = False,
    **kwargs: Any,
) -> Any:
    """What `model` of a folder's hubconf.py makes of the arguments; source="local" alone."""
    return _entry(_conf(repo_or_dir, source), model)(*args, **kwargs)
