"""Make `tests/golden/flow.safetensors`: mels of the published flows of CosyVoice 1 and 2 and of GLM-4-Voice, and sound of the
published HiFTNet at both its rates.

    python tools/make_flow_golden.py COSYVOICE MATCHA GLM tests/golden/flow.safetensors

The first three are checkouts of github.com/FunAudioLLM/CosyVoice (for the file here: commit ace7c47), of
github.com/shivammehta25/Matcha-TTS (108906c) and of github.com/THUDM/GLM-4-Voice (eb00ce9); diffusers 0.25.1 and einops have
to be installed. What these import but need not have here is left empty. Sizes are tiny, but for those that the published
code fixes; `weight`, `tokens` and `features` make the same numbers again anywhere, from NumPy's frozen generator.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from importlib.machinery import ModuleSpec
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from safetensors.torch import save_file

from voxzoo.decoders._hift import fixed_noise as hift_fixed_noise
from voxzoo.decoders._hift import fixed_phases

EMPTY = "torchaudio omegaconf conformer lightning matcha.utils matcha.utils.pylogger cosyvoice.utils.onnx onnxruntime whisper"
ENCODER = {"attention_heads": 2, "linear_units": 24, "num_blocks": 1, "dropout_rate": 0.0, "positional_dropout_rate": 0.0}
WAYS = {"input_layer": "linear", "pos_enc_layer_type": "rel_pos_espnet", "use_cnn_module": False, "macaron_style": False}
UNET = {"n_blocks": 1, "num_mid_blocks": 2, "num_heads": 2, "attention_head_dim": 6, "dropout": 0.0, "act_fn": "gelu"}
GUIDANCE = SimpleNamespace(
    sigma_min=1e-6, solver="euler", t_scheduler="cosine", training_cfg_rate=0.2, inference_cfg_rate=0.7, reg_loss_type="l1"
)
CODES = {"v1": 60, "v2": 70, "glm": 80}
DIM = {"v1": 16, "v2": 512, "glm": 16}  # version 2's is fixed in its code
LENGTHS = [1, 9, 47]  # tokens
PROMPT = 11  # tokens
BLOCK = 5  # tokens of a chunk
HIFT = {"channels": 16, "pitch_channels": 8, "frames": 9}
HIFT_RATES = {22050: ([8, 8], [16, 16], [7, 11]), 24000: ([8, 5, 3], [16, 11, 7], [7, 7, 11])}


def step(mel: torch.Tensor) -> int:
    """Which frames of a mel (80, F) are kept: each of so many."""
    return 1 + mel.shape[1] // 30


def weight(name: str, shape: list[int]) -> torch.Tensor:
    """The weight of this name, the same on every machine."""
    fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    scale, shift = (0.2, 1.0) if "norm" in name and name.endswith("weight") else (1.7 * fan**-0.5, 0.0)
    if len(shape) == 1 and not shift:
        scale, shift = (0.2, 1.0) if _is_norm(name) else (0.1, 0.0)
    if name.endswith("classifier.bias"):  # of the pitch: one of speech
        return torch.full(shape, 140.0)
    if name.endswith("classifier.weight"):
        scale *= 120.0
    numbers = np.random.RandomState(zlib.crc32(name.encode())).uniform(-1, 1, shape)
    return torch.from_numpy((numbers * scale + shift).astype(np.float32))


def _is_norm(name: str) -> bool:
    """Whether a vector is the gain of a norm that is not called one."""
    tail = name.split(".")[-2:]
    return tail[1] == "weight" and tail[0].isdigit()


def tokens(count: int, codes: int) -> torch.Tensor:
    """int64 (1, N)."""
    return torch.from_numpy(np.random.RandomState(count).randint(0, codes, (1, count)))


def features(frames: int) -> torch.Tensor:
    """A prompt's mel (1, F, 80)."""
    return torch.from_numpy(np.random.RandomState(frames).uniform(-5, 1, (1, frames, 80)).astype(np.float32))


def speaker() -> torch.Tensor:
    """(1, 192)."""
    return torch.from_numpy(np.random.RandomState(192).uniform(-1, 1, (1, 192)).astype(np.float32))


