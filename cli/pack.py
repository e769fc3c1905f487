"""`voxzoo pack DIR --layout LAYOUT -o OUT`: token shards to sequences for language models."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..core.errors import CorpusError, MissingExtraError
from ._common import add_json_option, print_json
from ._progress import clips_done

DESCRIPTION = """
Lay the tokens of a folder of shards, with their text, out as a language model reads them. OUT/layout.json keeps all that it
takes to go back: `voxzoo unpack` gives the same rows again.
"""
LAYOUTS = (
    "flat", "parallel", "delay", "coarse-first", "valle", "snac", "orpheus", "mini-omni", "moshi", "glm-4-voice", "cosyvoice2",
    "cosyvoice3", "minmo", "omniflatten", "omniflatten-3", "omniflatten-2", "minicpm-o", "step-audio", "csm", "dedup",
    "spirit-lm",
)  # fmt: skip
FORMS = ("parquet", "hf", "jsonl", "webdataset", "megatron")
EPILOG = f"""
Layouts: {", ".join(LAYOUTS)}. Their parameters (offsets, special ids, delays) are set with --set, and stored.
Layouts that place text need --text-tokenizer, --text-ids-column or --no-text. Forms: parquet; hf, for datasets.load_from_disk;
jsonl; webdataset tars; megatron, .bin and .idx.
"""


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("pack", help="shards to language-model sequences", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("source", metavar="DIR", help="folder that `voxzoo tokenize` wrote")
    parser.add_argument("--layout", required=True, metavar="LAYOUT", help="how tokens and text lie: see below")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="new folder for the sequences")
    parser.add_argument("--format", default="parquet", choices=FORMS, dest="form", help="of the files (default: parquet)")
    note = "a parameter of the layout, such as audio_offset=152353; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", type=_setting, dest="settings", help=note)
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text-tokenizer", metavar="FOLDER", help="folder of a Hugging Face tokenizer, for text ids")
    text.add_argument("--text-ids-column", metavar="COLUMN", help="column that holds text ids already")
    text.add_argument("--no-text", action="store_true", help="speech alone, where the layout has a place for text")
    parser.add_argument("--text-column", default="text", metavar="COLUMN", help="column of the text (default: text)")
    note = "what the tokenizer is given, columns in braces: '[{speaker}]{text}' (default: the layout's)"
    parser.add_argument("--text-template", metavar="TEXT", help=note)
    note = "column with the id of the clip of who speaks at the same time"
    parser.add_argument("--other-column", metavar="COLUMN", help=note)
    parser.add_argument("--layouts", action=_Layouts, nargs=0, help="print all layouts with their parameters, and end")
    add_json_option(parser)
    parser.set_defaults(run=run)


class _Layouts(argparse.Action):
    """As `--version` does: print and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ..corpus.layouts import LAYOUTS, parameters

        for name, kind in LAYOUTS.items():
            settings = ", ".join(f"{key}={value}" for key, value in parameters(kind).items())
            print(f"{name}: {kind.about}" + (f"\n    {settings}" if settings else ""))
        parser.exit(0)


def _setting(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def run(args: argparse.Namespace) -> int:
    """Pack; a summary goes to stdout."""
    try:
        from ..corpus.pack import PackOptions, pack
    except ImportError as error:
        raise MissingExtraError(error.name or "pyarrow", "all") from None
    settings = dict(args.settings)
    if len(settings) < len(args.settings):
        raise CorpusError("a parameter was set twice with --set")
    names = {field.name for field in dataclasses.fields(PackOptions)}
    options = PackOptions(**{key: value for key, value in vars(args).items() if key in names}, parameters=settings)
    with clips_done(args.source) as advance:
        done = pack(options, advance)
    if args.json:
        print_json(dataclasses.asdict(done))
    else:
        ids = f", ids below {done.vocabulary}" if done.vocabulary else ""
        lacking = f", {done.without_text} without text" if done.without_text else ""
        print(
            f"{done.output}: {done.clips} clips{lacking} as {done.layout}, {done.steps} steps, at most {done.longest} in a "
            f"clip{ids} ({done.form})"
        )
    return 0
