"""S3 v2 over a corpus: `voxzoo tokenize` against the package s3tokenizer and against CosyVoice's extraction script.

    pip install --no-deps s3tokenizer==0.3.0 onnx==1.23.2
    python benchmarks/s3_corpus.py [--source DIR] [--clips 32] [--batches 16 32] [--version v2]

Real size, random weights, all from one ONNX file of the published form; clips of 1 to 30 s. Each runs in a process of its
own, on all cores, from sound files to tokens, models loaded beforehand:

    s3tokenizer N   as its command line does: four processes read and make spectrograms, batches of N in the order of the files
    onnxruntime     as CosyVoice's tools/extract_speech_token.py does: eight threads share one session, which has one thread a
                    run, a clip at a time
    voxzoo          `voxzoo tokenize`, float32
    float32 ...     `Model.encode` on one thread, clip by clip, in float32 and in the lower precisions

Printed are clips per second of wall time, CPU-seconds per second of sound (which other work on the machine disturbs less), the
largest memory of a process, and how many tokens differ from those of onnxruntime. The clips are cut from the files of --source
(whole speech, end to end) or made up.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import s3_files  # noqa: E402

Codes = dict[str, np.ndarray]


def make_clips(folder: Path, count: int, source: Path | None) -> None:
    """Files of 16 kHz; their lengths are spread evenly from 1 to 30 s and shuffled."""
    lengths = np.random.RandomState(0).permutation(np.linspace(1, 30, count))
    files = sorted(source.rglob("*.flac")) if source else []
    parts = [soundfile.read(file, dtype="float32") for file in files]
    speech = np.concatenate([wav for wav, rate in parts if rate == 16000 and wav.ndim == 1] or [np.zeros(0, np.float32)])
    folder.mkdir()
    for i, seconds in enumerate(lengths):
        n = round(seconds * 16000)
        start = i * 7 * 16000 % max(1, len(speech) - n)
        wav = speech[start : start + n] if len(speech) > n else s3_files.sound(n)
        soundfile.write(folder / f"{i:05d}.flac", wav, 16000)


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


class Clips(torch.utils.data.Dataset[Any]):
    """As in the command line of s3tokenizer."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Any:
        from s3tokenizer import log_mel_spectrogram

        return self.files[i].stem, log_mel_spectrogram(torch.from_numpy(read(self.files[i])))


def collate(batch: list[Any]) -> Any:
    from s3tokenizer import padding

    return [key for key, _ in batch], *padding([mel for _, mel in batch])


def s3tokenizer(version: str, model_file: Path, batch: int) -> Callable[[list[Path]], Codes]:
    model = s3_files.reference(version, model_file, s3_files.REAL)

    def run(files: list[Path]) -> Codes:
        found: Codes = {}
        loader = torch.utils.data.DataLoader(Clips(files), batch, num_workers=4, prefetch_factor=5, collate_fn=collate)
        for keys, mels, lengths in loader:
            codes, counts = model(mels, lengths)
            found |= {key: codes[i, : int(counts[i])].numpy() for i, key in enumerate(keys)}
        return found

    return run


def onnxruntime(version: str, model_file: Path) -> Callable[[list[Path]], Codes]:
    import onnxruntime as ort

    s3_files.reference_stub()
    from s3tokenizer import log_mel_spectrogram

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])

    def one(file: Path) -> np.ndarray:
        mel = log_mel_spectrogram(torch.from_numpy(read(file)))[None].numpy()
        return session.run(None, {"feats": mel, "feats_length": np.array([mel.shape[2]], np.int32)})[0][0]

    def run(files: list[Path]) -> Codes:
        with ThreadPoolExecutor(8) as pool:
            return dict(zip((file.stem for file in files), pool.map(one, files), strict=True))

    return run


def encode(version: str, model_file: Path, dtype: str) -> Callable[[list[Path]], Codes]:
    import voxzoo

    torch.set_num_threads(1)
    model = voxzoo.load(f"s3-{version}", weights=model_file.parent, dtype=dtype)
    return lambda files: {file.stem: model.encode(file).codes[0][0].numpy() for file in files}


def child(args: argparse.Namespace) -> None:
    """One run, in this process; prints JSON."""
    makers: dict[str, Callable[..., Callable[[list[Path]], Codes]]] = {"onnxruntime": onnxruntime, "s3tokenizer": s3tokenizer}
    name, _, what = args.run.partition(" ")
    more = [int(what)] if name == "s3tokenizer" else [] if name == "onnxruntime" else [name]
    run = makers.get(name, encode)(args.version, args.folder / "model" / "x.onnx", *more)
    files = sorted((args.folder / "clips").iterdir())
    warnings.simplefilter("ignore")  # of more readers than cores
    run(files[:2])

    def cpu() -> float:
        return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])

    wall, used = time.perf_counter(), cpu()
    codes = run(files)
    took = {"wall": time.perf_counter() - wall, "cpu": cpu() - used, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    save(args.folder / f"{args.run}.npz", codes)
    print(json.dumps(took))


def tokenize(folder: Path, version: str) -> dict[str, float]:
    """The verb, with as many workers as there are cores."""
    from voxzoo.corpus.shards import open_dataset

    command = [sys.executable, "-m", "voxzoo.cli.main", "tokenize", str(folder / "clips"), "-m", f"s3-{version}"]
    command += ["--weights", str(folder / "model"), "-o", str(folder / "tokens"), "--json"]
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    codes = {Path(id).stem: tokens.codes[0][0] for id, tokens in open_dataset(folder / "tokens")}
    save(folder / "voxzoo.npz", codes)
    return {"wall": result["elapsed"], "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}


def save(path: Path, codes: Codes) -> None:
    arrays: dict[str, Any] = dict(codes)
    np.savez(path, **arrays)


def different(folder: Path, name: str) -> str:
    wanted, found = np.load(folder / "onnxruntime.npz"), np.load(folder / f"{name}.npz")
    pairs = [(wanted[key], found[key]) for key in wanted.files]
    count = sum(int((a != b).sum()) if a.shape == b.shape else a.size for a, b in pairs)
    total = sum(a.size for a, _ in pairs)
    return f"{count} of {total} tokens differ ({100 - 100 * count / total:.2f} % agree)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder with FLAC files of speech at 16 kHz")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 32])
    parser.add_argument("--version", choices=list(s3_files.VERSIONS), default="v2")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        child(args)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder / "clips", args.clips, args.source)
        (folder / "model").mkdir()
        s3_files.write(folder / "model" / "x.onnx", args.version, s3_files.weights(args.version, s3_files.REAL))
        seconds = sum(soundfile.info(file).duration for file in (folder / "clips").iterdir())
        print(f"s3-{args.version}: {args.clips} clips, {seconds:.0f} s of sound", flush=True)
        for what in ("onnxruntime", *(f"s3tokenizer {n}" for n in args.batches), "voxzoo", "float32", "bfloat16"):
            if what == "voxzoo":
                took = tokenize(folder, args.version)
            else:
                command = [sys.executable, __file__, "--run", what, "--folder", str(folder), "--version", args.version]
                took = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
            cpu = f"{took['cpu'] / seconds:.4f}" if "cpu" in took else "      "
            line = f"{args.clips / took['wall']:6.2f} clips/s  {cpu} CPU-s per s  {took['peak'] / 1e6:.1f} GB"
            print(f"{what:15} {line}  {different(folder, what)}", flush=True)


if __name__ == "__main__":
    main()
