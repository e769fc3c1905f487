"""Training speaker-invariant tokenizers: the stages of a recipe in a row, each with a folder of its own in the run's.

A stage that has ended left `encoder.safetensors` in its folder and is passed over when the run is taken up; one that has not is
taken up at its checkpoint. So a run may also begin where another one's stage ended.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core.errors import ModelError, WeightsError
from ..core.files import replacing
from ..core.loading import check_device
from ..core.registry import entry
from ..core.weights import load_strict, read_state
from ..tokenizers._dcspin import DCSpin, DCSpinConfig
from ..tokenizers._units_quantizers import KMeans
from .checkpoint import export_weights, load_checkpoint
from .ctc_data import read_spoken
from .ctc_run import paths_of, read_sounds
from .curves import require_matplotlib
from .data import prepare
from .schedule import Budget
from .spin_recipe import MaskedStage, PhonesStage, SpinRecipe, SpinStage, Stage, find_recipe
from .spin_run import SpinRun, check_sizes
from .ssl_clusters import Cepstra, enough, features, label_all, means
from .ssl_encoder import Trained, UnitsTrained, VoxTrained
from .ssl_masked import MaskedRun
from .ssl_phones import PhonesRun, check_labels
from .ssl_step import Speech, StageRun
from .trainer import loop
from .units import open_backbone

log = logging.getLogger(__name__)
ENCODER = "encoder.safetensors"


def train(
    recipe: str | SpinRecipe,
    data: Sequence[str | Path],
    out: str | Path,
    resume: bool = True,
    device: str = "cpu",
    max_steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    batch: float | None = None,
    precision: str = "auto",
    checkpoint_minutes: float = 4.0,
    cache: str | Path | None = None,
    noise: str | Path | None = None,
    rooms: str | Path | None = None,
    config: dict[str, Any] | None = None,
    backbone: str | None = None,
    layer: int = 12,
    start_from: str | Path | None = None,
    stop: int | None = None,
) -> Path:
    """Runs the stages of a recipe; leaves `config.json` and `model.safetensors` in `out`, which it returns.

    Beside them lies `kmeans`, a folder with the tokenizer that k-means makes of the encoder as it came to the last stage.

    Args:
        recipe: name of a recipe, or one of your own (see `spin_recipe.with_stages` and `with_spin`).
        data: manifests, JSON lines with `path`, `speaker` and, for the stage of phones, the labels that `ctc_data` describes.
        max_steps, max_minutes: of all stages together; each has its share.
        batch: seconds of sound in a step, instead of the recipe's.
        noise, rooms: manifests of noises and of rooms' responses; without them noise is made.
        config: of the model, where it is not the registry's.
        backbone, layer: of the recipe `dcspin`: what `train_units` takes.
        start_from: folder of a stage that has ended, whose encoder is taken up.
        stop: leave off after this step of the first stage that is not over.

    The other arguments are those of `trainer.train`.

    Raises:
        CorpusError: manifests that cannot be read, or without phones where these are wanted.
        ModelError: an encoder of other sizes, or a codebook larger than the frames of a step.
        VoxzooError: a checkpoint that was made with other settings, or a loss that is no longer finite.
    """
    require_matplotlib()
    check_device(device)
    chosen = find_recipe(recipe) if isinstance(recipe, str) else recipe
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(seed)
    encoder, config = _encoder(chosen, config, backbone, layer)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    manifests, place = [Path(path) for path in data], Path(cache) if cache else folder / "cache"
    clips = prepare(manifests, place, encoder.sample_rate)
    spoken = read_spoken(manifests)
    sounds = [read_sounds(Path(path), encoder.sample_rate) if path else [] for path in (noise, rooms)]
    speech = Speech.of(clips, [spoken[path] for path in paths_of(place)], encoder.sample_rate, device, chosen.longest, sounds)
    if start_from is not None:
        _take(encoder, Path(start_from))
    stages = Stages(chosen, encoder.to(device), config, speech, folder, device, seed, precision)
    if batch is not None:
        stages.seconds = float(batch)
    if max_steps is None and max_minutes is None:
        max_minutes = chosen.minutes
    stages.check()
    before = Path(start_from) if start_from is not None else None
    for number, stage in enumerate(chosen.stages, 1):
        home = folder / f"{number}-{stage.name}"
        if not (resume and (home / ENCODER).exists()):
            steps = None if max_steps is None else max(1, round(stage.share * max_steps))
            minutes = None if max_minutes is None else stage.share * max_minutes
            stages.run(stage, home, before, Budget(steps, minutes), resume, checkpoint_minutes, stop)
            if stop is not None:
                return folder
        else:
            log.info("stage %s is over", stage.name)
            _take(encoder, home)
        before = home
    return folder


def _encoder(
    recipe: SpinRecipe, config: dict[str, Any] | None, backbone: str | None, layer: int
) -> tuple[Trained, dict[str, Any]]:
    """A fresh encoder, or a backbone of units; and the configuration of the model."""
    config = dict(config or entry(recipe.model).config)
    if "encoder" in config:
        if backbone is not None:
            raise ModelError(f"{recipe.model} has an encoder of its own; leave out --backbone, or take the recipe dcspin")
        return VoxTrained(DCSpinConfig.from_dict(config).encoder), config
    if backbone is None:
        raise ModelError(f"the recipe {recipe.model} wants --backbone, a folder or file with HuBERT or WavLM, or hf:OWNER/REPO")
    network, state = open_backbone(backbone, layer)
    own = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    network.backbone.load_state_dict(own)
    return UnitsTrained(network.requires_grad_(True)), config


def _take(encoder: Trained, home: Path) -> None:
    """The encoder that a stage left in its folder. Raises `ModelError` for one of other sizes, `WeightsError` for none."""
    path = home / ENCODER
    if not path.exists():
        raise WeightsError(f"{str(home)!r} holds no {ENCODER}; expected the folder of a stage that has ended, RUN/NUMBER-STAGE")
    try:
        encoder.load_state_dict(read_state(path))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ModelError(f"{str(path)!r} is of another encoder than the one to be trained: {first}") from None


class Stages:
    """What the stages of a run share."""

    def __init__(
        self, recipe: SpinRecipe, encoder: Trained, config: dict[str, Any], speech: Speech, folder: Path, device: str,
        seed: int, precision: str,
    ) -> None:  # fmt: skip
        self.recipe, self.encoder, self.config, self.speech, self.folder = recipe, encoder, config, speech, folder
        self.device, self.seed, self.precision = device, seed, precision
        self.seconds = recipe.seconds if torch.device(device).type == "cpu" else recipe.gpu_seconds

    @property
    def samples(self) -> int:
        """Of sound in a step."""
        return int(self.seconds * self.encoder.sample_rate)

    def check(self) -> None:
        """Raise at once for what a later stage would stumble over."""
        for stage in self.recipe.stages:
            if isinstance(stage, SpinStage):
                check_sizes(stage, self.encoder, self.speech, self.samples)
            if isinstance(stage, PhonesStage) or (isinstance(stage, SpinStage) and stage.phones):
                check_labels(self.speech)

    def run(
        self, stage: Stage, home: Path, before: Path | None, budget: Budget, resume: bool, checkpoint_minutes: float,
        stop: int | None,
    ) -> None:  # fmt: skip
        """One stage, from its checkpoint if there is one; its encoder is left in its folder."""
        home.mkdir(exist_ok=True)
        checkpoint = home / "checkpoint.pt"
        self.encoder.frozen = 0
        self.encoder.requires_grad_(True)
        log.info("stage %s", stage.name)
        fresh = not (resume and checkpoint.exists())
        frames = self._frames() if isinstance(stage, SpinStage) and fresh else None
        if frames is not None and isinstance(stage, SpinStage) and stage.beside:
            self._beside(stage, frames)
        run = self._open(stage, before)
        if frames is not None and isinstance(run, SpinRun):
            run.start(frames)
        run.valid_samples = int(self.recipe.valid_seconds * self.encoder.sample_rate)
        if not fresh:
            run.restore(load_checkpoint(checkpoint), checkpoint)
            log.info("resumed at step %d", run.step)
        run.model.train()
        loop(run, budget, home, checkpoint_minutes, valid_every=self.recipe.valid_every, stop=stop, figures=run.pace())
        if stop is not None and not budget.spent(run.step, run.minutes):
            return
        if isinstance(run, SpinRun):
            self._export(run, home)
        with replacing(home / ENCODER) as temporary:
            save_file({key: value.detach().cpu().contiguous() for key, value in self.encoder.state_dict().items()}, temporary)

    def _open(self, stage: Stage, before: Path | None) -> StageRun:
        told = (self.encoder, self.speech, self.samples, self.device, self.seed, self.precision)
        if isinstance(stage, MaskedStage):
            targets, classes = self._targets(stage, before)
            return MaskedRun(stage, *told, targets, classes)
        if isinstance(stage, PhonesStage):
            return PhonesRun(stage, *told)
        if isinstance(stage, SpinStage):
            return SpinRun(stage, *told)
        raise ModelError(f"no stage of kind {type(stage).__name__}; there are masked prediction, phones and Spin")

    def _targets(self, stage: MaskedStage, before: Path | None) -> tuple[Any, int]:
        store, counts = self.speech.store, self.encoder.counts(self.speech.store.lengths)
        if stage.targets == "cepstra":
            cepstra = Cepstra(self.encoder.sample_rate, self.encoder.step, self.device)
            cepstra.learn(store, self.speech.train, counts, stage.clusters, self.seed, self.samples)
            return label_all(store, counts, cepstra.encode, self.samples), stage.clusters
        if before is None or not (before / "tokenizer.safetensors").exists():
            raise ModelError(f"stage {stage.name!r} takes its targets from a stage of Spin before it; there is none")
        state = read_state(before / "tokenizer.safetensors")
        size, hidden = state["quantizer.codebook"].shape
        config = replace(DCSpinConfig.from_dict(self.config), quantizer="cosine", codebook_size=size, hidden=hidden)
        network = DCSpin(config)
        load_strict(network, state, str(before))
        network.to(self.device).eval()
        log.info("targets: %d codewords of the stage in %s", size, before)
        return label_all(store, counts, network.encode, self.samples), size

    def _frames(self) -> Tensor:
        """Frames (n, D) of the encoder as it is now, as many as k-means learns from, in random order."""
        counts = self.encoder.counts(self.speech.store.lengths)
        clips = enough(counts, self.speech.train, self.seed)
        x = features(self.speech.store, clips, counts, self.encoder.to(self.device).eval(), self.samples)
        order = torch.from_numpy(np.random.default_rng(self.seed).permutation(len(x))).to(x.device)
        return x[order]

    def _beside(self, stage: SpinStage, x: Tensor) -> None:
        """k-means of as many clusters on frames of the encoder."""
        quantizer = KMeans(self.encoder.dim, stage.codebooks[0])
        quantizer.codebook.data = means(x, stage.codebooks[0], self.seed).cpu()
        told = {"quantizer": "kmeans", "codebook_size": stage.codebooks[0], "hidden": stage.hidden}
        config, network = self.encoder.cpu().tokenizer(quantizer, told)
        self.encoder.to(self.device)
        export_weights(self.recipe.model, config, network, self.folder / "kmeans")

    def _export(self, run: SpinRun, home: Path) -> None:
        """The tokenizer: for the stage after it as it is, and as a weight folder where it is the last."""
        book = run.codebooks[0]
        told = {"quantizer": "cosine", "codebook_size": len(book.codebook), "hidden": book.codebook.shape[1]}
        config, network = self.encoder.cpu().tokenizer(book.cpu(), told)
        self.encoder.to(self.device)
        state: dict[str, Tensor] = {key: value.contiguous() for key, value in network.state_dict().items()}
        with replacing(home / "tokenizer.safetensors") as temporary:
            save_file(state, temporary)
        if run.stage == self.recipe.stages[-1]:
            export_weights(self.recipe.model, config, network, self.folder)
