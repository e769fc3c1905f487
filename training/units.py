"""`voxzoo train units`: codewords by k-means on the features of a backbone's layer.

The corpus is read once. Of its frames a seeded choice goes to a file, from which scikit-learn's MiniBatchKMeans draws its
batches; memory holds one clip and one batch, however long the corpus is. The settings of k-means are those with which HuBERT's
and GSLM's units were learnt (fairseq's `learn_kmeans.py`).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import CorpusError, MissingExtraError, ModelError, WeightsError
from ..core.files import replacing
from ..core.loading import check_device, load
from ..core.published import HUB, hub_folder
from ..core.registry import models
from ..core.weights import check_fit, load_strict, peek_config, save_folder
from ..tokenizers._units import Network, complete
from ..tokenizers._units_backbones import SPECTRA, described
from ..tokenizers._units_files import first_layers_of, read_backbone
from ..tokenizers.units import Units
from .data import Clips, prepare

__all__ = ["NAME", "KMeansSettings", "train_units"]

log = logging.getLogger(__name__)
NAME = "units"  # of the recipe, and of the entry that its models carry
REPORT_EVERY = 200  # clips


@dataclass(frozen=True)
class KMeansSettings:
    """Of MiniBatchKMeans, and of what it sees.

    Attributes:
        clusters: codewords.
        frames: at most so many frames of the corpus, chosen at random, are learnt from.
        batch: frames of a step.
        passes: at most so often over the frames; it ends before when nothing has improved for `patience` steps.
        patience: steps.
        starts: k-means++ starts, of which the best is taken.
    """

    clusters: int = 100
    frames: int = 1_000_000
    batch: int = 10_000
    passes: int = 100
    patience: int = 100
    starts: int = 20


def train_units(
    backbone: str | Path,
    layer: int,
    data: Sequence[str | Path],
    out: str | Path,
    settings: KMeansSettings | None = None,
    *,
    device: str = "cpu",
    seed: int = 0,
    cache: str | Path | None = None,
    resume: bool = False,
) -> Path:
    """Learn units; leaves a folder that `voxzoo.load` takes, `out`, which it returns, with `units-report.json` that tells how.

    Args:
        backbone: "mfcc" or "logmel"; a folder in the form of transformers (HuBERT, WavLM, wav2vec 2.0, Whisper), or
            `hf:OWNER/REPO` with one; a folder of FunASR with SenseVoice; a file of fairseq, s3prl, WavLM or torchaudio; or
            units or their registry name, whose backbone is taken.
        layer: whose output is quantised; 0 is the input of the first, and the only one of "mfcc" and "logmel".
        data: manifests, JSON lines with `path` (or `audio_filepath`) relative to the manifest.
        cache: where decoded clips and features are kept (default: `out`/cache).
        resume: take features that lie in the cache whole.

    Raises:
        CorpusError: manifests that cannot be read, or too few frames for so many clusters.
        ModelError: no such backbone or layer.
        MissingExtraError: scikit-learn is not installed.
    """
    require_sklearn()
    check_device(device)
    settings = settings or KMeansSettings()
    network, state = open_backbone(str(backbone), layer)
    network.to(device)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(cache) if cache else folder / "cache"
    clips = prepare([Path(path) for path in data], place, network.config["sample_rate"])
    began = time.monotonic()
    features = Features(place, network, clips, settings.frames, seed)
    if not (resume and features.whole()):
        features.write()
    table = features.open()
    if len(table) < settings.clusters:
        raise CorpusError(f"the clips have {len(table)} frames, too few for {settings.clusters} clusters; give more speech")
    log.info("k-means: %d clusters of %d frames", settings.clusters, len(table))
    found = fit(table, settings, seed)
    config = {**network.config, "codebook_size": settings.clusters}
    tensors = {**state, "quantizer.codebook": torch.from_numpy(found.cluster_centers_.astype(np.float32))}
    with torch.device("meta"):
        check_fit(Units.build(config), tensors, NAME)
    save_folder(folder, NAME, config, tensors)
    report = {
        "backbone": str(backbone),
        "layer": layer,
        **vars(settings),
        "frames": len(table),
        "clips": len(clips.names),
        "seed": seed,
        "steps": int(found.n_steps_),
        "distance": float(found.inertia_) / len(table),  # mean squared, to the nearest codeword
        "minutes": round((time.monotonic() - began) / 60, 3),
    }
    with replacing(folder / "units-report.json") as temporary:
        Path(temporary).write_text(json.dumps(report, indent=2) + "\n")
    log.info("%d steps; mean squared distance to the codewords %.4f", report["steps"], report["distance"])
    return folder


def require_sklearn() -> Any:
    """scikit-learn's MiniBatchKMeans. Raises `MissingExtraError`."""
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError:
        raise MissingExtraError("scikit-learn", "train") from None
    return MiniBatchKMeans


def fit(table: np.ndarray, settings: KMeansSettings, seed: int) -> Any:
    """The estimator, fitted to frames float32 (N, D) that may lie in a file."""
    estimator = require_sklearn()(
        n_clusters=settings.clusters,
        init="k-means++",
        max_iter=settings.passes,
        batch_size=settings.batch,
        tol=0.0,
        max_no_improvement=settings.patience,
        init_size=min(len(table), max(3 * settings.clusters, settings.batch)),
        n_init=settings.starts,
        reassignment_ratio=0.0,
        random_state=seed,
    )
    return estimator.fit(table)