def imported(folder: str, name: str, attribute: str) -> Any:
    """An attribute of a module of the checkout in `folder`."""
    if sys.path[0] != folder:
        for known in [key for key in sys.modules if key.partition(".")[0] == "cosyvoice"]:
            del sys.modules[known]
        sys.path.insert(0, folder)
    for empty in EMPTY.split():
        module = MagicMock()
        module.__spec__ = ModuleSpec(empty, None)
        module.online_feature = False
        sys.modules[empty] = module
    return getattr(importlib.import_module(name), attribute)


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """With made-up weights."""
    network.load_state_dict({key: weight(key, list(value.shape)) for key, value in network.state_dict().items()})
    return network.eval()


def unet(folder: str, kind: str, channels: list[int], **more: Any) -> torch.nn.Module:
    """An estimator in the solver of its kind."""
    estimator = imported(folder, "cosyvoice.flow.decoder", f"{kind}ConditionalDecoder")
    made = estimator(in_channels=320, out_channels=80, channels=channels, **UNET, **more)
    solver = imported(folder, "cosyvoice.flow.flow_matching", f"{kind}ConditionalCFM")
    cfm: torch.nn.Module = solver(in_channels=240, n_spks=1, spk_emb_dim=80, cfm_params=GUIDANCE, estimator=made)
    return cfm


def plain(folder: str, kind: str, codes: int, rate: float, attention: str, **more: Any) -> Any:
    """CosyVoice 1, or GLM-4-Voice."""
    encoder = imported(folder, "cosyvoice.transformer.encoder", f"{kind}ConformerEncoder")
    regulator = imported(folder, "cosyvoice.flow.length_regulator", "InterpolateRegulator")
    flow = imported(folder, "cosyvoice.flow.flow", "MaskedDiffWithXvec")
    made = encoder(input_size=16, output_size=16, selfattention_layer_type=attention, **ENCODER, **WAYS, **more)
    network = flow(
        input_size=16,
        vocab_size=codes,
        input_frame_rate=rate,
        encoder=made,
        length_regulator=regulator(80, [1, 1, 1, 1]),
        decoder=unet(folder, "", [16, 16]),
    )
    return filled(network)


def upsampling(folder: str, codes: int) -> Any:
    """CosyVoice 2."""
    encoder = imported(folder, "cosyvoice.transformer.upsample_encoder", "UpsampleConformerEncoder")
    flow = imported(folder, "cosyvoice.flow.flow", "CausalMaskedDiffWithXvec")
    size = {"input_size": DIM["v2"], "output_size": DIM["v2"], "static_chunk_size": BLOCK}
    made = encoder(selfattention_layer_type="rel_selfattn", **size, **ENCODER, **WAYS)
    decoder = unet(folder, "Causal", [16], static_chunk_size=2 * BLOCK)
    network = flow(input_size=DIM["v2"], vocab_size=codes, input_frame_rate=25, encoder=made, decoder=decoder)
    return filled(network)


def hift(folder: str, rate: int, rates: list[int], kernels: list[int], source_kernels: list[int]) -> Any:
    """HiFTNet, with a pitch that is one of speech."""
    generator = imported(folder, "cosyvoice.hifigan.generator", "HiFTGenerator")
    predictor = imported(folder, "cosyvoice.hifigan.f0_predictor", "ConvRNNF0Predictor")
    network = generator(
        base_channels=HIFT["channels"],
        sampling_rate=rate,
        upsample_rates=rates,
        upsample_kernel_sizes=kernels,
        source_resblock_kernel_sizes=source_kernels,
        source_resblock_dilation_sizes=[[1, 3, 5]] * len(rates),
        nsf_voiced_threshold=10,
        f0_predictor=predictor(cond_channels=HIFT["pitch_channels"]),
    )
    return filled(network)


class Phases:
    """In place of torch's uniform distribution: the phases that are fixed here."""

    def __init__(self, **_: float) -> None:
        pass

    def sample(self, sample_shape: tuple[int, ...]) -> torch.Tensor:
        """Radians."""
        return (2 * np.pi * fixed_phases(sample_shape[1])).float().reshape(sample_shape)


