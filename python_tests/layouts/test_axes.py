"""The engine that reads axis strings: every kind of step, when it copies, and every complaint."""

from __future__ import annotations

import pytest
import torch

from capsroute.layouts import rearrange


def counted(*shape: int) -> torch.Tensor:
    return torch.arange(int(torch.tensor(shape).prod()), dtype=torch.float64).view(shape)


def test_splits_permutes_and_drops_ones_without_a_copy() -> None:
    tensor = counted(1, 4, 15, 2, 1)  # 1, I, J*D, d, 1
    result = rearrange(tensor, "1,I,JD,d,1", "I,J,D,d", J=3)
    assert result.shape == (4, 3, 5, 2)
    assert result.data_ptr() == tensor.data_ptr()
    assert result.stride() == (30, 10, 2, 1)
    for i, j, k, m in torch.cartesian_prod(*map(torch.arange, result.shape)).tolist():
        assert result[i, j, k, m] == tensor[0, i, j * 5 + k, m, 0]


def test_the_first_of_two_letters_is_the_outer_axis() -> None:
    tensor = counted(6)
    assert rearrange(tensor, "ab", "a,b", a=2).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert rearrange(tensor, "ba", "a,b", a=2).tolist() == [[0, 2, 4], [1, 3, 5]]


def test_merging_copies_only_where_memory_demands_it() -> None:
    tensor = counted(2, 3, 4)
    together = rearrange(tensor, "a,b,c", "ab,c")
    assert together.data_ptr() == tensor.data_ptr()
    apart = rearrange(tensor, "a,b,c", "b,ac")
    assert apart.data_ptr() != tensor.data_ptr()
    assert torch.equal(apart, tensor.permute(1, 0, 2).reshape(3, 8))


def test_a_split_of_a_view_stays_a_view() -> None:
    tensor = counted(5, 12)[:, ::2].t()  # strides 2 and 12
    result = rearrange(tensor, "ab,c", "c,b,a", a=2)
    assert result.data_ptr() == tensor.data_ptr()
    assert torch.equal(result, tensor.reshape(2, 3, 5).permute(2, 1, 0))


def test_an_absent_axis_is_added_with_stride_0() -> None:
    tensor = counted(2, 5)
    result = rearrange(tensor, "d,D", "1,J,D,d", J=3)
    assert result.shape == (1, 3, 5, 2)
    assert result.stride(1) == 0
    assert result.data_ptr() == tensor.data_ptr()
    assert torch.equal(result[0, 2], tensor.t())
    assert torch.equal(rearrange(result, "1,J,D,d", "d,D"), tensor)


def test_gradients_pass_through() -> None:
    tensor = counted(2, 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: rearrange(t, "b,JD", "D,J,b", J=3).square(), tensor)
    shared = counted(2, 5).requires_grad_()
    rearrange(shared, "d,D", "J,D,d", J=3).sum().backward()
    assert shared.grad is not None
    assert (shared.grad == 3).all()


def test_any_dtype_and_device() -> None:
    for dtype in (torch.bfloat16, torch.int64, torch.bool, torch.complex64):
        tensor = counted(2, 6).to(dtype)
        assert torch.equal(rearrange(tensor, "a,bc", "c,b,a", b=2), tensor.reshape(2, 2, 3).permute(2, 1, 0))
    result = rearrange(torch.empty(2, 6, device="meta"), "a,bc", "c,b,a", b=2)
    assert (result.device.type, result.shape) == ("meta", (3, 2, 2))


def test_empty_batch() -> None:
    assert rearrange(torch.empty(3, 0, 4), "J,B,D", "B,J,D").shape == (0, 3, 4)


def test_spaces_are_allowed() -> None:
    assert rearrange(counted(2, 6), "a, bc", " c, b, a", b=2).shape == (3, 2, 2)


def test_a_missing_size_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"weight of shape \[4, 15\] .*size of D, J: give D=\.\.\., J=\.\.\., all but"):
        rearrange(counted(4, 15), "I,JD", "I,J,D", "weight")
    with pytest.raises(ValueError, match=r"size of J: give J=\.\.\.$"):
        rearrange(counted(4, 15), "I,D", "I,J,D", "weight")


@pytest.mark.parametrize(
    ("shape", "source", "sizes", "expected"),
    [
        ((4, 15), "I,J,D", {}, r"\[I, J, D\], got \[4, 15\]"),
        ((4, 15), "1,JD", {"J": 3}, r"\[1, 3\*D\], got \[4, 15\]"),
        ((4, 15), "I,JD", {"J": 4}, r"\[I, 4\*D\], got \[4, 15\]"),
        ((4, 15), "I,JD", {"J": 3, "D": 4}, r"\[I, 3\*4\], got \[4, 15\]"),
        ((4, 15), "I,D", {"I": 5}, r"\[5, D\], got \[4, 15\]"),
        ((), "I", {}, r"\[I\], got \[\]"),
    ],
)
def test_a_wrong_shape_is_shown_beside_the_right_one(
    shape: tuple[int, ...], source: str, sizes: dict[str, int], expected: str
) -> None:
    with pytest.raises(ValueError, match=f"votes in the layout '{source}' must have the shape {expected}"):
        rearrange(torch.zeros(shape), source, source, "votes", **sizes)


def test_what_differs_along_an_axis_is_not_dropped() -> None:
    with pytest.raises(ValueError, match=r"weight must be shared over J .* from 'J,D' to 'D'.* got size 3"):
        rearrange(counted(3, 5), "J,D", "D", "weight")
    assert rearrange(counted(1, 5), "J,D", "D").shape == (5,)


def test_malformed_axes() -> None:
    for axes in ("", "I,,J", "I;J", "2,I", "I,J,"):
        with pytest.raises(ValueError, match="must be axes such as"):
            rearrange(counted(2), axes, "I")
    with pytest.raises(ValueError, match="name each axis once, got 'I,J,I'"):
        rearrange(counted(2, 3, 2), "I,J,I", "I,J")


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="layout 'I,JD' of weight has no axis X"):
        rearrange(counted(4, 15), "I,JD", "I,J,D", "weight", X=3)
    with pytest.raises(ValueError, match="size J must be at least 1, got 0"):
        rearrange(counted(4, 15), "I,JD", "I,J,D", "weight", J=0)
    for wrong in (3.0, "3", True):
        with pytest.raises(TypeError, match="size J must be an int"):
            rearrange(counted(4, 15), "I,JD", "I,J,D", "weight", J=wrong)  # type: ignore[arg-type]


def test_not_a_tensor() -> None:
    with pytest.raises(TypeError, match=r"weight must be a torch\.Tensor, got list"):
        rearrange([1.0], "I", "I", "weight")  # type: ignore[arg-type]
