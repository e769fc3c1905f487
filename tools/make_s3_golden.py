"""Make `tests/golden/s3.safetensors`: codes of the package s3tokenizer, of a tiny size and with made-up weights.

    pip install --no-deps s3tokenizer==0.3.0 onnx==1.23.2
    python tools/make_s3_golden.py tests/golden/s3.safetensors

For each of the four versions an ONNX file of the published form is written (`tests/s3_files.py`), which the package reads and
encodes with: the demo speech of this repository, made-up sound of up to 30 s, and some of more than that, of lengths at which
the package loses nothing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import s3_files  # noqa: E402

LENGTHS = [201, 320, 1000, 16039, 16041, 79840, 480159]  # samples; 480160 are the first that go by windows
LONG = [480160 + 400 * 160 + 7, 60 * 16000 + 1]  # in two windows, the second as short as can be; in three


def main(target: str) -> None:
    """Write the file."""
    speech, _ = soundfile.read(ROOT / "bundled" / "demo" / "speech.wav", dtype="float32")
    golden: dict[str, np.ndarray] = {}
    for version in s3_files.VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            path = s3_files.write(Path(folder) / "file.onnx", version, s3_files.weights(version, s3_files.TINY))
            model = s3_files.reference(version, path, s3_files.TINY)
        for samples in LENGTHS + LONG:
            golden[f"{version}.{samples}"] = s3_files.reference_codes(model, s3_files.sound(samples)).astype(np.int16)
        golden[f"{version}.speech"] = s3_files.reference_codes(model, speech).astype(np.int16)
        print(version, {key: len(np.unique(value)) for key, value in golden.items() if key.startswith(f"{version}.")})
    save_file(golden, target)


if __name__ == "__main__":
    main(sys.argv[1])
