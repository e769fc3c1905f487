"""Units against transformers' models and scikit-learn's predict; SpiritLM's classifier; long clips; each system's files."""

from __future__ import annotations

import importlib.resources
import itertools
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from conformance import sound
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_conformance import tiny
from torch import nn
from units_files import AT_25HZ, LARGE, fitted, model, save_fairseq, save_kmeans

import voxzoo
from voxzoo import Audio, ModelError, Tokens, WeightsError
from voxzoo.core.ssl import without_weight_norm
from voxzoo.tokenizers._units import complete
from voxzoo.tokenizers._units_backbones import Spectrum, described
from voxzoo.tokenizers._units_quantizers import fill_blanks

pytestmark = pytest.mark.usefixtures("transformers")
LENGTHS = (1, 399, 400, 719, 720, 16000, 41234)


@pytest.fixture(scope="module")
def speech() -> Audio:
    with importlib.resources.as_file(importlib.resources.files("voxzoo") / "bundled/demo/speech.wav") as path:
        return Audio.read(path, 16000)


def of_transformers(network: nn.Module, wav: np.ndarray, layer: int, least: int = 400) -> torch.Tensor:
    """The layer's frames (N, D); clips shorter than a frame are completed with zeros."""
    padded = torch.from_numpy(np.pad(wav, (0, max(0, least - len(wav)))))[None]
    states: torch.Tensor = network(padded, output_hidden_states=True).hidden_states[layer][0]
    return states


