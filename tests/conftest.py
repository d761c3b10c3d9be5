"""What every test shares."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread_and_a_fixed_seed():
    """Two threads on two shared cores are many times slower; and a test that draws numbers should draw the same ones."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
