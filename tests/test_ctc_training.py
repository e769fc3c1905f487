"""Training by recognising phones: labels, batches, sound made harder, losses, scores, and runs taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import voxzoo
from voxzoo.cli.main import main
from voxzoo.core.errors import CorpusError, ModelError, UnknownModelError, VoxzooError
from voxzoo.eval.edit_distance import levenshtein
from voxzoo.tokenizers._vox_s3 import VoxS3Config, index
from voxzoo.training import ctc_run, trainer
from voxzoo.training.augment import HARD, LIGHT, Augmenter, Hardness, colour, convolved
from voxzoo.training.ctc_data import GRID, UNKNOWN, Spoken, batches, grid_of, held_out_speakers, label_set, read_spoken
from voxzoo.training.ctc_model import CTCTraining, CTCWeights, code_entropy, halves, token_lengths
from voxzoo.training.ctc_run import CTCRecipe, CTCRun, find_recipe, train
from voxzoo.training.ctc_scores import distance, normalised_information, runs
from voxzoo.training.data import prepare

TINY = {
    **voxzoo.entry("vox-s3-16k").config,
    "mels": 16,
    "block": 4,
    "context": 1,
    "reference": 2,
    "dim": 24,
    "layers": 1,
    "heads": 2,
    "hidden": 32,
    "kernel": 3,
}
RECIPE = CTCRecipe(seconds=6.0, warmup_steps=2, learning_rate=3e-3, valid_every=1000, valid_seconds=2.0)
Capture = pytest.CaptureFixture[str]
TONES = {"AA": 300, "IY": 900, "S": 3500}


def utterance(rng: np.random.Generator) -> tuple[np.ndarray, list[list[Any]]]:
    """Tones for phones, quiet between: what can be recognised at once."""
    parts, phones, time = [np.zeros(1600)], [[0.0, 0.1, "SIL"]], 0.1
    for label in rng.choice(list(TONES), 4):
        parts += [0.2 * np.sin(2 * np.pi * TONES[label] * np.arange(1920) / 16000), np.zeros(640)]
        phones += [[round(time, 3), round(time + 0.12, 3), label], [round(time + 0.12, 3), round(time + 0.16, 3), "SIL"]]
        time += 0.16
    return np.concatenate(parts), phones


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eight clips with times, two with labels only, one of speech and nothing else."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(11):
        wav, phones = utterance(rng)
        soundfile.write(tmp_path / f"{i}.wav", wav, 16000)
        row = {"path": f"{i}.wav", "speaker": f"s{i}"}
        if i < 8:
            row["phones"] = phones
        elif i < 10:
            row["labels"] = [label for _, _, label in phones if label != "SIL"]
        rows.append(row)
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def run(manifest: Path, tmp_path: Path) -> CTCRun:
    return make_run(manifest, tmp_path)


def make_run(manifest: Path, folder: Path, recipe: CTCRecipe = RECIPE, seed: int = 0) -> CTCRun:
    clips = prepare([manifest], folder / "cache")
    spoken = read_spoken([manifest])
    return CTCRun(recipe, TINY, clips, [spoken[p] for p in ctc_run.paths_of(folder / "cache")], "cpu", seed, "fp32")


# labels


def test_labels_with_times_and_without(manifest: Path) -> None:
    spoken = list(read_spoken([manifest]).values())
    assert len(spoken[0].phones) == 9
    assert len(spoken[0].labels) == len(spoken[8].labels) == 4
    assert not spoken[8].phones
    assert spoken[10].labels == spoken[10].phones == []
    assert label_set(spoken) == ["SIL", "AA", "IY", "S"]


@pytest.mark.parametrize("columns", [{"phones": [[0, 1]]}, {"phones": 3}, {"phones": [["a", 1, "AA"]]}, {"labels": 5}])
def test_odd_labels_are_named(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"path": "bad.wav", **columns}))
    with pytest.raises(CorpusError, match=r"labels of bad\.wav cannot be read"):
        read_spoken([path])


def test_labels_lie_where_their_phones_are() -> None:
    clip = Spoken([(0.0, 0.05, "SIL"), (0.05, 0.12, "AA")], ["AA"], "s")
    grid = grid_of(clip, 16 * GRID - 5, 16000, {"SIL": 0, "AA": 1})
    assert grid.tolist() == [0] * 5 + [1] * 7 + [UNKNOWN] * 4
    half = halves(torch.from_numpy(grid)[None].long(), 10, 160)[0].tolist()  # under cells 1, 3, 5, ...
    assert half == [0, 0, 1, 1, 1, 1, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert halves(torch.from_numpy(grid)[None].long(), 4, 320)[0].tolist() == [0, 1, 1, UNKNOWN]


def test_a_run_without_labels_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).standard_normal(16000) * 0.1, 16000)
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"path": "a.wav"}))
    with pytest.raises(CorpusError, match="name no phones"):
        make_run(path, tmp_path)


# batches


def test_an_epoch_has_every_clip_once_in_batches_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(16000, 160000, 200)
    clips = np.flatnonzero(lengths > 30000)
    plan = batches(lengths, clips, 600000, 5)
    epoch: list[int] = []
    while len(epoch) < len(clips):
        batch = next(plan)
        assert len(batch) * lengths[batch].max() <= 600000
        assert lengths[batch].min() > 0.6 * lengths[batch].max()
        epoch += batch.tolist()
    assert sorted(epoch) == sorted(clips.tolist())
    again = [next(plan).tolist() for _ in range(5)]
    assert again != [b.tolist() for b in islice(batches(lengths, clips, 600000, 5), 5)]


@pytest.mark.parametrize("first", [1, 7, 100])
def test_batches_go_on_from_any_step(first: int) -> None:
    lengths = np.random.default_rng(0).integers(16000, 160000, 60)
    clips = np.arange(60)
    whole = [b.tolist() for b in islice(batches(lengths, clips, 600000, 5), first + 3)]
    assert [b.tolist() for b in islice(batches(lengths, clips, 600000, 5, first), 3)] == whole[first:]


def test_a_batch_holds_the_clips(run: CTCRun) -> None:
    batch = run.store.batch(np.array([2, 9]))
    samples = run.store.samples.numpy()
    for row, i in zip(batch.wav.numpy(), (2, 9), strict=True):
        start, n = int(run.store.starts[i]), int(run.store.lengths[i])
        assert np.array_equal(row[:n] * 32768, samples[start : start + n])
        assert not row[n:].any()
    assert batch.target_lengths == [4, 4]
    assert (batch.grid[0] != UNKNOWN).sum() == 74  # cells of 0.1 s and 4 x 0.16 s
    assert (batch.grid[1] == UNKNOWN).all()


def test_speakers_are_held_out() -> None:
    spoken = [Spoken([], [], f"s{i % 50}") for i in range(200)]
    train_clips, valid = held_out_speakers(spoken)
    assert {i % 50 for i in valid}.isdisjoint({i % 50 for i in train_clips})
    assert len(valid) == 4
    assert len(train_clips) == 196


# sound made harder


@pytest.fixture
def augmenter() -> Augmenter:
    room = np.zeros(3000)
    room[[100, 1500]] = 1.0, 0.5
    return Augmenter([np.sin(np.arange(40000))], [room], 16000, 512, 16, "cpu")


def test_noise_is_as_loud_as_asked(augmenter: Augmenter) -> None:
    wav = torch.zeros(200, 16000)
    hard = Hardness(noise=1.0, snr=(10.0, 10.0), room=0.0, shift=0.0, semitones=0.0, channel=0.0, masks=0)
    noisy = augmenter.waves(wav, torch.full((200,), 0.3), hard, np.random.default_rng(0))
    assert noisy.square().mean(1).sqrt().numpy() == pytest.approx(0.3 * 10**-0.5, rel=1e-3)
    assert len(torch.unique(noisy[:, 0])) > 150


def test_a_room_adds_its_echo_and_keeps_the_level(augmenter: Augmenter) -> None:
    assert augmenter.rooms is not None
    wav = torch.zeros(1, 16000)
    wav[0, 1000] = 1.0
    out = convolved(wav, augmenter.rooms)[0]
    peaks = out.abs().topk(2).indices.sort().values
    assert (peaks[1] - peaks[0]).item() == 1400
    assert peaks[0].item() == 1016
    assert out.square().mean() == pytest.approx(wav.square().mean().item(), rel=1e-3)


@pytest.mark.parametrize("semitones", [-4.0, 0.0, 5.0])
def test_filters_move_the_spectrum(augmenter: Augmenter, semitones: float) -> None:
    """A tone through moved filters is the moved tone through the plain ones."""
    place = int(np.abs(augmenter.semitones - semitones).argmin())
    plain = int(np.abs(augmenter.semitones).argmin())
    hz = np.fft.rfftfreq(512, 1 / 16000)

    def mel(tone: float, bank: int) -> np.ndarray:
        power = np.exp(-(((hz - tone) / 60) ** 2)).astype(np.float32)
        out: np.ndarray = power @ augmenter.banks[bank].numpy()
        return out / out.sum()

    moved = 1200 * 2 ** (augmenter.semitones[place] / 12)
    assert np.abs(mel(1200, place) - mel(moved, plain)).max() < 0.1


def test_masks_and_channels(augmenter: Augmenter) -> None:
    mel = torch.zeros(30, 2, 5, 16)
    masked = augmenter.masked(mel, HARD, np.random.default_rng(0))
    shares = (masked == -1).float().mean((1, 2, 3))
    assert (shares == 0).any()
    assert shares.max() > 0
    assert ((masked == -1).all(2) | (masked == 0).all(2)).all()  # whole bands
    gain = augmenter.bands(mel, HARD, np.random.default_rng(0))
    assert gain.abs().max() <= HARD.channel / 10
    assert gain.std(0).min() > 0


@pytest.mark.parametrize(("power", "slope"), [(0.0, 0.0), (0.5, -3.0), (1.0, -6.0)])
def test_colours(power: float, slope: float) -> None:
    spectrum = np.abs(np.fft.rfft(colour(power, 160000))) ** 2
    octave = 10 * np.log10(spectrum[20000:40000].mean() / spectrum[10000:20000].mean())
    assert octave == pytest.approx(slope, abs=0.3)


# the model


def model(seed: int = 0) -> CTCTraining:
    torch.manual_seed(seed)
    return CTCTraining(VoxS3Config.from_dict(TINY), 4, CTCWeights())


def test_what_ships_is_what_was_trained(run: CTCRun) -> None:
    for _ in range(4):
        run.train_step(0.5)
    run.model.eval()
    wav = run.store.batch(np.arange(8)).wav
    with torch.no_grad():
        mel = run.model.features(wav, 160, None, None, np.random.default_rng(0))
        scalars = run.model(mel).scalars
        tokenizer = run.model.shipped()
        size = tokenizer.config.block_samples
        codes = tokenizer.encode(torch.nn.functional.pad(wav, (0, -wav.shape[1] % size)))
    assert torch.equal(codes, index(scalars, tokenizer.config.levels))
    assert len(codes.unique()) > 3


def test_scalars_have_one_width_in_every_dimension() -> None:
    trained = model().train()
    x = torch.randn(3, 50, 6) * torch.tensor([0.01, 1, 5, 100, 1, 1]) + 7
    valid = torch.ones(3, 50)
    valid[2, 10:] = 0
    standard = trained.standard(x, valid)[valid > 0]
    assert standard.mean(0).abs().max() < 1e-4
    assert standard.std(0, unbiased=False)[1:].numpy() == pytest.approx(0.8, rel=1e-3)


def test_entropy_of_codes() -> None:
    levels = (3, 3)
    every = torch.cartesian_prod(torch.arange(-1.0, 2), torch.arange(-1.0, 2))[None]
    assert code_entropy(every, torch.ones(1, 9), levels).item() == pytest.approx(1.0, abs=1e-3)
    one = code_entropy(torch.ones(1, 9, 2), torch.ones(1, 9), levels).item()
    assert one < 0.02
    half = torch.zeros(1, 9)
    half[0, :1] = 1
    assert code_entropy(every, half, levels).item() == pytest.approx(code_entropy(every[:, :1], half[:, :1], levels).item())


def test_gradients_pass_through_the_rounding(run: CTCRun) -> None:
    batch = run.store.batch(np.arange(4))
    mel = run.model.features(batch.wav, 160, None, None, np.random.default_rng(0))
    lengths = torch.tensor(token_lengths(batch.lengths, 160))
    valid = (torch.arange(mel.shape[1] * 4) < lengths[:, None]).float()
    view = run.model(mel, valid)
    assert torch.equal(view.rounded, view.rounded.round())
    sum(run.model.recognition(view, batch, 160).values()).backward()
    assert run.model.tokenizer.front.first.weight.grad.abs().sum() > 0


def test_it_learns_to_recognise(manifest: Path, tmp_path: Path) -> None:
    """Phones that are tones are named from their tokens after some steps, and most were not before."""
    run = make_run(manifest, tmp_path, replace(RECIPE, smooth=0.0, jitter=0.1, drop=0.0, light=LIGHT, hard=LIGHT))
    before = run.validate()
    for _ in range(50):
        terms = run.train_step(0.3)
    after = run.validate()
    assert after["frame_error"] < 0.6 * before["frame_error"]
    assert after["pnmi"] > before["pnmi"]
    assert all(np.isfinite(float(value)) for value in terms.values())


def test_a_step_with_a_gradient_that_is_not_finite_is_passed_over(run: CTCRun) -> None:
    run.train_step(0.1)
    before = [p.clone() for p in run.model.parameters()]
    run.model.tokenizer.project.bias.register_hook(lambda grad: grad * float("nan"))
    run.train_step(0.1)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


# scores


def test_edits_and_runs() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 5, rng.integers(0, 12)), rng.integers(0, 5, rng.integers(0, 12))) for _ in range(50)]
    got = [distance(a.tolist(), b.tolist()) for a, b in pairs]
    assert got == levenshtein([a for a, _ in pairs], [b for _, b in pairs]).tolist()
    assert runs(np.array([3, 3, 1, 1, 1, 3])) == [3, 1, 3]
    assert runs(np.array([], int)) == []


def test_normalised_information() -> None:
    labels = np.repeat(np.arange(4), 25)
    assert normalised_information(np.stack([labels + 7, labels]), 4) == pytest.approx(1.0)
    assert normalised_information(np.stack([labels * 0, labels]), 4) == pytest.approx(0.0)
    assert normalised_information(np.stack([labels // 2, labels]), 4) == pytest.approx(0.5)


# runs


def test_a_run_goes_on_as_it_would_have(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "draw_curves", lambda folder, history: None)  # slow, and tested elsewhere
    settings: dict[str, Any] = {"config": TINY, "precision": "fp32", "cache": tmp_path / "cache"}
    whole = train(RECIPE, [manifest], tmp_path / "whole", max_steps=6, **settings)
    train(RECIPE, [manifest], tmp_path / "parts", max_steps=6, **settings | {"stop": 3})
    parts = train(RECIPE, [manifest], tmp_path / "parts", max_steps=6, **settings)
    for name in ("model.safetensors", "recognizer.safetensors", "labels.json", "config.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    found = voxzoo.load(whole)
    assert found.facts.name == "vox-s3-16k"
    history = json.loads((parts / "history.json").read_text())
    assert {"per", "frame_error", "ued_noise", "ued_pitch", "codes"} <= set(history[-1])


def test_another_run_is_not_gone_on_with(run: CTCRun, manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxzooError, match="another configuration, seed or set of labels"):
        make_run(manifest, tmp_path, seed=1).restore(run.content(), Path("checkpoint.pt"))


def test_recipes_are_found_by_name() -> None:
    assert find_recipe("vox-s3-16k").model == "vox-s3-16k"
    with pytest.raises(UnknownModelError, match="vox-s3-16k"):
        find_recipe("vox-s4")


def test_settings_reach_the_trainer(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def fake(*given: Any, **settings: Any) -> Path:
        seen.append((given, settings))
        return Path("run")

    monkeypatch.setattr(ctc_run, "train", fake)
    command = f"train vox-s3-16k --data {manifest} -o run --batch 5 --steps 3 --noise {manifest}".split()
    assert main(command) == 0
    assert seen[0][0] == ("vox-s3-16k", [str(manifest)], "run")
    assert {"batch": 5, "max_steps": 3, "noise": str(manifest), "rooms": None}.items() <= seen[0][1].items()


def test_a_run_starts_from_a_trained_tokenizer(manifest: Path, tmp_path: Path) -> None:
    first = train(RECIPE, [manifest], tmp_path / "first", max_steps=3, config=TINY)
    network = voxzoo.load(first).network.state_dict()
    model = CTCTraining(VoxS3Config.from_dict(TINY), 5, CTCWeights())
    model.take(network)
    for name, value in model.shipped().state_dict().items():
        torch.testing.assert_close(value, network[name], rtol=1e-6, atol=1e-7)
    still = replace(RECIPE, learning_rate=0.0)
    second = train(still, [manifest], tmp_path / "second", max_steps=1, config=TINY, start_from=first)
    assert torch.equal(voxzoo.load(second).network.front.first.weight, network["front.first.weight"])
    with pytest.raises(ModelError, match="its configuration is not that of the model to be trained"):
        train(RECIPE, [manifest], tmp_path / "third", max_steps=1, config=TINY, start_from="vox-s3-16k")


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("vox-s3-16k", "--noise nowhere.jsonl", "no manifest 'nowhere.jsonl'"),
        ("vox-rvq-16k", "--noise x.jsonl", "no use for --noise"),
    ],
)
def test_options_that_do_not_fit(
    manifest: Path, capsys: pytest.CaptureFixture[str], recipe: str, options: str, said: str
) -> None:
    assert main(["train", recipe, "--data", str(manifest), "-o", "run", *options.split()]) == 2
    assert said in capsys.readouterr().err
