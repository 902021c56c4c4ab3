"""Put a trained model into pretrained/: half-precision weights, a registry entry with its hash and scores, and a card.

python scripts/register_model.py runs/vae-rooms vae-rooms --summary "..." --command "disentangle train ..."
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import torch

import disentangle
from disentangle.data import FactorDataset, open_data
from disentangle.evaluations import encode_dataset, evaluate
from disentangle.evaluations.generation import jacobian_orthogonality
from disentangle.files import sha256_of, write_json, write_text
from disentangle.io import ZooEntry, find_model, model_info
from disentangle.linalg import weight_diagnostics
from disentangle.models import VAE

PRETRAINED = Path(__file__).parents[1] / "pretrained"

CARD = """# {name}

{summary}

| | |
|---|---|
| kind | {kind} |
| data | {data}, made by this toolkit |
| supervision | {supervision} |
| parameters | {parameters:,} |
| file | `{file}`, {bytes:,} bytes, half precision |
| sha256 | `{sha256}` |
| licence | {licence} |
| seed | {seed} |
| trained on | {device} |

## Training

```
{command}
```

## Scores

{scores}

## Use

```python
import disentangle

model = disentangle.load("{name}")
```
"""


def measure(model: torch.nn.Module, data: str) -> tuple[dict[str, float], str]:
    """Scores of the stored model, and how they were measured."""
    if isinstance(model, VAE):
        dataset = open_data(data, resolution=model.config.resolution)
        assert isinstance(dataset, FactorDataset)
        codes, factors = encode_dataset(model.encode, dataset, n=15_000, seed=0)
        results = evaluate(codes, factors, seed=0, n_jobs=-1)
        scores = {name: round(score.value, 4) for name, score in results.items()}
        scores["dci_completeness"] = round(results["dci"].parts["completeness"], 4)
        scores["dci_informativeness"] = round(results["dci"].parts["informativeness_test"], 4)
        per_factor = ", ".join(
            f"{name} {value:.2f}"
            for name, value in zip(dataset.factor_names, results["mig"].parts["per_factor"], strict=True)
        )
        command = f"disentangle evaluate NAME --data {data}"
        return scores, f"`{command}` (10,000 points, 5,000 held out, seed 0). MIG by factor: {per_factor}."
    projections = model.projections().values()  # type: ignore[operator]
    rows = [weight_diagnostics(p.parameter.detach().flatten(1)) for p in projections]
    scores = {name: round(max(row[name] for row in rows), 6) for name in rows[0]}
    cosine = jacobian_orthogonality(model, n=64, seed=0).value
    scores["jacobian_orthogonality"] = round(cosine, 4)
    return scores, (
        "Largest of the stored bases: `||U U^T - I||_F`, condition number, the same error with rows of length one, row "
        "length. Then the mean squared cosine of the Jacobian's columns over 64 latents, `disentangle evaluate NAME "
        "--metrics jacobian-orthogonality --set jacobian-orthogonality.n=64`."
    )


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("name")
@click.option("--summary", required=True, help="One or two sentences.")
@click.option("--command", required=True, help="The command that trained it.")
@click.option("--data", default="rooms", show_default=True)
@click.option("--device", default="CPU, one thread", show_default=True)
def main(run: Path, name: str, summary: str, command: str, data: str, device: str) -> None:
    source = find_model(run)
    provenance: dict[str, Any] = {**model_info(source).get("provenance", {}), "command": command}
    model = disentangle.load(source)
    file = f"{name}.safetensors"
    target = PRETRAINED / "weights" / file
    disentangle.save(model, target, dtype=torch.float16, provenance=provenance)
    stored = disentangle.load(target)
    scores, how = measure(stored, data)
    entry = ZooEntry(
        name=name,
        kind=model_info(target)["kind"],
        summary=summary,
        file=file,
        sha256=sha256_of(target),
        bytes=target.stat().st_size,
        licence="Apache-2.0",
        data=data,
        command=command,
        seed=int(provenance.get("seed", 0)),
        scores=scores,
    )
    table = "| score | value |\n|---|---|\n" + "\n".join(f"| {key} | {value} |" for key, value in scores.items())
    card = CARD.format(
        supervision=provenance.get("supervision", "none"),
        **entry.model_dump(exclude={"scores"}),
        parameters=sum(p.numel() for p in stored.parameters()),
        scores=f"{table}\n\n{how.replace('NAME', name)}",
        device=device,
    )
    write_text(PRETRAINED / "cards" / f"{name}.md", card)
    registry = PRETRAINED / "registry.json"
    others = [record for record in json.loads(registry.read_text(encoding="utf-8")) if record["name"] != name]
    write_json(registry, [*others, entry.model_dump(mode="json")])
    click.echo(f"{target}: {entry.bytes:,} bytes, {scores}")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
