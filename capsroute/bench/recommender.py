"""Training steps of torch-rechub's capsule layer and models, as they are and with capsroute's layer in their place.

Needs the package torch-rechub. Run it with ``python -m capsroute.bench.recommender --json FILE --table FILE``.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.nn import InterestCapsules
from capsroute.training.paths import AnyPath, as_path

from . import command, contenders, environment
from .contenders import OURS, Work, ratio, wrong
from .texts import Columns, number, table

THEIRS = "torch-rechub"
COMPILED = "torch-rechub compiled"
ROUNDS = 7
ALLOWED_DIFFERENCE = 1e-4  # of results and gradients, relative in the L2 norm: float32, and long sums
SUBJECTS = ("layer, type 0", "layer, type 1", "layer, type 2", "MIND", "ComirecDR")


@dataclass(frozen=True)
class Sizes:
    """What a step works on: samples, items of a history, components, interests, item ids, negatives of a sample."""

    batch: int = 256
    length: int = 50
    size: int = 64
    interests: int = 4
    items: int = 10_000
    negatives: int = 20


@dataclass(frozen=True)
class Row(contenders.Row):
    """One subject with one layer: capsroute's, torch-rechub's, or the latter compiled.

    Attributes:
        subject: Of :data:`SUBJECTS`.
        difference: Largest relative difference of a result or gradient to those of torch-rechub, in the L2 norm.
        speedup: How many times longer it takes than capsroute.
    """

    subject: str
    difference: float | None = None
    speedup: float | None = None


_COLUMNS: Columns[Row] = {
    "step": lambda row: row.subject,
    "capsule layer": lambda row: row.contender,
    **command.TIMES,
    "× capsroute's": lambda row: number(row.speedup, ".2f"),
    "MiB": lambda row: number(row.extra_bytes, ".0f", 2**-20),
    "difference": lambda row: number(row.difference, ".0e"),
}


def replacement(layer: Any) -> InterestCapsules:
    """The layer that computes what torch-rechub's ``CapsuleNetwork`` does, with its weight.

    Args:
        layer: With ``relu_layer=False``, which has no counterpart here, and at least 3 routing iterations: with fewer,
            torch-rechub's has no gradient. More than 3 change nothing there, because it updates the logits twice.

    Raises:
        ValueError: A layer with other options.
    """
    if layer.relu_layer or layer.routing_times < 3:
        raise ValueError(
            "layer must have relu_layer=False and routing_times of at least 3, "
            f"got {layer.relu_layer} and {layer.routing_times}"
        )
    weight = layer.w if layer.bilinear_type == 2 else layer.linear.weight
    ours = InterestCapsules(
        layer.embedding_dim,
        layer.interest_num,
        bilinear_type=layer.bilinear_type,
        max_items=layer.seq_len,
        softmax_over="inputs",
        mask_after_softmax=True,
        device=weight.device,
        dtype=weight.dtype,
    )
    with torch.no_grad():
        ours.weight.copy_(weight.reshape(ours.weight.shape))
    return ours


def rechub_layer(bilinear_type: int, sizes: Sizes) -> nn.Module:
    """torch-rechub's layer, with a weight for type 2, whose memory it leaves as it is."""
    layers = importlib.import_module("torch_rechub.basic.layers")
    layer: nn.Module = layers.CapsuleNetwork(sizes.size, sizes.length, bilinear_type, sizes.interests)
    return _with_weight(layer)


def rechub_model(name: str, sizes: Sizes) -> nn.Module:
    """torch-rechub's ``MIND`` or ``ComirecDR`` for histories of items and one user feature."""
    features = importlib.import_module("torch_rechub.basic.features")
    matching = importlib.import_module("torch_rechub.models.matching")
    initializers = importlib.import_module("torch_rechub.basic.initializers")
    common = {"embed_dim": sizes.size, "initializer": initializers.RandomNormal(0, 0.1)}
    shared = {"vocab_size": sizes.items, "pooling": "concat", "shared_with": "item"}
    model: nn.Module = getattr(matching, name)(
        [features.SparseFeature("user", vocab_size=100, **common)],
        [features.SequenceFeature("history", **shared, **common)],
        [features.SparseFeature("item", vocab_size=sizes.items, **common)],
        [features.SequenceFeature("negatives", **shared, **common)],
        max_length=sizes.length,
        interest_num=sizes.interests,
    )
    return _with_weight(model)


