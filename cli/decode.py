"""`voxzoo decode OUT.safetensors -o OUT.wav`: tokens back to sound, one file (or bitstream) or a whole folder of shards."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..core.errors import VoxzooError, WrongModelError
from ._common import STANDARD, add_engine_options, add_json_option, check_output, load_model, make_folder, print_json, source

if TYPE_CHECKING:
    from ..core.audio import Audio
    from ..core.bitstream import Salvage
    from ..core.model import Model
    from ..core.tokens import Tokens

LONGEST = 1 << 32  # samples of a salvaged sound, three days at 16 kHz: what is lost may claim any time
NAME_BYTES = 200  # of a file name: systems allow 255, and `.wav` and the temporary prefix want room


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("decode", help="tokens back to sound", description="Turn tokens back into sound.")
    parser.add_argument("input", metavar="IN", help="tokens file, - for stdin, or a folder made by `voxzoo tokenize`")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="sound file (.wav, .flac), - for stdout, or a folder"
    )
    parser.add_argument(
        "-m", "--model", metavar="MODEL", help="name, model folder or bundle (default: the model the tokens name)"
    )
    parser.add_argument(
        "--voice", metavar="FILE", help="a few seconds of who is to speak (models heard through a flow, such as vox-s3-16k)"
    )
    note = "of a damaged bitstream, decode what is whole and leave silence where chunks are lost (exit status 3)"
    parser.add_argument("--skip-damaged", action="store_true", help=note)
    add_engine_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Decode one file, or one file for each row of a folder of shards."""
    if args.json and args.output == STANDARD:
        raise VoxzooError("--json and -o - both write to stdout; choose one")
    if os.path.isdir(args.input) and args.skip_damaged:
        raise VoxzooError(f"--skip-damaged takes a bitstream; {args.input!r} is a folder")
    if args.voice is not None and args.skip_damaged:
        raise VoxzooError("--skip-damaged decodes pieces, each by itself; leave out --voice")
    if os.path.isdir(args.input):
        return _folder(args)
    return _salvage(args) if args.skip_damaged else _file(args)


def _file(args: argparse.Namespace) -> int:
    from ..core.tokens import Tokens

    tokens = Tokens.load(source(args.input), "numpy")  # the model takes them to where it runs
    if tokens.batched:
        return _clips(args, tokens)
    check_output(args.output, [args.input])
    audio = load_model(args.model or tokens.facts.name, args).decode(tokens, **_voice(args))
    _write_one(args, audio, {"model": tokens.facts.name})
    return 0


def _voice(args: argparse.Namespace) -> dict[str, Any]:
    return {} if args.voice is None else {"voice": args.voice}


def _write_one(args: argparse.Namespace, audio: Audio, about: dict[str, Any]) -> None:
    audio.write(sys.stdout.buffer if args.output == STANDARD else args.output)
    if args.json:
        print_json({"output": args.output, **about, "samples": len(audio), "sample_rate": audio.sample_rate})
    elif args.output != STANDARD:
        print(f"{args.output}: {audio.duration:.2f} s at {audio.sample_rate} Hz")


def _salvage(args: argparse.Namespace) -> int:
    """What is whole of a bitstream, each piece decoded by itself, at its time; lost chunks are silence."""
    from ..core.bitstream import salvage_bitstream

    found = salvage_bitstream(source(args.input))
    if found.header.batched or found.clips != 1:
        raise VoxzooError("--skip-damaged takes one clip; read several with voxzoo.core.bitstream.salvage_bitstream")
    check_output(args.output, [args.input])
    if not found.parts:
        raise VoxzooError(f"no chunk of this bitstream is whole: {found.damage[0]}")
    audio = _placed(found, load_model(args.model or found.header.facts.name, args))
    lost = [f"{damage}; silence stands for it" for damage in found.damage]
    lost += [] if found.ended or lost else ["bytes follow the end of the bitstream; they were ignored"]
    for line in lost:
        print(f"voxzoo: {line}", file=sys.stderr)
    _write_one(args, audio, {"model": found.header.facts.name, "damaged": [asdict(damage) for damage in found.damage]})
    return 3 if lost else 0


