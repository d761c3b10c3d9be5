"""Which batches fit reads, and how far."""

import torch


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def test_the_first_of_two_limits_ends_a_run_over_data_of_unknown_length(line, batches, trace):
    result = line().fit(lambda: iter(batches), max_epochs=5, max_iters=8, handlers=[trace], progress=False)
    assert (result.status, result.reason, result.state.iteration) == ("completed", "max_iters=8 was reached.", 8)
    result = line().fit(lambda: iter(batches), max_epochs=1, max_iters=8, progress=False)
    assert (result.reason, result.state.iteration) == ("max_epochs=1 was reached.", 6)


def test_limit_train_batches_takes_the_first_of_each_pass(line, counted, hand_written, assert_same_weights):
    module = line()
    module.fit(counted, max_epochs=2, limit_train_batches=2, progress=False)
    assert counted.reads == 4
    assert_same_weights(module, hand_written(line(), sgd, [counted.batches[:2]] * 2))


def test_limit_train_batches_works_where_the_length_is_unknown(line, batches, hand_written, assert_same_weights):
    module = line()
    module.fit(lambda: iter(batches), max_epochs=2, limit_train_batches=2, progress=False)
    assert_same_weights(module, hand_written(line(), sgd, [batches[:2]] * 2))


def test_epoch_length_carries_the_data_over(line, batches):
    seen = []

    class Module(line):
        def training_step(self, batch):
            seen.append(next(index for index, known in enumerate(batches) if known is batch))
            return super().training_step(batch)

    result = Module().fit(batches, max_epochs=2, epoch_length=4, progress=False)
    assert seen == [0, 1, 2, 3, 4, 5, 0, 1]
    assert [row["iteration"] for row in result.history] == [4, 8]


def test_an_endless_generator_is_welcome_with_epoch_length(line, batches):
    def endless():
        while True:
            yield from batches

    assert line().fit(endless(), max_epochs=3, epoch_length=4, progress=False).state.iteration == 12


def test_a_function_is_called_anew_for_each_epoch_and_each_may_differ_in_length(line, batches):
    calls = []

    def make():
        calls.append(None)
        return iter(batches[: len(calls)])

    result = line().fit(make, max_epochs=3, progress=False)
    assert len(calls) == 3
    assert [row["iteration"] for row in result.history] == [1, 3, 6]


def test_no_data_but_an_epoch_length(line):
    class Module(line):
        def training_step(self, batch):
            assert batch is None
            return self.layer.weight.square().sum()

    assert Module().fit(None, max_epochs=2, epoch_length=3, progress=False).state.iteration == 6


def test_no_batch_is_fetched_ahead(line, counted):
    reads = []

    class Module(line):
        def training_step(self, batch):
            reads.append(counted.reads)
            return super().training_step(batch)

    Module().fit(counted, max_epochs=1, progress=False)
    assert reads == [1, 2, 3, 4, 5, 6]