def _with_weight(module: nn.Module) -> nn.Module:
    """Draw the weight of capsules of type 2."""
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] == "w":
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return module


def batch(sizes: Sizes) -> dict[str, Tensor]:
    """Histories of different length, 0 behind their end, with users, items that followed, and others that did not."""
    lengths = torch.randint(1, sizes.length + 1, (sizes.batch, 1))
    history = torch.randint(1, sizes.items, (sizes.batch, sizes.length))
    return {
        "user": torch.randint(100, (sizes.batch,)),
        "history": history * (torch.arange(sizes.length) < lengths),
        "item": torch.randint(1, sizes.items, (sizes.batch,)),
        "negatives": torch.randint(1, sizes.items, (sizes.batch, sizes.negatives)),
    }


def layer_step(layer: nn.Module, sizes: Sizes) -> Work:
    """Forward and backward of a layer alone: the interests, and the gradients of items and weight."""
    generator = torch.Generator().manual_seed(1)
    items = torch.randn(sizes.batch, sizes.length, sizes.size, generator=generator).requires_grad_()
    lengths = torch.randint(1, sizes.length + 1, (sizes.batch, 1), generator=generator)
    mask = (torch.arange(sizes.length) < lengths).long()
    direction = torch.randn(sizes.batch, sizes.interests, sizes.size, generator=generator)
    weight = next(p for name, p in layer.named_parameters() if "relu" not in name)  # whose gradient nothing needs

    def step() -> list[Tensor]:
        interests = layer(items, mask)
        return [interests.detach(), *torch.autograd.grad(interests, (items, weight), direction)]

    return step


def model_step(model: nn.Module, inputs: dict[str, Tensor]) -> Work:
    """Forward, softmax loss over the item and the negatives, backward, Adam; gives the loss and the gradients."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    labels = torch.zeros(len(inputs["item"]), dtype=torch.int64)

    def step() -> list[Tensor]:
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        optimizer.zero_grad(set_to_none=True)
        return [loss.detach(), *gradients]

    return step


def steps(subject: str, sizes: Sizes, compiled: bool = True) -> dict[str, Work]:
    """The step of a subject by contender, all from the same weights."""
    if subject not in SUBJECTS:
        raise ValueError(f"subject must be one of {', '.join(map(repr, SUBJECTS))}, got {subject!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if subject.startswith("layer"):
            theirs = rechub_layer(int(subject[-1]), sizes)
            layers: dict[str, Any] = {OURS: replacement(theirs), THEIRS: theirs}
            if compiled:
                layers[COMPILED] = torch.compile(theirs)
            return {name: layer_step(layer, sizes) for name, layer in layers.items()}
        model, inputs = rechub_model(subject, sizes), batch(sizes)
        models: dict[str, Any] = {name: copy.deepcopy(model) for name in (OURS, THEIRS)}
        models[OURS].capsule = replacement(model.capsule)
        if compiled:
            models[COMPILED] = copy.deepcopy(model)
            models[COMPILED].capsule.compile()
        return {name: model_step(model, inputs) for name, model in models.items()}


def run(
    subjects: Sequence[str] = SUBJECTS,
    sizes: Sizes | None = None,
    rounds: int = ROUNDS,
    compiled: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Check every contender against torch-rechub, weigh it, and time them in turns.

    Args:
        subjects: Of :data:`SUBJECTS`.
        sizes: Of the steps; the defaults of :class:`Sizes` where None.
        rounds: Rounds that are timed.
        compiled: Whether torch-rechub's layer under ``torch.compile`` takes part.
        tell: Called with a few words on what is being done.
    """
    rows: list[Row] = []
    for subject in subjects:
        rows += _run_subject(subject, Sizes() if sizes is None else sizes, rounds, compiled, tell)
    return rows


