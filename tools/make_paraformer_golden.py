"""Make `tests/golden/paraformer.safetensors`: what FunASR's own encoders, and Step-Audio's code around one, make of numbers.

    python tools/make_paraformer_golden.py STEP_AUDIO tests/golden/paraformer.safetensors

STEP_AUDIO is a checkout of github.com/stepfun-ai/Step-Audio, of which `funasr_detach` is used: its streaming front end and the
loop over chunks (for the file here, commit a52b94d). The encoders are those of the package funasr (1.4.16), the filterbank that
of torchaudio (2.11), of which one file is taken and the rest need not import. `weight`, `features` and `sound` make the same
numbers again anywhere, from NumPy's frozen generator.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
import zlib
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

ENCODER: dict[str, Any] = {
    "input_size": 560, "output_size": 32, "attention_heads": 4, "linear_units": 48, "num_blocks": 4, "kernel_size": 11,
}  # fmt: skip
TOP = 2  # layers that SenseVoice has above
CLUSTERS = 256
FRAMES = [1, 3, 4, 5, 8, 27]  # of features, given to the encoder
LENGTHS = [880, 1039, 1040, 2000, 3839, 3840, 4719, 4720, 7680, 20000, 48001]  # samples, given to the whole tokenizer
FBANK = 4321  # samples


def weight(name: str, shape: list[int]) -> torch.Tensor:
    """The weight of this name, the same on every machine."""
    numbers = np.random.RandomState(zlib.crc32(name.encode())).uniform(-1, 1, shape)
    if name == "shift":
        numbers = numbers - 10.0
    elif name == "scale":
        numbers = 0.25 + 0.05 * numbers
    elif "norm" in name and name.endswith("weight"):
        numbers = 1.0 + 0.1 * numbers
    elif name.endswith("bias"):
        numbers = 0.1 * numbers
    else:
        numbers = numbers * (3.0 / shape[-1]) ** 0.5 * (4.0 if name == "centres" else 1.0)
    return torch.from_numpy(numbers.astype(np.float32))


def features(frames: int) -> torch.Tensor:
    """Noise (1, N, 560)."""
    return torch.from_numpy(np.random.RandomState(frames).uniform(-1.7, 1.7, (1, frames, 560)).astype(np.float32))


def sound(samples: int) -> np.ndarray:
    """Noise (T,) that swells and fades, over a tone that glides."""
    t = np.arange(samples) / 16000
    swell = np.abs(np.arange(samples) % 5000 - 2500) / 2500
    wav = np.random.RandomState(samples).uniform(-0.3, 0.3, samples) * swell + 0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t)
    return wav.astype(np.float32)


def kaldi() -> Any:
    """`torchaudio.compliance.kaldi`, and nothing else of torchaudio."""
    place = importlib.util.find_spec("torchaudio")
    if place is None or not place.submodule_search_locations:
        raise SystemExit("torchaudio is not installed")
    path = Path(place.submodule_search_locations[0]) / "compliance" / "kaldi.py"
    for name in ("torchaudio", "torchaudio.compliance"):
        sys.modules[name] = module = ModuleType(name)
        module.__path__, module.__spec__ = [], ModuleSpec(name, None)
    spec = importlib.util.spec_from_file_location("torchaudio.compliance.kaldi", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not there")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    sys.modules["torchaudio.compliance.kaldi"] = sys.modules["torchaudio.compliance"].kaldi = found  # type: ignore[attr-defined]
    return found


def encoder(module: str, name: str, **settings: Any) -> Any:
    """One of FunASR's, with the weights that are made here."""
    found = getattr(importlib.import_module(module), name)(**ENCODER, **settings).eval()
    for key, value in found.state_dict().items():
        value.copy_(weight(f"encoder.{key}", list(value.shape)))
    return found


def streaming(package: str) -> Any:
    """The encoder that runs in chunks."""
    settings = {"stride": [8, 10], "pad_left": [0, 0], "encoder_att_look_back_factor": [4, 4], "chunk_size": [12, 15]}
    name = f"{package}.models.scama.encoder"
    return encoder(name, "SANMEncoderChunkOpt", input_layer="pe_online", decoder_att_look_back_factor=[1, 1], **settings)


def in_chunks(network: Any, given: torch.Tensor) -> torch.Tensor:
    """As its users call it: four frames at a time."""
    cache = {"start_idx": 0, "chunk_size": [0, 4, 5], "encoder_chunk_look_back": 4, "opt": None, "tail_chunk": False,
             "feats": torch.zeros(1, 5, given.shape[2])}  # fmt: skip
    parts = []
    for chunk in given.split(4, 1):
        vectors = network.forward_chunk(chunk.clone(), torch.tensor([chunk.shape[1]]), cache=cache)[0]
        parts.append(vectors[:, -chunk.shape[1] :])
    return torch.cat(parts, 1)


