"""Store a decoder's weights in 8 bits: python tools/store_as_int8.py FOLDER, whose model.safetensors is replaced."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from voxzoo.core.files import replacing
from voxzoo.core.int8_weights import to_int8, unpacked


def main(folder: str) -> None:
    """Replace the file, and say by how much it shrank."""
    path = Path(folder) / "model.safetensors"
    before = path.stat().st_size
    state = to_int8(unpacked(load_file(path)))
    with replacing(path) as temporary:
        save_file(state, temporary)
    print(f"{path}: {before / 1e6:.1f} MB -> {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
