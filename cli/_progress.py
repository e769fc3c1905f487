"""Progress of the verbs that go through a folder of tokens once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["clips_done"]


@contextlib.contextmanager
def clips_done(*folders: str) -> Iterator[Callable[[int, float], None]]:
    """What to call with clips that are done and their seconds of sound; nothing is shown where their number is not known."""
    from ..corpus.progress import Progress

    total = sum(map(_clips, folders))
    progress = Progress(total, quiet=not total)
    try:
        yield progress.advance
    finally:
        progress.close()


def _clips(folder: str) -> int:
    """Clips of token shards or packed sequences, as their description has it."""
    try:
        packed = Path(folder, "layout.json")
        about = json.loads((packed if packed.is_file() else Path(folder, "dataset.json")).read_text(encoding="utf-8"))
        return int(sum(about["parts"]) if "parts" in about else about["totals"]["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
