"""The README of a bundle: what it is, and how to use it from Python, C++ and JavaScript."""

from __future__ import annotations

from pathlib import Path

from .bundle import Manifest

__all__ = ["write_readme"]

TEXT = """# {model}, exported by Voxzoo

{what}

| file | bytes | inputs | outputs |
|---|---|---|---|
{rows}

Sound is float32 in [-1, 1], mono, {rate} Hz. A clip of T samples is completed with zeros to {padding}; `lengths` are the true
samples. {frames} Codes past a clip's own frames are -1. `voxzoo.json` says all this for programs, with the size and sha256 of
every file; `parity.json` how the graphs were compared with the model.

## Python

    pip install voxzoo[export]

```python
import voxzoo                      # torch is not imported

model = voxzoo.load("{folder}")
tokens = model.encode("speech.wav")
{decode}```

Without Voxzoo:

```python
import numpy as np, onnxruntime

encoder = onnxruntime.InferenceSession("{folder}/encoder.onnx")
wav = np.zeros((1, {example}), np.float32)               # your sound, completed with zeros
codes = encoder.run(None, {{"wav": wav, "lengths": np.array([{example}])}})
```{span}

## C++

```cpp
#include <onnxruntime_cxx_api.h>
#include <vector>

int main() {{
  Ort::Env env;
  Ort::Session encoder(env, "{folder}/encoder.onnx", Ort::SessionOptions{{}});
  std::vector<float> wav({example});                     // your sound, completed with zeros
  std::vector<int64_t> lengths{{{example}}}, shape{{1, {example}}}, one{{1}};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<Ort::Value> inputs;
  inputs.push_back(Ort::Value::CreateTensor<float>(memory, wav.data(), wav.size(), shape.data(), shape.size()));
  inputs.push_back(Ort::Value::CreateTensor<int64_t>(memory, lengths.data(), 1, one.data(), 1));
  const char* in[] = {{"wav", "lengths"}};
  const char* out[] = {{{outputs}}};
  auto codes = encoder.Run({{}}, in, inputs.data(), 2, out, {count});
  const int64_t* first = codes[0].GetTensorData<int64_t>();
}}
```

## JavaScript

```js
import * as ort from "onnxruntime-web";                  // or onnxruntime-node

const encoder = await ort.InferenceSession.create("{folder}/encoder.onnx");
const wav = new Float32Array({example});                 // your sound, completed with zeros
const codes = await encoder.run({{
  wav: new ort.Tensor("float32", wav, [1, wav.length]),
  lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(wav.length)), [1]),
}});
console.log(codes.codes_0.data);                         // a BigInt64Array
```
"""

SPAN = """

This encoder has one more input, `span`, int64 of two: which frames of its spectrogram the codes are of; `[0, 2**62]` is all."""


def write_readme(manifest: Manifest, folder: Path, name: str) -> None:
    """`README.md` of the bundle that will lie in a folder called `name`."""
    facts, streams = manifest.facts, manifest.facts.streams
    graphs = {file: info for file, info in manifest.files.items() if info.role != "data"}
    rows = [
        f"| `{file}` | {info.bytes:,} | {_ports(info.inputs + info.states)} | {_ports(info.outputs)} |"
        for file, info in graphs.items()
    ]
    outputs = ", ".join(f'"codes_{k}"' for k in range(streams))
    padding = "its next multiple of " + f"{manifest.pad_multiple} samples" if manifest.pad_multiple > 1 else "nothing"
    least = manifest.padding.get("least", 1)
    decoder = manifest.file("decoder") is not None
    text = TEXT.format(
        model=facts.name,
        what=f"{manifest.precision} graphs, opset {manifest.opset}, meant for {manifest.device}. Tokens of this bundle and of "
        f"the model it was made of are interchangeable (fingerprint `{manifest.fingerprint[:16]}`).",
        rows="\n".join(rows),
        rate=facts.sample_rate,
        padding=padding if padding != "nothing" else f"{least} samples at least",
        frames=f"Length law: `{manifest.length_law}`.",
        folder=name,
        decode='model.decode(tokens).write("again.wav")\n' if decoder else "",
        example=max(least, -(-facts.sample_rate // manifest.pad_multiple) * manifest.pad_multiple),
        outputs=outputs,
        span=SPAN if any(port["name"] == "span" for file in graphs.values() for port in file.inputs) else "",
        count=streams,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _ports(ports: list[dict[str, object]]) -> str:
    shown = [f"`{port['name']}` {port['type']} {port['shape']}" for port in ports[:3]]
    return ", ".join(shown) + (f", and {len(ports) - 3} more" if len(ports) > 3 else "")