def hift_noise(like: torch.Tensor) -> torch.Tensor:
    """In place of noise that is drawn anew: ours, in either layout."""
    channels = min(like.shape[1:])
    noise = hift_fixed_noise(max(like.shape[1:]), channels)
    return noise[None] if like.shape[2] == channels else noise.T[None]


def given(count: int, codes: int, prompt: int, frames: int) -> dict[str, torch.Tensor]:
    """The arguments of `inference` that all have."""
    mel = features(frames) if frames else torch.zeros(1, 0, 80)
    return {
        "token": tokens(count, codes),
        "token_len": torch.tensor([count], dtype=torch.int32),
        "prompt_token": tokens(prompt, codes) if prompt else torch.zeros(1, 0, dtype=torch.int64),
        "prompt_token_len": torch.tensor([prompt], dtype=torch.int32),
        "prompt_feat": mel,
        "prompt_feat_len": torch.tensor([frames], dtype=torch.int32),
        "embedding": speaker(),
    }


def fixed_noise(like: torch.Tensor) -> torch.Tensor:
    """In place of version 1's, which is drawn anew at each call."""
    return torch.randn(1, 80, 15000, generator=torch.Generator().manual_seed(0))[:, :, : like.shape[2]]


@torch.inference_mode()
def main() -> None:
    """See the module."""
    cosyvoice, matcha, glm, out = sys.argv[1:]
    importlib.import_module("huggingface_hub").cached_download = None  # type: ignore[attr-defined]  # gone since; diffusers asks
    sys.path.insert(0, matcha)
    found: dict[str, torch.Tensor] = {}
    cases = [(count, 0) for count in LENGTHS] + [(LENGTHS[1], PROMPT), (LENGTHS[2], PROMPT)]

    network = plain(cosyvoice, "", CODES["v1"], 50, "rel_selfattn")
    drawn = torch.randn_like
    for count, prompt in cases:
        frames = int(prompt / 50 * 22050 / 256)
        cache = {"flow_cache": torch.zeros(1, 80, 0, 2)}
        torch.randn_like = fixed_noise  # type: ignore[assignment]
        found[f"v1.{count}.{prompt}"] = network.inference(**given(count, CODES["v1"], prompt, frames), **cache)[0][0]
        torch.randn_like = drawn

    network = upsampling(cosyvoice, CODES["v2"])
    for count, prompt in cases:
        arguments = given(count, CODES["v2"], prompt, 2 * prompt)
        for streaming in (False, True):
            mel = network.inference(**arguments, streaming=streaming, finalize=True)[0][0]
            found[f"v2.{count}.{prompt}.{'chunked' if streaming else 'whole'}"] = mel
    arguments = given(BLOCK * 2 + 3, CODES["v2"], 0, 0)
    found["v2.part"] = network.inference(**arguments, streaming=True, finalize=False)[0][0]

    network = plain(glm, "Block", CODES["glm"], 12.5, "block_rel_selfattn", block_size=BLOCK)
    for count, prompt in cases:
        frames = int(prompt / 12.5 * 22050 / 256)
        found[f"glm.{count}.{prompt}"] = network.inference(**given(count, CODES["glm"], prompt, frames))[0]

    torch.randn_like = hift_noise  # type: ignore[assignment]
    for rate, sizes in HIFT_RATES.items():
        network = hift(cosyvoice, rate, *sizes)
        sys.modules["cosyvoice.hifigan.generator"].Uniform = Phases  # type: ignore[attr-defined]
        wav, source = network.inference(speech_feat=features(HIFT["frames"]).transpose(1, 2))
        found[f"hift.{rate}"], found[f"hift.{rate}.source"] = wav[:, :, None], source[0].T[None]
    torch.randn_like = drawn

    # where frames are many, some tell as much as all
    few = {key: value[:, :: 1 if key.startswith("hift") else step(value)] for key, value in found.items()}
    save_file({key: value.contiguous().clone() for key, value in few.items()}, out)


if __name__ == "__main__":
    main()
