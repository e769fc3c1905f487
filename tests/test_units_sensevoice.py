"""SenseVoice's encoder as a backbone, against a plain implementation from files as FunASR publishes them."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from units_files import fitted, save_kmeans

import voxzoo
from voxzoo import ModelError, WeightsError
from voxzoo.tokenizers._funasr import stacks
from voxzoo.tokenizers._units_sensevoice import read_sensevoice

DIM, HIDDEN, HEADS, KERNEL, MAIN, ABOVE = 32, 48, 4, 11, 3, 2
WAV = 0.1 * torch.randn(1, 40123, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    out: dict[str, Tensor] = {"embed.weight": torch.randn(16, 560), "ctc.ctc_lo.weight": torch.zeros(5, DIM)}
    rows = ["encoders0.0", *(f"encoders.{i}" for i in range(MAIN - 1)), *(f"tp_encoders.{i}" for i in range(ABOVE))]
    for row in rows:
        inputs = 560 if row == "encoders0.0" else DIM
        for name, shape in {
            "self_attn.linear_q_k_v": (3 * DIM, inputs), "self_attn.linear_out": (DIM, DIM),
            "feed_forward.w_1": (HIDDEN, DIM), "feed_forward.w_2": (DIM, HIDDEN),
        }.items():  # fmt: skip
            out[f"encoder.{row}.{name}.weight"] = torch.randn(shape) * shape[1] ** -0.5
            out[f"encoder.{row}.{name}.bias"] = 0.2 * torch.randn(shape[0])
        out[f"encoder.{row}.self_attn.fsmn_block.weight"] = 0.3 * torch.randn(DIM, 1, KERNEL)
        for name, size in (("norm1", inputs), ("norm2", DIM)):
            out[f"encoder.{row}.{name}.weight"], out[f"encoder.{row}.{name}.bias"] = torch.rand(size) + 0.5, torch.randn(size)
    for name in ("after_norm", "tp_norm"):
        out[f"encoder.{name}.weight"], out[f"encoder.{name}.bias"] = torch.rand(DIM) + 0.5, torch.randn(DIM)
    return out


@pytest.fixture
def folder(state: dict[str, Tensor], tmp_path: Path) -> Path:
    torch.save(state, tmp_path / "model.pt")
    rows = {"AddShift": np.linspace(-12, -6, 560), "Rescale": np.linspace(0.1, 0.3, 560)}
    lines = [f"<{name}> 560 560\n<LearnRateCoef> 0 [ {' '.join(f'{x:.9g}' for x in row)} ]" for name, row in rows.items()]
    (tmp_path / "am.mvn").write_text("\n".join(["<Nnet>", "<Splice> 560 560", "[ 0 ]", *lines, "</Nnet>"]) + "\n")
    return tmp_path


def plain(state: dict[str, Tensor], layer: int) -> Tensor:
    """One layer after the other, one head after the other."""
    shift, scale = (torch.linspace(a, b, 560, dtype=torch.float64).float() for a, b in ((-12, -6), (0.1, 0.3)))
    features = (stacks(WAV, 80)[0] + shift) * scale
    x = torch.cat([state["embed.weight"][[0, 1, 2, 15]], features]) * math.sqrt(DIM)
    rates = torch.exp(torch.arange(280) * (-math.log(10000) / 279))
    angles = torch.arange(1, len(x) + 1)[:, None] * rates
    x = x + torch.cat([angles.sin(), angles.cos()], 1)
    rows = ["encoders0.0", *(f"encoders.{i}" for i in range(MAIN - 1)), *(f"tp_encoders.{i}" for i in range(ABOVE))]

    def linear(y: Tensor, name: str) -> Tensor:
        return y @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(y: Tensor, name: str) -> Tensor:
        return F.layer_norm(y, y.shape[1:], state[f"{name}.weight"], state[f"{name}.bias"])

    for number, row in enumerate(rows[:layer], 1):
        at = f"encoder.{row}"
        q, k, v = linear(norm(x, f"{at}.norm1"), f"{at}.self_attn.linear_q_k_v").chunk(3, 1)
        heads = []
        for one in range(HEADS):
            part = slice(one * DIM // HEADS, (one + 1) * DIM // HEADS)
            heads.append((q[:, part] @ k[:, part].T / math.sqrt(DIM / HEADS)).softmax(1) @ v[:, part])
        memory = F.conv1d(v.T[None], state[f"{at}.self_attn.fsmn_block.weight"], padding=KERNEL // 2, groups=DIM)[0].T + v
        y = linear(torch.cat(heads, 1), f"{at}.self_attn.linear_out") + memory
        x = x + y if number > 1 else y
        x = x + linear(linear(norm(x, f"{at}.norm2"), f"{at}.feed_forward.w_1").relu(), f"{at}.feed_forward.w_2")
        if number in (MAIN, MAIN + ABOVE):
            x = norm(x, "encoder.after_norm" if number == MAIN else "encoder.tp_norm")
    return x[4:]


@pytest.mark.parametrize("layer", [1, 2, MAIN, MAIN + 1, MAIN + ABOVE])
def test_units_are_those_of_a_plain_implementation(layer: int, state: dict[str, Tensor], folder: Path) -> None:
    wanted = plain(state, layer)
    estimator = fitted(wanted, 8)
    save_kmeans(estimator, folder / "km.bin")
    (folder / "units.json").write_text(f'{{"layer": {layer}, "codebook_size": 8, "window": 30.0, "context": 2.0}}')
    units = voxzoo.load("units", weights=folder)
    with torch.no_grad():
        found = units.network.features(WAV)[0]  # type: ignore[operator]
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-4
    codes = units.encode(WAV[0].numpy(), 16000).codes[0][0]
    assert codes.tolist() == estimator.predict(wanted.numpy()).tolist()
    assert (units.facts.frame_rates[0], units.frames(1), units.frames(40123)) == (Fraction(50, 3), (1,), (42,))
    units.save(folder / "own")
    assert voxzoo.load(folder / "own").fingerprint == units.fingerprint


def test_a_long_clip_has_the_frames_of_the_law(state: dict[str, Tensor], folder: Path) -> None:
    save_kmeans(fitted(plain(state, 2), 8), folder / "km.bin")
    (folder / "units.json").write_text('{"layer": 2, "codebook_size": 8, "window": 1.5, "context": 0.3}')
    units = voxzoo.load("units", weights=folder)
    for samples in (24000, 24001, 30000, 39999, 40123):
        assert units.encode(WAV[0, :samples].numpy(), 16000).codes[0].shape[1] == units.frames(samples)[0]


def test_what_is_no_sensevoice(state: dict[str, Tensor], folder: Path) -> None:
    (folder / "units.json").write_text('{"layer": 9, "codebook_size": 8, "window": 30.0, "context": 2.0}')
    save_kmeans(fitted(torch.randn(50, DIM), 8), folder / "km.bin")
    with pytest.raises(ModelError, match="layer 9 of a backbone of 5"):
        voxzoo.load("units", weights=folder)
    (folder / "units.json").write_text('{"layer": 2, "codebook_size": 8, "sample_rate": 8000}')
    with pytest.raises(ModelError, match="SenseVoice takes sound at 16000 Hz; got 8000 Hz"):
        voxzoo.load("units", weights=folder)
    torch.save({key: value for key, value in state.items() if key != "embed.weight"}, folder / "model.pt")
    with pytest.raises(WeightsError, match=r"no embed\.weight of 16 rows: it is no SenseVoiceSmall"):
        read_sensevoice(folder)
    (folder / "am.mvn").write_text("")
    with pytest.raises(WeightsError, match="AddShift"):
        read_sensevoice(folder)