def folder(path: Path, network: Any, estimator: Any, **settings: Any) -> Path:
    """The form of transformers, with `km.bin` and `units.json` beside."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({**network.config.to_dict(), "architectures": ["X"]}))
    save_file({key: value.clone() for key, value in network.state_dict().items()}, path / "model.safetensors")
    save_kmeans(estimator, path / "km.bin", compress=3)
    (path / "units.json").write_text(json.dumps(settings))
    return path


# ---------------------------------------------------------------- against transformers and scikit-learn
@pytest.mark.parametrize(
    ("kind", "changes", "layer"),
    [("Hubert", {}, 2), ("Hubert", {}, 3), ("Hubert", LARGE, 2), ("Wav2Vec2", {}, 1), ("WavLM", {}, 3), ("Hubert", AT_25HZ, 2)],
)
def test_units_are_those_of_predict(kind: str, changes: Any, layer: int, speech: Audio, tmp_path: Path) -> None:
    network = model(kind, **changes)
    estimator = fitted(of_transformers(network, speech.samples, layer))
    place = folder(tmp_path / "x", network, estimator, layer=layer, codebook_size=12)
    units = voxzoo.load("units", weights=place)
    least = 720 if changes is AT_25HZ else 400
    for length in LENGTHS:
        wav = speech.samples[5000 : 5000 + length]
        features = of_transformers(network, wav, layer, least)
        tokens = units.encode(wav, 16000)
        assert tokens.codes[0][0].tolist() == estimator.predict(features.numpy()).tolist(), length
    assert len(set(tokens.codes[0][0].tolist())) >= 6
    units.save(tmp_path / "mine")
    assert voxzoo.load(tmp_path / "mine").fingerprint == units.fingerprint


def test_normalised_sound_only_where_it_is_asked_for(speech: Audio, tmp_path: Path) -> None:
    network = model(**LARGE)
    wav = speech.samples[:20000]
    normal = ((wav - wav.mean()) / np.sqrt(wav.var() + 1e-5)).astype(np.float32)
    estimator = fitted(of_transformers(network, normal, 2))
    for asked, heard in ((True, normal), (False, wav)):
        units = voxzoo.load(
            "units", weights=folder(tmp_path / str(asked), network, estimator, layer=2, normalize=asked, codebook_size=12)
        )
        wanted = estimator.predict(of_transformers(network, heard, 2).numpy())
        assert units.encode(wav, 16000).codes[0][0].tolist() == wanted.tolist()
    assert (
        estimator.predict(of_transformers(network, wav, 2).numpy()).tolist()
        != estimator.predict(of_transformers(network, normal, 2).numpy()).tolist()
    )


def test_padding_moves_units_so_that_lengths_are_not_mixed(speech: Audio, tmp_path: Path) -> None:
    """Or batching by length would be idle."""
    network = model()
    wav = speech.samples[:8000]
    alone = of_transformers(network, wav, 2)
    padded = of_transformers(network, np.pad(wav, (0, 8000)), 2)[: len(alone)]
    assert (alone - padded).abs().max() > 1e-3
    units = voxzoo.load("units", weights=folder(tmp_path / "x", network, fitted(alone), layer=2, codebook_size=12))
    clips = [Audio(speech.samples[i : i + n], 16000) for i, n in ((0, 8000), (100, 3000), (9000, 8000), (50, 1))]
    together = units.encode(clips)
    for i, clip in enumerate(clips):
        assert together[i].codes[0].tolist() == units.encode(clip).codes[0].tolist()


# ---------------------------------------------------------------- published files
def test_a_file_of_fairseq_tells_its_shape_and_normalisation(speech: Audio, tmp_path: Path) -> None:
    network = model(num_hidden_layers=7, **LARGE)
    estimator = fitted(of_transformers(network, speech.samples[:80000], 6), 50)
    save_fairseq(network, tmp_path / "hubert_base_ls960.pt", normalize=True)
    save_kmeans(estimator, tmp_path / "km.bin")
    units = voxzoo.load("hubert-gslm-50", weights=tmp_path)
    assert units.config["normalize"] is True
    wav = speech.samples[:20000]
    normal = ((wav - wav.mean()) / np.sqrt(wav.var() + 1e-5)).astype(np.float32)
    wanted = estimator.predict(of_transformers(network, normal, 6).numpy())
    assert units.encode(wav, 16000).codes[0][0].tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("name", "backbone", "km"),
    [
        ("twist-25hz-500", "mhubert_base_25hz_cp_mls_cv_sp_fisher.pt", "mhubert_base_25hz_cp_mls_cv_sp_fisher_L11_km500.bin"),
        ("mhubert-1000", "mhubert_base_vp_en_es_fr_it3.pt", "mhubert_base_vp_en_es_fr_it3_L11_km1000.bin"),
        ("dgslm-500", "hubert_fisher.pt", "hubert_fisher_km_500.bin"),
        ("hubert-l9-500", "hubert_base_ls960.pt", "hubert_base_ls960_L9_km500.pt"),
        ("mhubert-expresso-2000", "mhubert.pt", "mhubert_base_vp_mls_cv_8lang_it3_L12_km2000_expresso.bin"),
    ],
)
def test_each_systems_files_are_told_apart(name: str, backbone: str, km: str, tmp_path: Path) -> None:
    item = voxzoo.entry(name)
    rate = AT_25HZ if item.facts.frame_rates[0] == 25 else {}
    save_fairseq(model(num_hidden_layers=12, hidden_size=8, intermediate_size=8, **rate), tmp_path / backbone)
    centers = np.random.default_rng(0).standard_normal((item.facts.codebook_sizes[0], 8)).astype(np.float32)
    joblib.dump(centers, tmp_path / km)
    loaded = voxzoo.load(name, weights=tmp_path)
    assert loaded.facts.frame_rates == item.facts.frame_rates
    assert torch.equal(loaded.network.quantizer.codebook, torch.from_numpy(centers))  # type: ignore[union-attr]
    layers = loaded.network.backbone.network.encoder.layers  # type: ignore[union-attr]
    assert len(layers) == item.config["layer"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hubert-gslm-100", "twist-25hz-500", "dgslm-500"])
def test_at_real_size(name: str, speech: Audio, tmp_path: Path) -> None:
    item = voxzoo.entry(name)
    network = model(**{key: value for key, value in described(item.config["backbone"]).items() if key != "model_type"})
    for key, parameter in network.named_parameters():
        if "attention.out_proj" in key:
            parameter.mul_(0.02)  # or after as many layers all frames would be one
    least = 720 if item.facts.frame_rates[0] == 25 else 400
    features = of_transformers(network, speech.samples[:64000], item.config["layer"], least)
    size = item.facts.codebook_sizes[0]
    centers = features[torch.randint(len(features), (size,))] + 0.3 * features.std(0) * torch.randn(size, 768)
    save_fairseq(network, tmp_path / "model.pt")
    joblib.dump(centers.numpy(), tmp_path / "km.bin", compress=3)
    units = voxzoo.load(name, weights=tmp_path)
    assert units.facts.params == item.facts.params
    distances = torch.cdist(features.double(), centers.double())
    found = units.encode(speech.samples[:64000], 16000).codes[0][0]
    assert torch.equal(distances.argmin(1), found)
    assert len(found.unique()) > 20


# ---------------------------------------------------------------- SpiritLM
def spiritlm(path: Path, network: nn.Module, vocabulary: int = 20) -> dict[str, torch.Tensor]:
    """The classifier as it is published: sizes, and the layers 0, 2 and 4 of a sequence. As s3prl writes it, the backbone."""
    torch.manual_seed(1)
    middle = 24 - (vocabulary + 1)
    sizes = [24, 24 - middle // 4, 24 - middle // 2, vocabulary + 1]
    weights = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weights |= {f"{2 * i}.weight": torch.randn(outputs, inputs), f"{2 * i}.bias": torch.randn(outputs)}
    sizes_told = {"vocab_size": vocabulary, "dim": 24, "upstream_dim": 24}
    torch.save({"model_cfg": sizes_told, "model_weight": weights}, path / "L11_quantizer_500.pt")
    save_fairseq(network, path / "mhubert_base_25hz.pt")
    return weights


def test_spiritlms_classifier_and_blanks(speech: Audio, tmp_path: Path) -> None:
    network = model(**AT_25HZ)
    weights = spiritlm(tmp_path, network)
    (tmp_path / "units.json").write_text('{"layer": 2, "codebook_size": 21}')
    units = voxzoo.load("spiritlm-hubert", weights=tmp_path)
    wav = speech.samples[:64000]
    x = of_transformers(network, wav, 2, 720)
    for i in (0, 2, 4):
        x = x @ weights[f"{i}.weight"].T + weights[f"{i}.bias"]
        x = torch.where(x > 0, x, 0.01 * x) if i < 4 else x
    classes = x.argmax(1).tolist()
    filled = list(classes)
    for i, code in enumerate(filled):
        if code == 20 and i:
            filled[i] = filled[i - 1]
    found = units.encode(wav, 16000).codes[0][0].tolist()
    start = next(i for i, code in enumerate(classes) if code != 20)
    assert found[start:] == filled[start:]
    assert found[:start] == [classes[start]] * start
    assert 20 not in found


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), min_size=1, max_size=3))
def test_blanks_take_the_unit_before_them_or_the_first(rows: list[list[int]]) -> None:
    width = max(map(len, rows))
    rows = [row + [3] * (width - len(row)) for row in rows]
    found = fill_blanks(torch.tensor(rows), 3).tolist()
    for row, codes in zip(rows, found, strict=True):
        last = next((code for code in row if code != 3), 3)
        for code, given_out in zip(row, codes, strict=True):
            last = code if code != 3 else last
            assert given_out == last


# ---------------------------------------------------------------- Whisper
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_whispers_layers_are_those_of_transformers(layer: int, speech: Audio, tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=8, num_mel_bins=20, vocab_size=50, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, max_target_positions=8,
    )  # fmt: skip
    network = transformers.WhisperForConditionalGeneration(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.mul_(4.0)
    extractor = transformers.WhisperFeatureExtractor(feature_size=20)
    mel = extractor(speech.samples[:50000], sampling_rate=16000, return_tensors="pt").input_features
    outputs = network.model.encoder(mel, output_hidden_states=True)
    states = outputs.hidden_states[layer] if layer < 2 else outputs.last_hidden_state
    wanted = states[0, : -(-50000 // 320)]
    estimator = fitted(wanted)
    units = voxzoo.load(
        "units", weights=folder(tmp_path / "x", network, estimator, layer=layer, codebook_size=12, window=30.0, context=2.0)
    )
    features = units.network.features(torch.from_numpy(speech.samples[None, :50000]))[0]  # type: ignore[operator]
    assert (features - wanted).abs().max() <= 2e-4
    assert np.mean(units.encode(speech.samples[:50000], 16000).codes[0][0].numpy() == estimator.predict(wanted.numpy())) >= 0.99
    assert units.frames(50000) == (157,)


def test_a_window_longer_than_whispers_is_refused() -> None:
    with pytest.raises(ModelError, match=r"a window of 100\.0 s; this backbone takes 30\.0 s at most"):
        _build({"backbone": {"model_type": "whisper"}})


def _build(config: dict[str, Any]) -> Any:
    from voxzoo.tokenizers.units import Units

    with torch.device("meta"):
        return Units.build(config)


# ---------------------------------------------------------------- spectra
def test_cepstra_are_those_of_librosa(speech: Audio) -> None:
    librosa = pytest.importorskip("librosa")
    spectrum = Spectrum(described({"model_type": "mfcc", "deltas": 0}), 0, 16000)
    wav = speech.samples[:16000]
    with torch.no_grad():
        found = spectrum(torch.from_numpy(wav)[None])[0].numpy()
    padded = np.pad(wav, (40, 400))
    power = librosa.feature.melspectrogram(
        y=padded, sr=16000, n_fft=400, hop_length=320, n_mels=40, center=False, window="hann"
    )
    wanted = librosa.feature.mfcc(S=np.log(np.maximum(power, 1e-10)), n_mfcc=13).T[: len(found)]
    assert found.shape == (50, 13)
    assert np.abs(found - wanted).max() <= 2e-3


def test_slopes() -> None:
    ramp = torch.arange(20.0)[None, :, None].repeat(1, 1, 2)
    from voxzoo.tokenizers._units_backbones import _slopes

    assert torch.allclose(_slopes(ramp)[:, 2:-2], torch.ones(1, 16, 2))


# ---------------------------------------------------------------- long clips
def test_a_long_clip_is_whole_windows_with_context(monkeypatch: pytest.MonkeyPatch) -> None:
    units = tiny("hubert-gslm-100")
    clip = sound(units, 14321)  # windows of 6 s, 0.5 s of context
    frames = units.frames(14321)[0]
    found = units.encode(clip).codes[0][0]
    assert len(found) == frames

    def window(start: int, end: int) -> torch.Tensor:
        codes: torch.Tensor = units.network.encode(torch.from_numpy(clip.samples[None, start * 20 : end * 20]))  # type: ignore[operator]
        return codes[0]

    last = -(-14321 // 20) - 300
    wanted = torch.cat([window(0, 300)[:275], window(250, 550)[25:275], window(last, last + 300)[525 - last :]])
    assert torch.equal(found, wanted)
    with units.stream_encoder() as stream:
        parts = [stream.push(clip.samples[i : i + 777]) for i in range(0, 14321, 777)] + [stream.finish()]
    assert torch.equal(Tokens.concatenate(parts).codes[0][0], found)


def test_a_batch_runs_in_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    units = tiny("hubert-gslm-100")
    seen = []
    inner = units.network._encode
    monkeypatch.setattr(units.network, "_encode", lambda wav: (seen.append(len(wav)), inner(wav))[1])
    monkeypatch.setattr("voxzoo.tokenizers._units.AT_ONCE", 5.0)
    clips = [sound(units, 2000, i) for i in range(5)]
    together = units.encode(clips)
    assert seen == [2, 2, 1]
    assert all(torch.equal(together[i].codes[0], units.encode(clip).codes[0]) for i, clip in enumerate(clips))


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steam": 1}, "no setting 'steam'"),
        ({"layer": -1}, "layer -1; expected a whole number"),
        ({"layer": 13}, "layer 13 of a backbone of 12"),
        ({"normalize": 1}, "normalize 1; expected true or false"),
        ({"backbone": {"model_type": "llama"}}, "no speech backbone is of model_type 'llama'"),
        ({"backbone": {"model_type": "hubert", "conv_stride": [5]}}, "of one length"),
        ({"backbone": {"model_type": "mfcc", "hop": 0}, "layer": 0}, "hop 0"),
        ({"backbone": {"model_type": "mfcc"}}, "layer 6 of a backbone of 0"),
        ({"quantizer": "cosine"}, "quantizer 'cosine' with hidden"),
        ({"hidden": [3.5]}, "hidden .* expected a list of widths"),
        ({"window": 8.0}, "a window of 8.0 s cannot be kept without 5.0 s"),
        ({"context": 0.001}, "take a longer one"),
        ({"window": "long"}, "expected seconds"),
    ],
)
def test_settings_that_make_no_units(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        _build({"backbone": {"model_type": "hubert"}, **change})
    assert complete({})["layer"] == 6


def test_files_that_do_not_belong_together(speech: Audio, tmp_path: Path) -> None:
    network = model()
    estimator = fitted(of_transformers(network, speech.samples, 2))
    place = folder(tmp_path / "x", network, estimator, layer=2, codebook_size=12)
    for change, message in (
        ({"codebook_size": 50}, "holds 12 units; expected 50: it is of another model"),
        ({"layer": 4}, "layer 4 of a backbone of 3"),
        ({"quantizer": "classifier"}, "pickled code|is damaged|no classifier"),
    ):
        (place / "units.json").write_text(json.dumps({"layer": 2, "codebook_size": 12, **change}))
        with pytest.raises(ModelError, match=message):
            voxzoo.load("units", weights=place)
    (place / "units.json").write_text('{"layer": 2, "codebook_size": 12}')
    joblib.dump(np.zeros((12, 768), np.float32), place / "km.bin")
    with pytest.raises(WeightsError, match="12 codewords of 768 numbers, the layer gives 24"):
        voxzoo.load("units", weights=place)
    (place / "other_km.bin").write_bytes(b"")
    with pytest.raises(
        WeightsError, match=r"must hold one file of codewords, such as km\.bin; there is km\.bin, other_km\.bin"
    ):
        voxzoo.load("units", weights=place)
    for file in ("other_km.bin", "model.safetensors"):
        (place / file).unlink()
    with pytest.raises(WeightsError, match=r"one file of a backbone, such as hubert_base_ls960\.pt; there is none"):
        voxzoo.load("units", weights=place)


def test_weights_of_other_sizes_or_missing_are_named(speech: Audio, tmp_path: Path) -> None:
    network = model()
    place = folder(tmp_path / "x", network, fitted(of_transformers(network, speech.samples, 2)), layer=2, codebook_size=12)
    state = without_weight_norm(network.state_dict())
    missing = "encoder.layers.1.attention.q_proj.weight"
    save_file({key: value.contiguous() for key, value in state.items() if key != missing}, place / "model.safetensors")
    with pytest.raises(WeightsError, match=missing.replace(".", r"\.")):
        voxzoo.load("units", weights=place)


def test_units_are_not_decoded_and_say_what_it_would_take() -> None:
    with pytest.raises(voxzoo.NotDecodableError, match="would need a HiFi-GAN over units with a predictor of their durations"):
        tiny("mhubert-1000").check_decodes()


@pytest.mark.parametrize("name", [name for name in voxzoo.models() if voxzoo.entry(name).build.endswith(":Units")])
def test_licences_and_addresses(name: str) -> None:
    item = voxzoo.entry(name)
    assert item.facts.code_licence
    assert item.facts.weights_licence
    assert item.weights is None or item.weights.gated or set(item.weights.urls) == set(item.weights.files)
