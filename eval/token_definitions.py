"""What exactly the figures of tokens are, as printed with them."""

from __future__ import annotations

from .clip_sample import HELD_OUT

__all__ = ["DEFINITIONS", "ENOUGH", "ORDERS"]

ORDERS = (1, 2, 3)  # of n-grams
ENOUGH = 10  # tokens for each used code, or pairs for each pair of them, below which a plug-in entropy is marked as too low

DEFINITIONS = {
    "seconds": "frames of the first stream over its frame rate",
    "nominal": "sum over streams of frame rate * log2 V, bits per second",
    "packed": "sum over streams of frame rate * ceil(log2 V), bits per second: codes in whole bits each",
    "entropy": "H = -sum p log2 p of the codes of a stream, bits per token (plug-in: p is the share of occurrences); marked "
    f"`biased` (too low) with fewer than {ENOUGH} tokens for each used code; as a rate, times frame rate, summed over streams",
    "conditional": "H(Z_t | Z_{t-1}) within a stream and a clip, plug-in, bits per token; marked `biased` (too low) with fewer "
    f"than {ENOUGH} pairs for each pair of used codes; a table too large to hold (over 2^24 cells, or 2^26 in all) is "
    "counted on the sample of clips (`conditional_from`)",
    "cross_codebook": "H(Z_k | Z_{k-1} of the same time), plug-in, marked `biased` likewise; at unequal rates: frame t of "
    "stream k with frame floor(t * rate_{k-1} / rate_k) of stream k-1; the rate is that of stream 0's entropy plus these",
    "ngram": "held-out code length, bits per token: -1/N sum log2 p(z_t | the n-1 codes before), Witten-Bell interpolated down "
    f"to uniform, each stream by itself; one clip in {HELD_OUT} of the sample, by a hash of its number, is coded with counts"
    " of the others; the rate is its sum over streams, times frame rate",
    "sample": "whole clips drawn by a hash of their number, at most 2^22 tokens of a stream and 2^25 of all (clips over 2^16 "
    "frames in pieces); smaller corpora are taken whole; `share` is the share of all tokens",
    "perplexity": "2^H, H the unconditional entropy: 1 to V",
    "usage": "share of the V codes that came at least once; `dead`: number of the others",
    "gini": "2 sum_i i p_(i) / V - (V + 1) / V over all V codes, dead ones included: 0 for even use, (V-1)/V for a single code;"
    " `gini_used`: over the used codes alone",
    "rarest20": "share of occurrences held by the rarest 20 % of the codes, dead ones included: L(0.2) of the Lorenz curve, "
    "linear between codes (even use: 0.2); `rarest20_used`: of the used codes alone",
    "top20": "share of occurrences held by the most used 20 % of all V codes",
    "lorenz": "share of occurrences held by the rarest q of the codes, dead ones included; `lorenz_used`: of used codes alone",
    "zipf": "slope of log count on log rank, least squares over ranks 1 to U, the number of used codes",
    "growth": "expected number of different codes among n tokens drawn at random without replacement (exact; whatever the order"
    " of clips)",
    "mean_run": "tokens per run of equal codes within a clip; `run_lengths`: [length, runs], 256 standing for all longer",
    "dedup_rate": "runs per second: the token rate after de-duplication",
}
