"""Features of a model's layers, frame by frame and at one rate: what is compared to choose the layer to quantise.

A *layer* is a module of the network whose output is one sequence in time; layers are found by encoding two short sounds and
seeing which axis grows. Layers that run faster than the tokens are averaged over the span of a token, slower ones repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..core.audio import Audio
from ..core.errors import AudioError, ModelError
from ..core.model import Model
from ..core.slaney_mel import mel_spectrogram

__all__ = [
    "at_rate",
    "chosen_frames",
    "clip_features",
    "frame_count",
    "head",
    "layer_features",
    "layer_names",
    "log_mel",
    "output_layer",
]

PROBES = (0.5, 0.9)  # seconds of noise by which the layers are found
HOP, SIZE, MELS = 0.01, 0.025, 80  # of the log-mel features: seconds, seconds, bands


def layer_features(
    model: Model, audio: Sequence[Audio], names: Sequence[str] | None = None, *, max_frames: int = 20_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Outputs of the layers of the encoder while it encodes clips, all at the frame rate of the first stream.

    Args:
        model: whose `network` is watched.
        audio: clips; of each the first 20 s are used.
        names: modules as `model.network.named_modules()` calls them; by default those of `layer_names`.
        max_frames: a random choice of so many frames of all clips is kept, the same for every layer.
        seed: of that choice.

    Returns:
        name -> float32 (N, D), in the order in which the layers work; row i is the same frame in all of them.

    Raises:
        AudioError: no clips, or clips without samples.
        ModelError: a name that is no layer.
    """
    wanted = list(names) if names is not None else layer_names(model)
    kept = chosen_frames([frame_count(model, clip) for clip in audio], max_frames, seed)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for chosen, outputs in zip(kept, clip_features(model, audio, wanted), strict=True):
        for name, frames in outputs.items():
            parts[name].append(frames[chosen])
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def clip_features(model: Model, audio: Iterable[Audio], names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """Clip by clip what `layer_features` joins: name -> float32 (N, D), all N frames of the clip's first 20 s. Same errors."""
    axes = _time_axes(model)
    for name in names:
        if name not in axes:
            raise ModelError(f"{name!r} is no layer of {model.facts.name}; there are {', '.join(axes) or 'none'}")
    for clip in audio:
        count = frame_count(model, clip)
        with _watched(model.network, names) as seen:
            model.encode(head(clip))
        outputs = {name: seen[name][0][0] for name in names}
        yield {name: at_rate((x if axes[name] == 1 else x.T).float().cpu().numpy(), count) for name, x in outputs.items()}


def output_layer(model: Model) -> str:
    """The layer whose output is quantised: the last part of the network that encodes. Raises `ModelError` without one."""
    if not hasattr(model, "network"):
        raise ModelError(f"a bundle of {model.facts.name} has no layers to watch; name the model itself")
    names = layer_names(model)
    if not names:
        raise ModelError(f"no module of {model.facts.name} gives one sequence in time; its layers cannot be watched")
    return next((name for name in reversed(names) if "." not in name), names[-1])


def layer_names(model: Model) -> list[str]:
    """Layers by default: the outermost modules that stand in a list or sequence of modules, and the parts of the network
    themselves, of which the encoder's output is what is quantised."""
    axes = _time_axes(model)
    modules = dict(model.network.named_modules())
    listed = [n for n in axes if "." in n and isinstance(modules[n.rpartition(".")[0]], (nn.ModuleList, nn.Sequential))]
    outer = {name for name in listed if not any(name.startswith(other + ".") for other in listed)}
    return [name for name in axes if name in outer or (name and "." not in name)]


def head(clip: Audio) -> Audio:
    """The first 20 s of a clip, which a model encodes in one piece. Raises `AudioError` for no samples."""
    if not len(clip):
        raise AudioError("a clip holds no samples; layers need sound")
    return Audio(clip.samples[: int(Model.window * clip.sample_rate)], clip.sample_rate)


def frame_count(model: Model, clip: Audio) -> int:
    """Frames of the first stream of a clip's first 20 s."""
    samples = -(-len(head(clip)) * model.facts.sample_rate // clip.sample_rate)
    return model.frames(samples)[0]


def chosen_frames(counts: Sequence[int], most: int, seed: int) -> list[np.ndarray]:
    """Frame numbers to keep of each clip, in order: all, or a random choice of `most`."""
    total = sum(counts)
    if not total:
        raise AudioError("no clips with sound were given; layers need at least one")
    picked = np.arange(total)
    if total > most:
        picked = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    ends = np.cumsum(counts)
    return [picked[(picked >= end - n) & (picked < end)] - (end - n) for n, end in zip(counts, ends, strict=True)]


def at_rate(features: np.ndarray, count: int) -> np.ndarray:
    """Features (N, D) of a clip as (count, D): the mean of the frames whose centres fall in each new frame; the nearest where
    none does."""
    frames = len(features)
    if frames == count:
        return features
    if frames < count:
        return features[((np.arange(count) + 0.5) * frames / count).astype(int)]
    cuts = np.ceil(np.arange(count) * frames / count - 0.5).astype(int)
    sums = np.add.reduceat(features, cuts, axis=0)
    means: np.ndarray = sums / np.diff([*cuts, frames])[:, None]
    return means


def log_mel(clip: Audio, count: int) -> np.ndarray:
    """Natural log of mel energies + 1e-6, float32 (count, 80): 25 ms Hann windows every 10 ms, brought to `count` frames."""
    rate = clip.sample_rate
    size, hop = round(SIZE * rate), round(HOP * rate)
    energies = mel_spectrogram(clip.samples, rate, size + size % 2, hop, MELS)
    return at_rate(np.log(energies.T[: max(1, len(clip) // hop)] + 1e-6), count)


# ---------------------------------------------------------------------- watching
@contextmanager
def _watched(network: nn.Module, names: Sequence[str] | None = None) -> Iterator[dict[str, list[Tensor]]]:
    """The first tensor each module gives, in the order of first output, while the block runs."""
    seen: dict[str, list[Tensor]] = {}
    handles = []

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            if isinstance(first, Tensor) and first.ndim == 3 and first.is_floating_point():
                seen.setdefault(name, []).append(first.detach())

        return hook

    for name, module in network.named_modules():
        if names is None or name in names:
            handles.append(module.register_forward_hook(keep(name)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _time_axes(model: Model) -> Mapping[str, int]:
    """Modules that give one sequence (1, N, D) or (1, D, N) for a clip, in working order, and the axis of time."""
    rng = np.random.default_rng(0)
    shapes: list[dict[str, list[tuple[int, ...]]]] = []
    for seconds in PROBES:
        noise = (0.05 * rng.standard_normal(int(seconds * model.facts.sample_rate))).astype(np.float32)
        with _watched(model.network) as seen:
            model.encode(Audio(noise, model.facts.sample_rate))
        shapes.append({name: [tuple(t.shape) for t in tensors] for name, tensors in seen.items()})
    axes = {}
    for name, short in shapes[0].items():
        long = shapes[1].get(name, [])
        if len(short) == len(long) == 1 and short[0][0] == long[0][0] == 1:
            grows = [axis for axis in (1, 2) if long[0][axis] > short[0][axis]]
            same = [axis for axis in (1, 2) if long[0][axis] == short[0][axis]]
            if len(grows) == len(same) == 1:
                axes[name] = grows[0]
    return axes
