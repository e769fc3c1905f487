"""`voxzoo serve BUNDLE`: encode and decode over HTTP."""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Any

from ..core.errors import VoxzooError
from ._common import add_engine_options, load_model

DESCRIPTION = """
Serve a model over HTTP: POST /encode takes a sound file and gives tokens (JSON, or with ?format=safetensors a tokens file),
POST /decode takes tokens and gives a WAV file, GET /info and GET /health tell how it is doing. Requests that come at the same
time are computed together. Nothing is encrypted and nobody is asked who they are: put a proxy in front where that matters.
"""
EXAMPLE = "Try: curl --data-binary @speech.wav http://127.0.0.1:8000/encode > tokens.json"
MILLION = 1e6


def add(subparsers: Any) -> None:
    """Register the verb."""
    parser = subparsers.add_parser("serve", help="encode and decode over HTTP", description=DESCRIPTION, epilog=EXAMPLE)
    parser.add_argument("model", metavar="BUNDLE", help="a folder that `voxzoo export` wrote, or any model")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen at (default: 127.0.0.1, only here)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="0: any that is free (default: 8000)")
    parser.add_argument("--max-body", type=float, default=64, metavar="MB", help="of a request (default: 64)")
    parser.add_argument("--max-seconds", type=float, default=600, metavar="S", help="of sound in a request (default: 600)")
    parser.add_argument("--upload-timeout", type=float, default=30, metavar="S", help="for a request's body (default: 30)")
    parser.add_argument("--work-timeout", type=float, default=60, metavar="S", help="from then to the answer (default: 60)")
    parser.add_argument("--max-waiting", type=int, default=128, metavar="N", help="requests that may wait (default: 128)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="requests computed at once (default: 16)")
    parser.add_argument("--batch-seconds", type=float, default=120, metavar="S", help="of sound in a batch (default: 120)")
    note = "milliseconds that a request waits for others (default: 5)"
    parser.add_argument("--batch-wait", type=float, default=5, metavar="MS", help=note)
    add_engine_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    if not 0 <= args.port < 1 << 16:
        raise VoxzooError(f"--port {args.port}; expected 0 to 65535")
    from ..export.serve import Limits
    from ..export.serve_http import server

    limits = Limits(int(args.max_body * MILLION), args.max_seconds, args.upload_timeout, args.work_timeout, args.max_waiting,
                    args.batch, args.batch_seconds, args.batch_wait / 1000)  # fmt: skip
    model = load_model(args.model, args)
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    try:
        listening = socket.create_server((args.host, args.port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or error
        raise VoxzooError(f"cannot listen at {args.host} port {args.port}: {reason}; is another server there?") from None
    with listening:  # who connects before the server has started waits
        host, port = listening.getsockname()[:2]
        print(f"voxzoo: {model.facts.name} at http://{host}:{port}", file=sys.stderr, flush=True)
        server(model, limits).run([listening])
    return 0
