"""Data that ends where it should not."""

from framework.module.checks.data_end import no_batch, too_few


def test_the_data_is_named_and_how_to_give_it():
    assert str(no_batch("train_data", [])) == (
        "train_data gave no batch: this list is empty, or was used up by an earlier pass. Give a list, a DataLoader, or a function "
        "that makes the batches anew each time it is called."
    )


def test_what_was_said_and_given():
    assert str(too_few("The val data", 4, 3)) == "The val data says that it has 4 batches and gave 3. Correct its __len__."
    assert str(too_few("x", 4, 3, "; or wait")).endswith("Correct its __len__; or wait.")