def sense_voice(wav: np.ndarray) -> dict[str, torch.Tensor]:
    """What layers of SenseVoice's encoder give of sound, after the four vectors that are put before it; a norm that follows a
    layer belongs to it."""
    network = encoder("funasr.models.sense_voice.model", "SenseVoiceEncoderSmall", tp_blocks=TOP)
    found = {}
    places = {1: network.encoders0[0], 3: network.encoders[1], 4: network.after_norm, 5: network.tp_encoders[0]}

    def keep(layer: int) -> Any:
        def hook(_: Any, __: Any, out: Any) -> None:
            found[f"sense_voice.{layer}"] = (out[0] if isinstance(out, tuple) else out)[0, 4:].clone()

        return hook

    for layer, module in places.items():
        module.register_forward_hook(keep(layer))
    given = torch.cat([weight("embed.weight", [16, 560])[[0, 1, 2, 15]], front_end(wav)])[None]
    last = network(given, torch.tensor([given.shape[1]]))[0][0, 4:]
    return {**found, f"sense_voice.{ENCODER['num_blocks'] + TOP}": last.clone()}


def front_end(wav: np.ndarray) -> torch.Tensor:
    """Of models which do not stream."""
    front = importlib.import_module("funasr.frontends.wav_frontend").WavFrontend(lfr_m=7, lfr_n=6, dither=0.0)
    stacks = front(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))[0][0]
    return (stacks + weight("shift", [560])) * weight("scale", [560])


def step_audio(folder: str) -> Any:
    """sound (T,) -> vectors (1, N, D), by the published front end and loop."""
    sys.modules["funasr_detach"] = package = ModuleType("funasr_detach")
    package.__path__ = [str(Path(folder) / "funasr_detach")]
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    loop = importlib.import_module("funasr_detach.models.paraformer_streaming.model").ParaformerStreaming
    front = importlib.import_module("funasr_detach.frontends.wav_frontend").WavFrontendOnline
    shift, scale = (weight(name, [560]).tolist() for name in ("shift", "scale"))
    with tempfile.NamedTemporaryFile("w", suffix=".mvn") as file:
        for name, row in (("AddShift", shift), ("Rescale", scale)):
            print(f"<{name}> 560 560\n<LearnRateCoef> 0 [ {' '.join(map(repr, row))} ]", file=file, flush=True)
        frontend = front(cmvn_file=file.name, lfr_m=7, lfr_n=6, dither=0.0)
    model = SimpleNamespace(encoder=streaming("funasr_detach"), specaug=None, normalize=None, training=False)
    for name in ("init_cache", "encode_chunk"):
        setattr(model, name, MethodType(getattr(loop, name), model))
    settings = {"encoder_conf": {"output_size": 32}, "frontend_conf": {"n_mels": 80, "lfr_m": 7}, "chunk_size": [0, 4, 5],
                "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1, "device": "cpu", "is_final": True}  # fmt: skip

    def run(wav: np.ndarray) -> Any:
        found, _, _ = loop.infer_encoder(model, [torch.from_numpy(wav)], key=["a"], frontend=frontend, cache={}, **settings)
        return found[0]["enc_out"]

    return run


def main() -> None:
    """Write the file."""
    filterbank = kaldi()
    tensors: dict[str, torch.Tensor] = {}
    wav = torch.from_numpy(sound(FBANK))[None] * 32768
    for window, mels in (("hamming", 80), ("povey", 23)):
        options = {"dither": 0.0, "energy_floor": 0.0, "window_type": window, "num_mel_bins": mels}
        tensors[f"fbank.{window}.{mels}"] = filterbank.fbank(wav, **options)
    with torch.no_grad():
        for frames in FRAMES:
            tensors[f"chunks.{frames}"] = in_chunks(streaming("funasr"), features(frames))[0]
        whole = encoder("funasr.models.sanm.encoder", "SANMEncoder", input_layer="pe")
        tensors["paraformer.4"] = whole(features(27).clone(), torch.tensor([27]))[0][0]
        tensors |= {f"stacks.{FBANK}": front_end(sound(FBANK)), **sense_voice(sound(FBANK))}
        run, centres = step_audio(sys.argv[1]), weight("centres", [CLUSTERS, 32])
        for samples in LENGTHS:
            vectors = run(sound(samples))[0]
            tensors[f"codes.{samples}"] = torch.cdist(vectors, centres).argmin(1).to(torch.int16)
            print(samples, tensors[f"codes.{samples}"].tolist())
        tensors["vectors.20000"] = run(sound(20000))[0]
        for samples in (1, 400, 879):
            if len(run(sound(samples))):
                raise SystemExit(f"the published code makes tokens of {samples} samples, which the specification denies")
    save_file({key: value.contiguous() for key, value in tensors.items()}, sys.argv[2])


if __name__ == "__main__":
    main()