def open_backbone(name: str, layer: int) -> tuple[Network, dict[str, Tensor]]:
    """A network up to the layer, with one codeword that is of no account, and its state without that."""
    told, state = _found(name)
    most = 30.0 if told["backbone"]["model_type"] in ("whisper", "sensevoice") else 100.0
    config = complete({**told, "layer": layer, "codebook_size": 1, "window": most, "context": most / 20})
    if config["backbone"]["model_type"] in SPECTRA:
        state = {}
    ours = {f"backbone.{key}": value for key, value in first_layers_of(state, config).items()}
    with torch.device("meta"):
        blank = Units.build(config)
    one = {"quantizer.codebook": torch.zeros(1, blank.backbone.dim)}
    check_fit(blank, {**ours, **one}, f"the backbone {name}")
    network = Units.build(config)
    load_strict(network, {**ours, **one}, f"the backbone {name}")
    return network.eval().requires_grad_(False), ours


def _found(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is told of a backbone's config, and its tensors under the names of `read_backbone`."""
    if name in SPECTRA:
        return {"backbone": described({"model_type": name})}, {}
    path = hub_folder(name) if name.startswith(HUB) else Path(name)
    if name in models() or "format" in peek_config(path):
        return _of_units(name)
    if not path.exists():
        raise ModelError(
            f"no backbone {name!r}; expected {', '.join(SPECTRA)}, a folder in the form of transformers, hf:OWNER/REPO, a file "
            "of fairseq or torchaudio, or units"
        )
    return read_backbone(path, None)


def _of_units(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The backbone of units that are there already; layers beyond theirs are not."""
    model = load(name)
    if not isinstance(model, Units):
        raise ModelError(f"{name!r} has no backbone for units; expected one of HuBERT, WavLM, wav2vec 2.0 or Whisper")
    c = model.config
    plain = {key.removeprefix("network."): value for key, value in model.network.backbone.state_dict().items()}
    return {"backbone": c["backbone"], "normalize": c["normalize"], "sample_rate": c["sample_rate"]}, plain


class Features:
    """A seeded choice of the frames of a corpus, in a file; `features.json`, written last, says that it is whole."""

    def __init__(self, folder: Path, network: Network, clips: Clips, most: int, seed: int) -> None:
        self.path, self.told_path = folder / "features.f32", folder / "features.json"
        self.network, self.clips, self.seed = network, clips, seed
        self.counts = [self._frames(int(length)) for length in clips.lengths]
        self.share = min(1.0, most / max(1, sum(self.counts)))

    def _frames(self, samples: int) -> int:
        window = self.network.size * self.network.backbone.hop
        return sum(self.network.backbone.frames(min(window, samples - i)) for i in range(0, samples, window))

    def told(self) -> Mapping[str, Any]:
        """What the features follow from."""
        return {"config": self.network.config, "seed": self.seed, "share": self.share, "clips": len(self.counts)}

    def whole(self) -> bool:
        """Whether the file is there and of these very settings."""
        try:
            return json.loads(self.told_path.read_text()) == json.loads(json.dumps(self.told()))
        except (OSError, ValueError):
            return False

    def write(self) -> None:
        """Encode every clip, one at a time, in the order of the corpus."""
        self.told_path.unlink(missing_ok=True)
        bar = _bar(len(self.counts))
        with open(self.path, "wb") as out:
            for i in range(len(self.counts)):
                self._chosen(i).tofile(out)
                if bar is not None:
                    bar.update(1)
                elif (i + 1) % REPORT_EVERY == 0:
                    log.info("features of %d of %d clips", i + 1, len(self.counts))
        if bar is not None:
            bar.close()
        with replacing(self.told_path) as temporary:
            Path(temporary).write_text(json.dumps(self.told()))

    def _chosen(self, i: int) -> np.ndarray:
        """Frames of a clip, float32 (n, D); a clip longer than a window goes in parts."""
        wav = torch.from_numpy(self.clips.cut(i, 0, int(self.clips.lengths[i])))[None]
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        window = self.network.size * self.network.backbone.hop
        with torch.no_grad():
            parts = [self.network.features(part.to(device))[0].cpu().numpy() for part in wav.split(window, 1)]
        frames = np.concatenate(parts)
        kept = np.random.default_rng((self.seed, i)).random(len(frames)) < self.share
        return np.ascontiguousarray(frames[kept], np.float32)

    def open(self) -> np.ndarray:
        """float32 (N, D), in the file. Raises `CorpusError` when there are none."""
        if not self.path.stat().st_size:
            raise CorpusError("the clips have no frames that could be learnt from; give more speech")
        table: np.ndarray = np.memmap(self.path, np.float32, "r").reshape(-1, self.network.backbone.dim)
        if not np.isfinite(table[: 1 << 14]).all():
            raise WeightsError("the backbone gives features that are not finite")
        return table


def _bar(clips: int) -> Any:
    """A progress bar on a terminal, else None."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=clips, unit="clip", desc="features", dynamic_ncols=True)