def _run_subject(subject: str, sizes: Sizes, rounds: int, compiled: bool, tell: Callable[[str], None]) -> list[Row]:
    def tell_of_subject(text: str) -> None:
        tell(f"{subject}: {text}")

    torch._dynamo.reset()
    works = steps(subject, sizes, compiled)
    expected = _seeded(works[THEIRS])

    def check(row: Row, step: Work) -> Row:
        difference = contenders.distance(expected if row.contender == THEIRS else _seeded(step), expected)
        return replace(row, difference=difference, problem=wrong(difference, ALLOWED_DIFFERENCE, THEIRS))

    begun = [Row(subject, contender=name) for name in works]
    rows = contenders.checked(begun, works, check, tell_of_subject, trusted=(OURS, THEIRS))
    timed = contenders.timed(rows, works, rounds, tell_of_subject)
    ours = contenders.fastest(timed, OURS)
    return [replace(row, speedup=ratio(row, ours)) for row in timed]


def _seeded(step: Work) -> list[Tensor]:
    """What a step gives with initial logits that are the same for all; a copy, which later steps do not change."""
    with torch.random.fork_rng(devices=[]), torch._inductor.config.patch(fallback_random=True):
        torch.manual_seed(2)
        return [result.clone() for result in step()]


def document(machine: dict[str, Any], sizes: Sizes, rows: Sequence[Row]) -> str:
    """The page of a run."""
    about = (
        f"{sizes.batch} users, histories of up to {sizes.length} items, {sizes.size} components, {sizes.interests} "
        f"interests; models with {sizes.items} items and {sizes.negatives} negatives for each user. A step of a layer "
        "is forward and backward; one of a model is forward, loss, backward and Adam. Times are medians of rounds in "
        "which all take turns; *× capsroute's* is how many times longer a step takes, *MiB* its peak memory beyond "
        "what it returns, and *difference* the largest relative difference of a result or gradient to torch-rechub's."
    )
    origin = "Written by `python -m capsroute.bench.recommender` beside `recommender.json`."
    notes = [f"{row.subject}, {row.contender}: {row.problem}" for row in rows if row.problem is not None]
    where = f"{environment.dated(machine)}, torch-rechub {machine[THEIRS]}"
    return command.page("Recommenders", origin, where, about, table(_COLUMNS, rows), notes)


def read(path: AnyPath) -> tuple[dict[str, Any], Sizes, list[Row]]:
    """What :func:`main` wrote as JSON."""
    path = as_path("path", path)
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["environment"], Sizes(**content["sizes"]), [Row(**row) for row in content["rows"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status is 0, or 1 if a result of capsroute is wrong."""
    parser = command.parser("capsroute.bench.recommender", __doc__, ROUNDS)
    parser.add_argument("--subjects", metavar="A;B", help=f"some of {'; '.join(SUBJECTS)}, separated by semicolons")
    parser.add_argument("--no-compile", action="store_true", help="leave torch-rechub's compiled layer out")
    args = parser.parse_args(arguments)
    subjects = SUBJECTS if args.subjects is None else [name.strip() for name in args.subjects.split(";")]
    for subject in subjects:
        if subject not in SUBJECTS:
            parser.error(f"subjects must be among {'; '.join(SUBJECTS)}; got {subject!r}")
    machine = environment.describe() | {THEIRS: importlib.import_module("torch_rechub").__version__}
    sizes = Sizes()
    rows = run(subjects, sizes, args.rounds, not args.no_compile, command.tell)
    content = {"environment": machine, "sizes": asdict(sizes), "rows": [asdict(row) for row in rows]}
    command.finish(args, content, document(machine, sizes, rows))
    return 0 if contenders.is_sound(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
