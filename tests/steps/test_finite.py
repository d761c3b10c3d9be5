import pytest
import torch

from framework.steps.finite import all_finite, count_non_finite

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_one_entry_of_many(dtype, value):
    good, bad = torch.full((3, 100), 3e4, dtype=dtype), torch.ones(200, dtype=dtype)
    assert all_finite([good, bad])
    bad[77] = value
    assert not all_finite([good, bad])
    assert (count_non_finite(good), count_non_finite(bad)) == (0, 1)


def test_large_numbers_are_finite():
    assert all_finite([torch.full((10,), 3e38)])  # the sum of whose squares is not


def test_types_may_differ_and_nothing_is_finite():
    assert all_finite([torch.ones(2, dtype=torch.float64), torch.ones(3, dtype=torch.bfloat16), torch.ones(2, dtype=torch.int64)])
    assert all_finite([])
    assert all_finite([torch.ones(0), torch.tensor([True]), torch.full((2,), NAN, device="meta")])
    assert not all_finite([torch.tensor(1), torch.tensor(NAN, requires_grad=True)])


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("convert", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
def test_of_a_sparse_tensor_what_it_stores(convert):
    assert all_finite([convert(torch.eye(3))])
    assert not all_finite([convert(torch.tensor([[0.0, NAN], [1.0, 0.0]]))])