def _placed(found: Salvage, model: Model) -> Audio:
    """The sound of each part at its time, and nothing between."""
    import numpy as np

    from ..core.audio import Audio

    sounds = [model.decode(part.tokens).samples for part in found.parts]
    facts = found.header.facts
    starts = [facts.decoded_length(part.offset) for part in found.parts]
    end = max(start + len(sound) for start, sound in zip(starts, sounds, strict=True))
    if end > LONGEST:
        raise VoxzooError(f"with silence for what is lost the sound would have {end} samples, which cannot be right")
    samples = np.zeros(end, np.float32)
    for start, sound in zip(starts, sounds, strict=True):
        samples[start : start + len(sound)] = sound
    return Audio(samples, facts.output_rate)


def _clips(args: argparse.Namespace, tokens: Tokens) -> int:
    """Tokens of several clips, saved from Python: into a folder, numbered."""
    model = load_model(args.model or tokens.facts.name, args)
    return _write_all(args, model, ((f"{i:05d}", tokens[i]) for i in range(len(tokens))), len(tokens))


def _folder(args: argparse.Namespace) -> int:
    from ..corpus.shards import open_dataset

    dataset = open_dataset(args.input)
    model = load_model(args.model or dataset.facts.name, args)
    return _write_all(args, model, dataset, len(dataset))


def _write_all(args: argparse.Namespace, model: Model, rows: Iterable[tuple[str, Tokens]], count: int) -> int:
    """One WAV for each (id, tokens); a row that cannot be decoded is reported, and the others go on."""
    from ..corpus.progress import Progress

    if args.output == STANDARD:
        raise VoxzooError("several clips cannot go to stdout; name a folder with -o")
    folder, progress = make_folder(args.output), Progress(count)
    failed: list[dict[str, str | None]] = []
    try:
        for name, tokens in rows:
            try:
                audio = model.decode(tokens, **_voice(args))
                audio.write(folder / f"{safe_name(name)}.wav")
                progress.advance(1, audio.duration)
            except WrongModelError:  # then all rows are another model's
                raise
            except VoxzooError as error:
                failed.append(_report(name, error))
    except WrongModelError:
        raise
    except VoxzooError as error:  # a damaged shard: what follows it cannot be read
        failed.append(_report(None, error))
    finally:
        progress.close()
    done, seconds = progress.clips, progress.seconds
    if args.json:
        print_json({"output": args.output, "model": model.facts.name, "clips": done, "seconds": seconds, "failed": failed})
    else:
        print(f"{args.output}: {done} of {count} clips, {seconds:.1f} s at {model.facts.output_rate} Hz")
    return 0 if not failed else 3 if done else 2


def _report(name: str | None, error: VoxzooError) -> dict[str, str | None]:
    print(f"voxzoo: {error}" if name is None else f"voxzoo: {name!r} was not decoded: {error}", file=sys.stderr)
    return {"id": name, "error": str(error)}


def safe_name(name: str) -> str:
    """A file name for an id: readable, never the same for two ids, never leaving the folder.

    Letters, digits, `.`, `_`, `-` and other printable characters stay; the rest, `/` and `%` among them, becomes `%XX`
    byte by byte, as does a leading dot. A name too long for a file system ends in `%~` and a hash instead.
    """
    escaped = re.sub(r"[^\w.\-+=@,() ]|\A\.", lambda found: "".join(f"%{b:02X}" for b in _bytes(found[0])), name) or "%"
    if len(escaped.encode()) <= NAME_BYTES:
        return escaped
    digest = hashlib.sha256(_bytes(name)).hexdigest()[:16]
    return f"{escaped.encode()[: NAME_BYTES - 20].decode(errors='ignore')}%~{digest}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # file names that are not UTF-8 come to Python with lone surrogates
