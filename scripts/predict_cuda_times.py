"""What the CUDA kernels should cost on an H200, by the model of docs/kernels.md: prints the rows of its table.

The model stands here before any measurement. It counts cycles of one multiprocessor per input and tile of 16 samples.
"""

from __future__ import annotations

from math import ceil

from capsroute.bench import flops
from capsroute.bench.shapes import SHAPES, Shape

PROCESSORS, CYCLES_PER_MICROSECOND = 132, 1750
MEMORY, CACHE, FLOAT32 = 4.8e6, 5.0e6, 67e6  # bytes, bytes and operations per microsecond
SHARE_REACHED = 0.7  # of the rates below, with 8 warps on a multiprocessor
PRODUCT = 1.65  # cycles of an mma.sync with TF32
OUTPUTS_PER_WARP = {1: 16, 2: 10, 4: 4, 8: 2}  # by the column tiles of an output


def floor(shape: Shape, gradient: str | None) -> float:
    """Microseconds for the compulsory bytes or the operations in float32, whichever is more."""
    return max(flops.compulsory_bytes(shape, 4, gradient) / MEMORY, flops.of_pass(shape, gradient) / FLOAT32)


def predict(shape: Shape) -> tuple[float, float]:
    """Microseconds of forward and of backward with gradient "all", float32."""
    outputs, iterations = shape.outputs, shape.iterations
    tiles = next(n for n in OUTPUTS_PER_WARP if 8 * n >= shape.output_size)  # column tiles of an output
    n, s = outputs * tiles, ceil(shape.input_size / 8)
    blocks, sample_tiles = ceil(outputs / OUTPUTS_PER_WARP[tiles]), ceil(shape.batch / 16)
    divided, pairs = blocks > 1, max(tiles // 2, 1)

    twice = 1.2 if tiles == 2 and min(outputs, 10) > 8 else 1  # the votes of the last two outputs of a warp

    # Tensor cores, shared memory and cache, instructions: the slowest counts.
    tensor, weights = 3 * PRODUCT * n * s, 2 * n * s + 2 * s
    made = 10 * n * s * twice  # instructions: load, split and multiply
    in_pass, loaded = tensor * twice, weights * twice
    first = max(in_pass, loaded + 2 * outputs, (made + 4 * n + 60 + 2 * outputs) / 4)
    later = max(in_pass, loaded + 4 * n + 3.5 * outputs + 12, (made + 9 * n + 5 * outputs + 50) / 4)
    sweep = max(tensor, weights + 4 * n + 4 * outputs, (10 * n * s + 5 * n + 30 * outputs) / 4)
    backward = max(in_pass, loaded + 8 * n + 5 * outputs + 16, (made + 14 * n + 10 * outputs + 70) / 4)
    back_sweep = max(tensor, weights + 8 * n + 8 * outputs, (10 * n * s + 10 * n + 40 * outputs) / 4)
    vectors = 2 * iterations - 1
    cached = 2 * tiles * s + 4 * (tiles + 1) * vectors + 3 * iterations + (2 * tiles + 8 + 12 * pairs) * s + 8 * tiles
    last = outputs * max((6 * tiles + 6 * pairs) * s * PRODUCT, cached)

    groups = ceil(sample_tiles / 4)
    chunks = max(1, min(PROCESSORS // max(1, groups * blocks), shape.inputs // 2))
    meeting = 1.3 if chunks * blocks > 8 else 0.4
    step = 2 * chunks * sample_tiles * n * 512 / CACHE + 2 + 2 * meeting

    def microseconds(cycles: float) -> float:
        return sample_tiles * shape.inputs / PROCESSORS * cycles / CYCLES_PER_MICROSECOND / SHARE_REACHED

    def pass_and_sweep(cycles: float, of_sweep: float) -> float:
        return microseconds(cycles) + (microseconds(of_sweep) + meeting if divided else 0)

    loads = 1.5 * flops.compulsory_bytes(shape, 4, None) / MEMORY
    earlier = iterations - 1
    forward = loads + microseconds(first) + earlier * pass_and_sweep(later, sweep) + iterations * step - meeting
    return forward, 3 + earlier * (pass_and_sweep(backward, back_sweep) + step) + microseconds(last) + 4


def main() -> None:
    """Print a row for each shape of the benchmark."""
    for shape in SHAPES:
        forward, backward = predict(shape)
        megabytes, gigaflops = flops.compulsory_bytes(shape, 4, None) / 1e6, flops.forward(shape) / 1e9
        print(
            f"| {shape.name} | {megabytes:.1f} | {gigaflops:.2f} | {floor(shape, None):.0f} | {forward:.0f} "
            f"| {floor(shape, 'all'):.0f} | {forward + backward:.0f} | not yet |"
        )


if __name__ == "__main__":
    main()
