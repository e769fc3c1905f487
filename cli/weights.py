"""`voxzoo weights MODEL`: what to fetch, from where, its hash, where to put it, and what this machine has already."""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path
from typing import Any

from ..core.errors import WeightsError
from ..core.fetching import cache_folder
from ..core.registry import Entry, entry
from ..core.weights import bundled_folder, check_sha256
from ._common import add_json_option, print_json

OWN_FILES = ("config.json", "model.safetensors")


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "weights",
        help="what to fetch for a model, and where to put it",
        description="What to fetch for a model, its hash, and where to put it: for machines without a network.",
    )
    parser.add_argument("model", metavar="MODEL", help="a name from `voxzoo models`")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    data = report(entry(args.model))
    if args.json:
        print_json(data)
        return 0
    if data["bundled"]:
        print(f"{data['model']} ships inside voxzoo ({data['licence']}); nothing to fetch")
    elif data["unpublished"]:
        print(f"{data['model']}: {data['unpublished']}")
        return 0
    else:
        revision = f", revision {data['revision']}" if data["revision"] else ""
        print(f"{data['model']}: weights of {data['repo']} ({data['licence']}){revision}")
        if data["gated"]:
            print(f"They are given on request alone: {data['gated']}")
    for file in data["files"]:
        print(f"\n{file['file']}")
        for key in ("url", "sha256", "put", "here", "state"):
            if file[key] is not None or key == "sha256":
                print(f"  {key:<8}{file[key] or 'not recorded'}")
    if not data["bundled"]:
        print(
            f"\nThe folder can be anywhere: `--weights DIR`, or VOXZOO_WEIGHTS=PARENT with the files in PARENT/{data['model']}."
        )
    return 0


def report(item: Entry) -> dict[str, Any]:
    """What `--json` prints: per file its url, sha256, where to put it (`put`), where it is (`here`) and its `state`."""
    root = os.environ.get("VOXZOO_WEIGHTS")
    put = Path(root or "$VOXZOO_WEIGHTS") / item.name
    published = item.weights
    if item.unpublished:
        files = [_file(name, None, None, str(put / name), put / name) for name in OWN_FILES]
    elif published is None:
        own = put if root and put.is_dir() else bundled_folder(item.name)
        files = [_file(name, None, None, None, own / name) for name in OWN_FILES]
    else:
        files = [
            _file(name, published.url(name), digest, str(put / name), _found(item, put, name))
            for name, digest in published.files.items()
        ]
    return {
        "model": item.name,
        "bundled": item.bundled,
        "unpublished": item.unpublished,
        "licence": item.facts.weights_licence,
        "repo": published and published.repo,
        "revision": published and published.revision,
        "gated": published.gated if published else "",
        "files": files,
    }


def _file(name: str, url: str | None, digest: str | None, put: str | None, here: Path | None) -> dict[str, Any]:
    state = "not on this machine"
    if here is not None and here.is_file():
        try:
            check_sha256(here, digest)
            state = "present, sha256 verified" if digest else "present"
        except (WeightsError, OSError) as error:
            state = str(error)
    else:
        here = None
    return {"file": name, "url": url, "sha256": digest, "put": put, "here": here and str(here), "state": state}


def _found(item: Entry, put: Path, name: str) -> Path | None:
    """The file in `$VOXZOO_WEIGHTS`, or in the hub's cache; nothing is fetched."""
    if (put / name).is_file():
        return put / name
    if item.weights is not None and (item.weights.urls or item.weights.gated):
        fetched = cache_folder() / "models" / item.name / name
        return fetched if fetched.is_file() else None
    if item.weights is None or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(item.weights.repo, item.weights.path(name), revision=item.weights.revision)
    return Path(cached) if isinstance(cached, str) else None
